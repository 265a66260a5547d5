"""Results and report of a run: complete, self-contained, explicit about what is unknown."""

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
from sfm_ros.datatypes import ScaleSource
from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.evaluation.depth.figure import depth_figure
from sfm_ros.evaluation.depth.metrics import depth_errors
from sfm_ros.evaluation.plotting import save_figure
from sfm_ros.evaluation.report.charts import path_figure
from sfm_ros.evaluation.report.depth_tiles import depth_views
from sfm_ros.evaluation.report.figures import draw_images
from sfm_ros.evaluation.report.model_card import card_as_html
from sfm_ros.evaluation.report.results import RunContext, write_results
from sfm_ros.evaluation.report.summary import SUMMARY_KEYS, text_table, write_summary
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.mode_comparison import mode_rows
from sfm_ros.evaluation.runs.result import (
    OFFLINE,
    ONLINE,
    DepthSnapshot,
    Percentiles,
    RunResult,
    StatusTimeline,
)
from sfm_ros.evaluation.runs.scoring import PathScore
from sfm_ros.evaluation.tables import format_value
from sfm_ros.formats.trajectory import Trajectory

PERIOD_NS = 100_000_000


def summary_of(**known: Any) -> dict[str, Any]:
    return {**dict.fromkeys(SUMMARY_KEYS), **known}


