"""The figures and the page of a run: complete, self-contained, honest about what is unknown."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sfm_ros.config import ModelConfig, SfmConfig
from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.evaluation.depth.metrics import depth_errors
from sfm_ros.evaluation.report.figures import draw_depth, draw_trajectory
from sfm_ros.evaluation.report.model_card import card_as_html
from sfm_ros.evaluation.report.results import RunContext, write_results
from sfm_ros.evaluation.report.summary import SUMMARY_KEYS, format_value, text_table, write_summary
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.result import (
    OFFLINE,
    ONLINE,
    DepthSnapshot,
    Percentiles,
    RunResult,
    StatusTimeline,
)
from sfm_ros.formats.trajectory import Trajectory

PERIOD_NS = 100_000_000


def summary_of(**known: Any) -> dict[str, Any]:
    return {**dict.fromkeys(SUMMARY_KEYS), **known}


def test_summary_has_every_key_and_null_for_what_is_unknown(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    write_summary(
        file, summary_of(frames=np.int64(12), ate_m=math.nan, depth_abs_rel=np.float32(0.25))
    )
    values = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert set(SUMMARY_KEYS) <= set(values)
    assert values["frames"] == 12
    assert values["depth_abs_rel"] == 0.25
    assert values["ate_m"] is None and values["snippet_ate_mean"] is None


def test_summary_refuses_to_be_incomplete(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames_lost"):
        write_summary(tmp_path / "summary.json", {"frames": 3})


def test_the_terminal_shows_only_what_is_known() -> None:
    text = text_table(summary_of(frames=12, latency_p50_ms=31.25))
    assert "Frames played" in text and "31.2 ms" in text
    assert "Depth error" not in text


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_an_unknown_figure_is_a_dash(value: float | None) -> None:
    assert format_value("{:.2f} m", value) == "–"


def drive(count: int, step_m: float) -> Trajectory:
    """Ahead along a gentle bend."""
    angle = np.arange(count) * 0.002
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 0] = poses[:, 2, 2] = np.cos(angle)
    poses[:, 0, 2], poses[:, 2, 0] = np.sin(angle), -np.sin(angle)
    ahead = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1) * step_m
    poses[1:, :3, 3] = np.cumsum(ahead[:-1], axis=0)
    return Trajectory(np.arange(count) * PERIOD_NS, poses)


def snapshot(stamp_ns: int, with_ground_truth: bool, with_image: bool = True) -> DepthSnapshot:
    depth = np.tile(np.linspace(2, 60, 40, dtype=np.float32)[:, None], (1, 120))
    depth[:3] = np.nan
    plain = DepthSnapshot(
        stamp_ns=stamp_ns,
        depth=depth,
        rgb=np.full((40, 120, 3), 128, np.uint8) if with_image else None,
    )
    if not with_ground_truth:
        return plain
    ground_truth = np.where(np.isnan(depth), np.nan, depth * 1.5).astype(np.float32)
    ground_truth[:, ::3] = np.nan
    scaled, unscaled = (depth_errors(depth, ground_truth, how) for how in ("median", "none"))
    return replace(plain, ground_truth=ground_truth, scaled=scaled, unscaled=unscaled)


def result(mode: str = OFFLINE, frames: int = 120, with_ground_truth: bool = True) -> RunResult:
    estimate = drive(frames, 1.0)
    log = StatusTimeline()
    for index, stamp in enumerate(estimate.stamps_ns.tolist()):
        lost = 40 <= index < 45
        log.add(stamp, "lost" if lost else "tracking", ["implausible_motion"] if lost else [])
    return RunResult(
        mode=mode,
        frames=frames,
        frames_to_start=0,
        estimate=estimate,
        intervals=log.intervals,
        snapshots=tuple(snapshot(i * PERIOD_NS, with_ground_truth, i != 1) for i in range(6)),
        image_stamps_ns=estimate.stamps_ns,
        latency=Percentiles(p50=20.0, p99=31.0),
        stages={"inference": Percentiles(p50=17.0, p99=25.0)},
        frames_per_second=44.0,
        engine="fake",
    )


def context(**changes: Any) -> RunContext:
    values: dict[str, Any] = {
        "title": "Run of <b>",
        "input_name": "a & b",
        "command": "sfm_evaluate bag 'x'",
        "spec": replace(fake_spec(), card=CARD, metrics={"training_steps": 7.0}),
        "config": SfmConfig(model=ModelConfig(threads=3)),
    }
    return RunContext(**{**values, **changes})


CARD = "# Card\n\nKnows <nothing>.\n\n* one\n  entry\n* two\n"
GROUND_TRUTH = GroundTruthTrajectory(trajectory=drive(120, 2.0), name="poses of a friend")
UNKNOWN = GroundTruthTrajectory(trajectory=None, problem="nobody looked")


def page_in(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def without_data(page: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]*", "", page)


class Outline(HTMLParser):
    """Tags that were opened and not closed, and the headings."""

    VOID = ("meta", "img", "link", "br", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def is_well_formed(page: str) -> bool:
    outline = Outline()
    outline.feed(page)
    return outline.open == [] and outline.wrong == []


def headings(page: str) -> list[str]:
    outline = Outline()
    outline.feed(page)
    return outline.headings


def test_the_page_is_one_file_that_loads_nothing_and_says_everything(tmp_path: Path) -> None:
    write_results([result()], GROUND_TRUTH, context(), tmp_path)
    page = page_in(tmp_path)
    assert "http:" not in page and "https:" not in page and "//" not in without_data(page)
    assert re.findall(r'<(?:img|script|link)[^>]* (?:src|href)="(?!data:)', page) == []
    assert "@import" not in page and "url(" not in page
    assert is_well_formed(page)
    assert headings(page) == [
        "Summary", "Path from above", "Error over the way", "Drift by length of segment",
        "Time by stage", "Health", "Depth", "Model card", "Configuration", "About this run",
    ]  # fmt: skip
    assert 'name="viewport"' in page and "@media print" in page
    assert "Run of &lt;b&gt;" in page and "a &amp; b" in page
    assert "Knows &lt;nothing&gt;." in page and "<li>one entry</li>" in page
    assert "training_steps" in page
    assert "lost: implausible motion" in page and "poses of a friend" in page
    # Four frames, the images of which are there, their depth, ground truth and error.
    assert page.count("data:image/jpeg;base64,") in (15, 16)
    assert len(page) < 400_000


def test_what_differs_from_the_defaults_is_marked(tmp_path: Path) -> None:
    write_results([result()], GROUND_TRUTH, context(), tmp_path)
    marked = re.findall(
        r'class="?changed"?><th scope="row">([\w.]+)</th><td>(\w+)', page_in(tmp_path)
    )
    assert marked == [("model.threads", "3")]


def test_the_figures_follow_from_the_paths(tmp_path: Path) -> None:
    results = write_results([result()], GROUND_TRUTH, context(), tmp_path)
    summary = results.summary
    assert summary["path_length_m"] == pytest.approx(2.0 * 119)
    assert summary["ate_m"] == pytest.approx(0.0, abs=1e-9)
    assert summary["sim3_scale"] == pytest.approx(2.0)
    assert summary["ate_without_scale_m"] > 10
    assert summary["estimated_path_length"] == pytest.approx(119.0)
    assert summary["depth_abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert summary["depth_abs_rel_unscaled"] == pytest.approx(1 / 3, abs=1e-6)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["odometry"]["path_length_m"] == pytest.approx(2.0 * 119)
    assert metrics["health_frames"] == {"tracking": 115, "lost": 5}
    intervals = json.loads((tmp_path / "health.json").read_text())["intervals"]
    assert [s["frames"] for s in intervals] == [40, 5, 75]
    assert intervals[1]["start"] == "4.000000000" and intervals[1]["reasons"] == [
        "implausible_motion"
    ]


def test_without_a_ground_truth_it_says_why_and_gives_no_number(tmp_path: Path) -> None:
    results = write_results([result(with_ground_truth=False)], UNKNOWN, context(), tmp_path)
    assert all(results.summary[key] is None for key in ("ate_m", "path_length_m", "depth_abs_rel"))
    page = page_in(tmp_path)
    assert is_well_formed(page)
    assert page.count("nobody looked") == 3
    assert "Errors of the depth are not available: no ground-truth depth is known" in page
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["odometry"] is None and metrics["odometry_not_available"] == "nobody looked"
    assert metrics["depth_scaled_by_median"] is None


def test_a_short_path_has_no_drift_rather_than_none_at_all(tmp_path: Path) -> None:
    write_results([result(frames=40)], GROUND_TRUTH, context(), tmp_path)
    assert "Not applicable: the path has 78 m, the shortest segment 100 m." in page_in(tmp_path)


def test_an_empty_run_is_reported_as_such(tmp_path: Path) -> None:
    (tmp_path / "trajectory.tum").write_text("of an earlier run")
    nothing = replace(
        result(), frames=1, frames_to_start=1, estimate=None, intervals=(), snapshots=(), stages={},
        image_stamps_ns=np.zeros(0, np.int64), latency=None, frames_per_second=None,
    )  # fmt: skip
    results = write_results([nothing], GROUND_TRUTH, context(), tmp_path)
    assert results.summary["frames_lost"] == 0 and results.summary["ate_m"] is None
    assert "no odometry came back" in page_in(tmp_path) and is_well_formed(page_in(tmp_path))
    assert not (tmp_path / "trajectory.tum").exists()


def test_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    first, second = result(), result(ONLINE)
    assert second.estimate is not None
    moved = second.estimate.poses.copy()
    moved[7, 0, 3] += 1e-7
    second = replace(second, estimate=Trajectory(second.estimate.stamps_ns[1:], moved[1:]))
    results = write_results([first, second], GROUND_TRUTH, context(), tmp_path)
    assert results.summary["agreement"]["largest_difference"] == pytest.approx(1e-7)
    assert results.summary["agreement"]["poses_of_only_one"] == 1
    assert results.summary["online"]["frames"] == 120
    page = page_in(tmp_path)
    assert "119 poses in common and 1 that only one has" in page
    assert page.count('<th scope="col">two processes</th>') == 3
    assert (tmp_path / "middleware_trajectory.tum").is_file()


def test_a_card_is_escaped_and_its_lines_flow() -> None:
    assert card_as_html("# A & B\n\ntwo\nlines\n\n- x\n  y\n") == (
        "<h3>A &amp; B</h3>\n<p>two lines</p>\n<ul><li>x y</li></ul>"
    )
    assert card_as_html("Lead in:\n* one\n* two") == (
        "<p>Lead in:</p>\n<ul><li>one</li><li>two</li></ul>"
    )


def image_differs_from_blank(file: Path) -> bool:
    pixels = cv2.imread(str(file))
    return pixels is not None and float(pixels.std()) > 5.0


@pytest.mark.parametrize("points", [0, 1, 30])
@pytest.mark.parametrize("with_ground_truth", [False, True])
def test_trajectory_is_drawn_for_any_length(
    tmp_path: Path, points: int, with_ground_truth: bool
) -> None:
    angle = np.linspace(0, 1.5, points)
    track = 20 * np.stack([1 - np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    draw_trajectory(
        tmp_path / "a.png", track, track + 1.0 if with_ground_truth else None, "m", "title"
    )
    assert image_differs_from_blank(tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("with_ground_truth", [False, True])
def test_depth_is_drawn_with_holes_and_without_images(
    tmp_path: Path, count: int, with_ground_truth: bool
) -> None:
    shown = [snapshot(i * 10**9, with_ground_truth, i % 2 == 1) for i in range(count)]
    draw_depth(tmp_path / "depth.png", shown, "m")
    assert image_differs_from_blank(tmp_path / "depth.png")