def test_summary_has_every_key(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    write_summary(
        file, summary_of(frames=np.int64(12), ate_m=math.nan, depth_abs_rel=np.float32(0.25))
    )
    values = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert set(SUMMARY_KEYS) <= set(values)
    assert values["frames"] == 12
    assert values["depth_abs_rel"] == 0.25
    assert values["ate_m"] is None and values["snippet_ate_mean"] is None


def test_incomplete_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames_lost"):
        write_summary(tmp_path / "summary.json", {"frames": 3})


def test_text_table_shows_available_metrics() -> None:
    text = text_table(summary_of(frames=12, latency_p50_ms=31.25, trajectory_remark="better"))
    assert text.splitlines()[0].split() == ["Trajectory", "better"], "the result comes first"
    assert "Latency p50" in text and "31.2 ms" in text
    assert "abs_rel" not in text


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_unavailable_metric_is_a_dash(value: float | None) -> None:
    assert format_value("{:.2f} m", value) == "–"


def bend(count: int, step_m: float) -> Trajectory:
    """A gentle bend."""
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
    estimate = bend(frames, 1.0)
    log = StatusTimeline()
    for index, stamp in enumerate(estimate.stamps_ns.tolist()):
        lost = 40 <= index < 45
        log.add(stamp, "lost" if lost else "tracking", ["implausible_motion"] if lost else [])
    return RunResult(
        mode=mode,
        scale_source=ScaleSource.CAMERA_HEIGHT,
        covariances=np.tile(np.eye(6), (frames, 1, 1)),
        depth_flicker=0.05,
        frames=frames,
        frames_to_start=0,
        estimate=estimate,
        intervals=log.intervals,
        snapshots=tuple(snapshot(i * PERIOD_NS, with_ground_truth, i != 1) for i in range(6)),
        image_stamps_ns=estimate.stamps_ns,
        step_time=Percentiles(p50=20.0, p99=31.0) if mode == OFFLINE else None,
        latency=Percentiles(p50=24.0, p99=35.0) if mode == ONLINE else None,
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
GROUND_TRUTH = GroundTruthTrajectory(trajectory=bend(120, 2.0), name="poses of a survey")
UNKNOWN = GroundTruthTrajectory(trajectory=None, problem="no receiver")


def page_in(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def without_data(page: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]*", "", page)


class Outline(HTMLParser):
    """Tags that are not closed, all tags and attributes, and the headings."""

    VOID = ("meta", "img", "link", "br", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.headings: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def outline_of(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    return outline


def is_well_formed(page: str) -> bool:
    outline = outline_of(page)
    return outline.open == [] and outline.wrong == []


def test_page_is_complete_and_loads_nothing(tmp_path: Path) -> None:
    write_results([result()], GROUND_TRUTH, context(), tmp_path)
    page = page_in(tmp_path)
    assert "http:" not in page and "https:" not in page and "//" not in without_data(page)
    assert re.findall(r'<(?:img|script|link)[^>]* (?:src|href)="(?!data:)', page) == []
    assert "@import" not in page and "url(" not in page
    assert is_well_formed(page)
    assert outline_of(page).headings == [
        "Summary", "Path from above", "Error over distance", "Drift by segment length",
        "Errors and covariance", "Depth and its uncertainty", "Time per stage", "Status over time",
        "Depth", "Model card", "Configuration", "About this run",
    ]  # fmt: skip
    assert 'name="viewport"' in page and "@media print" in page
    assert "Run of &lt;b&gt;" in page and "a &amp; b" in page
    assert "Knows &lt;nothing&gt;." in page and "<li>one entry</li>" in " ".join(page.split())
    assert "training_steps" in page
    assert "lost: implausible motion" in page and "poses of a survey" in page
    # Four frames: image, unless it is missing, depth, ground truth and error.
    assert page.count("data:image/jpeg;base64,") in (15, 16)
    assert page.count("data:image/svg+xml;base64,") == 6
    assert len(page) < 400_000


def test_changed_options_are_marked(tmp_path: Path) -> None:
    write_results([result()], GROUND_TRUTH, context(), tmp_path)
    marked = re.findall(
        r'class="?changed"?><th scope="row">([\w.]+)</th><td>(\w+)', page_in(tmp_path)
    )
    assert marked == [("model.threads", "3")]


def test_metrics_follow_from_the_trajectories(tmp_path: Path) -> None:
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


def test_without_ground_truth_the_page_states_why(tmp_path: Path) -> None:
    results = write_results([result(with_ground_truth=False)], UNKNOWN, context(), tmp_path)
    assert all(results.summary[key] is None for key in ("ate_m", "path_length_m", "depth_abs_rel"))
    page = page_in(tmp_path)
    assert is_well_formed(page)
    assert page.count("no receiver") == 4
    assert "Depth errors are not available: no ground-truth depth is known" in page
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["odometry"] is None and metrics["odometry_not_available"] == "no receiver"
    assert metrics["depth_scaled_by_median"] is None


def test_drift_of_a_short_path_is_not_applicable(tmp_path: Path) -> None:
    write_results([result(frames=40)], GROUND_TRUTH, context(), tmp_path)
    assert "Not applicable: the path has 78 m, the shortest segment 100 m." in page_in(tmp_path)


def test_errors_without_alignment_are_beside_the_others(tmp_path: Path) -> None:
    summary = write_results([result()], GROUND_TRUTH, context(), tmp_path).summary
    assert summary["scale_source"] == "camera_height" and summary["depth_flicker"] == 0.05
    # Half of each step: the last of 238 m is 119 m off, with a covariance of one square meter.
    assert summary["ate_m"] < 1e-6 < 50 < summary["ate_unaligned_m"] < 119
    assert summary["t_err_unaligned_percent"] == pytest.approx(50, abs=1)
    assert summary["nees_per_dimension"] == pytest.approx(119 * 120 * 239 / 6 / 119 / 6, rel=0.05)
    page = page_in(tmp_path)
    assert "source of the scale: camera height" in page
    assert "ATE RMSE, unaligned" in page and "NEES / 6" in page and "Depth flicker" in page


def test_covariance_without_the_ground_truth_s_unit_is_not_scored(tmp_path: Path) -> None:
    run = replace(result(), scale_source=ScaleSource.UNKNOWN)
    summary = write_results([run], GROUND_TRUTH, context(), tmp_path).summary
    assert summary["nees_per_dimension"] is None
    page = page_in(tmp_path)
    assert "there is no covariance in the ground truth" in page
    assert "Nothing defines the unit of length" in page


def test_modes_are_side_by_side(tmp_path: Path) -> None:
    exact = replace(result(), estimate=GROUND_TRUTH.trajectory)
    compared = {"geometric": exact, "network": replace(result(), estimate=None)}
    results = write_results([result()], GROUND_TRUTH, context(), tmp_path, compared)
    modes = results.summary["odometry_modes"]
    assert list(modes) == ["hybrid", "geometric", "straight_line"]  # the third has no errors
    assert modes["hybrid"]["7dof"]["ate_m"] < 1e-6 < modes["hybrid"]["origin"]["ate_m"]
    assert modes["hybrid"]["7dof"]["scale"] == pytest.approx(2.0)
    assert modes["geometric"]["origin"]["ate_m"] < 1e-6
    assert modes["geometric"]["origin"]["t_err_percent"] < 1e-6
    assert modes["straight_line"]["origin"]["ate_m"] > modes["straight_line"]["7dof"]["ate_m"] > 0
    assert modes["straight_line"]["7dof"]["r_err_deg_per_100m"] > 1
    page = page_in(tmp_path)
    assert is_well_formed(page) and "Modes of the odometry" in outline_of(page).headings
    rows = mode_rows(modes)
    assert [row[:2] for row in rows[1:3]] == [["hybrid", "origin"], ["hybrid", "7dof"]]
    assert all(f"<td>{cell}</td>" in page for row in rows[1:] for cell in row)


def test_the_headline_of_a_useless_model_is_worse(tmp_path: Path) -> None:
    """After Sim(3) alignment a path of a thousandth of the length is perfect; as published not."""
    useless = replace(result(), estimate=bend(120, 0.002))
    good = replace(result(), estimate=bend(120, 1.99))
    found = {
        name: write_results([run], GROUND_TRUTH, context(), tmp_path / name).summary
        for name, run in {"good": good, "useless": useless}.items()
    }
    assert found["useless"]["ate_m"] < 1e-6 and found["useless"]["t_err_percent"] < 1e-6
    headlines = [text_table(found[name]).splitlines()[:4] for name in ("good", "useless")]
    labels = ["t_err, unaligned", "ATE RMSE, unaligned", "Scale error", "Trajectory"]
    for lines in headlines:
        shown = zip(lines, labels, strict=True)
        assert all(line.strip().startswith(label) for line, label in shown)
    assert found["good"]["t_err_unaligned_percent"] == pytest.approx(0.5, abs=0.05)
    assert found["useless"]["t_err_unaligned_percent"] == pytest.approx(99.9, rel=0.03)
    assert found["good"]["scale_error_percent"] == pytest.approx(-0.5)
    assert found["useless"]["scale_error_percent"] == pytest.approx(-99.9)
    assert found["good"]["trajectory_remark"].startswith("t_err better than a straight line by ")
    assert found["useless"]["trajectory_remark"].startswith("t_err worse than a straight line by ")
    page = page_in(tmp_path / "useless")
    assert page.index("t_err worse than a straight line") < page.index("after Sim(3) alignment")


def test_without_a_unit_there_are_no_unaligned_errors(tmp_path: Path) -> None:
    run = replace(result(), scale_source=ScaleSource.UNKNOWN)
    summary = write_results([run], GROUND_TRUTH, context(), tmp_path).summary
    for key in ("t_err_unaligned_percent", "ate_unaligned_m", "scale_error_percent"):
        assert summary[key] is None
    assert summary["trajectory_remark"].startswith("after Sim(3) alignment: t_err better than")
    assert summary["depth_remark"].startswith("median-scaled: better than constant depth")


def test_depth_stands_beside_baselines(tmp_path: Path) -> None:
    summary = write_results([result()], GROUND_TRUTH, context(), tmp_path).summary
    # The depth is that of the rows, with lengths off by a third: the rows' medians are exact.
    constant, rows = summary["depth_remark"].split(", ")
    assert constant.startswith("better than constant depth by")
    assert rows.startswith("worse than row median depth by")
    assert summary["depth_scale_median"] == pytest.approx(1.5)
    assert summary["depth_scale_spread"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("source", ScaleSource)
def test_unit_of_the_estimate(source: ScaleSource, tmp_path: Path) -> None:
    unit = "network units" if source is ScaleSource.UNKNOWN else "m"
    run = replace(result(), scale_source=source)
    results = write_results([run], UNKNOWN, context(), tmp_path)
    assert run.unit == results.summary["estimated_path_unit"] == unit


def test_empty_run(tmp_path: Path) -> None:
    nothing = replace(
        result(), frames=1, frames_to_start=1, estimate=None, intervals=(), snapshots=(),
        stages={}, image_stamps_ns=np.zeros(0, np.int64), step_time=None, frames_per_second=None,
    )  # fmt: skip
    results = write_results([nothing], GROUND_TRUTH, context(), tmp_path)
    assert results.summary["frames_lost"] == 0 and results.summary["ate_m"] is None
    assert "no odometry was received" in page_in(tmp_path) and is_well_formed(page_in(tmp_path))
    assert not (tmp_path / "trajectory.tum").exists()


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    first, second = result(), result(ONLINE)
    assert second.estimate is not None
    moved = second.estimate.poses.copy()
    moved[7, 0, 3] += 1e-7
    second = replace(second, estimate=Trajectory(second.estimate.stamps_ns[1:], moved[1:]))
    results = write_results([first, second], GROUND_TRUTH, context(), tmp_path)
    assert results.summary["agreement"]["largest_difference"] == pytest.approx(1e-7)
    assert results.summary["agreement"]["poses_of_only_one"] == 1
    assert results.summary[ONLINE]["frames"] == 120
    page = page_in(tmp_path)
    assert "119 poses in common and 1 in only one of them" in page
    assert page.count(f'<th scope="col">{ONLINE}</th>') == 4
    # A step offline and the way through three processes are two figures.
    for label, values in (
        ("Time per step p50", ("20.0 ms", "–")),
        ("Latency p50", ("–", "24.0 ms")),
    ):
        row = page[page.index(label) :]
        assert re.findall("<td>(.*?)</td>", row[: row.index("</tr>")]) == list(values)
    assert "–: not available." in page
    assert (tmp_path / f"{ONLINE}_trajectory.tum").is_file()


def card(text: str) -> str:
    """The card as HTML, without the line breaks."""
    return " ".join(re.sub(r">\n\s*<", "><", card_as_html(text)).split())


def test_card_is_escaped_and_structured() -> None:
    assert card("# A & B\n\ntwo\nlines\n\n- x\n  y\n") == (
        "<h3>A &amp; B</h3><p>two lines</p><ul><li>x y</li></ul>"
    )
    assert card("Lead in:\n* one\n* two") == ("<p>Lead in:</p><ul><li>one</li><li>two</li></ul>")
    assert card("Some **bold** `a<b>` and 1 < 2.\n\n## Part") == (
        "<p>Some <strong>bold</strong> <code>a&lt;b&gt;</code> and 1 &lt; 2.</p><h4>Part</h4>"
    )


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<SCRIPT\nSRC=//a.example/x.js></SCRIPT>",
        "text <img src=x onerror=alert(1)> text",
        "<div>\n\n<script>alert(1)</script>\n\n</div>",
        "[click](javascript:alert(1))",
        "![track](https://a.example/pixel.png)",
        "[ref]\n\n[ref]: javascript:alert(1)",
        "![ref][1]\n\n[1]: https://a.example/pixel.png",
        "<https://a.example> <a@b.example>",
        "`</code><script>alert(1)</script>`",
        "    </pre><script>alert(1)</script>",
        "# <svg onload=alert(1)>",
        "* <iframe src=//a.example></iframe>",
        "</div></section></body><script>alert(1)</script>",
        "<style>@import url(//a.example)</style>",
        "\x02wzxhzdk:0\x03 <b onclick=alert(1)>",
        "&lt;script&gt;alert(1)&lt;/script&gt; &#60;script&#62;",
        '*<a title="*" href=//a.example>*',
        "* " * 3000 + "<script>alert(1)</script>",
    ],
)
def test_card_brings_nothing_but_text(attack: str) -> None:
    outline = outline_of(card_as_html(f"# Card\n\n{attack}\n\n{attack} again\n"))
    known = {"p", "ul", "li", "strong", "em", "code", "pre", "h3", "h4", "h5", "h6", "hr", "br"}
    assert outline.tags <= known
    assert outline.attributes == set()


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_results([result(), result(ONLINE)], GROUND_TRUTH, context(), tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "first").iterdir())
    assert "report.html" in files and "metrics.json" in files
    for name in files:
        expected = (tmp_path / "first" / name).read_bytes()
        assert (tmp_path / "second" / name).read_bytes() == expected, name


def test_long_noisy_run_gives_a_small_page(tmp_path: Path) -> None:
    """Figures are simplified, so that the size of the page does not grow with the run."""
    long = result(frames=20_000)
    assert long.estimate is not None
    poses = long.estimate.poses.copy()
    poses[:, 0, 3] += np.random.default_rng(0).normal(0, 3.0, len(poses))
    noisy = replace(long, estimate=Trajectory(long.estimate.stamps_ns, poses))
    ground_truth = GroundTruthTrajectory(trajectory=bend(20_000, 2.0), name="poses")
    write_results([noisy], ground_truth, context(), tmp_path)
    assert len(page_in(tmp_path)) < 3_000_000


def test_figures_of_a_run(tmp_path: Path) -> None:
    results = write_results([result()], GROUND_TRUTH, context(), tmp_path)
    draw_images(results.runs[0], "m", tmp_path)
    for name in ("trajectory.png", "depth.png", "overview.png"):
        assert image_differs_from_blank(tmp_path / name)


def image_differs_from_blank(file: Path) -> bool:
    pixels = cv2.imread(str(file))
    return pixels is not None and float(pixels.std()) > 5.0


@pytest.mark.parametrize("points", [0, 1, 30])
@pytest.mark.parametrize("with_ground_truth", [False, True])
def test_path_of_any_length(tmp_path: Path, points: int, with_ground_truth: bool) -> None:
    angle = np.linspace(0, 1.5, points)
    track = 20 * np.stack([1 - np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    known = {"aligned": track * 0.5, "ground_truth_trajectory": track + 1.0}
    figure = path_figure(PathScore(path=track, **(known if with_ground_truth else {})), "m")
    save_figure(figure, tmp_path / "a.png")
    assert image_differs_from_blank(tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("with_ground_truth", [False, True])
def test_depth_with_holes_and_without_images(
    tmp_path: Path, count: int, with_ground_truth: bool
) -> None:
    shown = [snapshot(i * 10**9, with_ground_truth, i % 2 == 1) for i in range(count)]
    save_figure(depth_figure(depth_views(shown, result()), "m"), tmp_path / "depth.png")
    assert image_differs_from_blank(tmp_path / "depth.png")
