"""The figures and the page of a run: complete, self-contained, honest about what is unknown."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sfm_ros.evaluation.pictures import DepthSample, draw_depth, draw_trajectory
from sfm_ros.evaluation.report import (
    SUMMARY_KEYS,
    format_value,
    text_table,
    write_report,
    write_summary,
)


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


def test_report_is_one_file_that_loads_nothing(tmp_path: Path) -> None:
    straight = np.array([[0.0, 0.0, float(z)] for z in range(10)])
    draw_trajectory(tmp_path / "trajectory.png", straight, None, "m", "a <title>")
    write_report(
        tmp_path / "report.html",
        summary_of(frames=10, model="a & b", machine={"cores": 2}),
        "Run of <b>",
        [("path", tmp_path / "trajectory.png"), ("absent", tmp_path / "absent.png")],
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http:" not in page and "https:" not in page and "//" not in without_data(page)
    assert re.findall(r'<(?:img|script|link)[^>]* (?:src|href)="(?!data:)', page) == []
    assert page.count("data:image/png;base64,") == 1
    assert "Run of &lt;b&gt;" in page and "a &amp; b" in page and "cores 2" in page
    assert 'name="viewport"' in page


def without_data(page: str) -> str:
    return re.sub(r"base64,[A-Za-z0-9+/=]*", "", page)


def picture_differs_from_blank(file: Path) -> bool:
    pixels = cv2.imread(str(file))
    return pixels is not None and float(pixels.std()) > 5.0


@pytest.mark.parametrize("points", [0, 1, 30])
@pytest.mark.parametrize("with_truth", [False, True])
def test_trajectory_is_drawn_for_any_length(tmp_path: Path, points: int, with_truth: bool) -> None:
    angle = np.linspace(0, 1.5, points)
    track = 20 * np.stack([1 - np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    draw_trajectory(tmp_path / "a.png", track, track + 1.0 if with_truth else None, "m", "title")
    assert picture_differs_from_blank(tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("with_truth", [False, True])
def test_depth_is_drawn_with_holes_and_without_pictures(
    tmp_path: Path, count: int, with_truth: bool
) -> None:
    depth = np.tile(np.linspace(2, 60, 40, dtype=np.float32)[:, None], (1, 120))
    depth[:3] = np.nan
    truth = depth * 1.1 if with_truth else None
    pictures = [None, np.full((40, 120, 3), 128, np.uint8)]
    samples = [
        DepthSample(stamp_ns=i * 10**9, rgb=pictures[i % 2], depth=depth, truth=truth)
        for i in range(count)
    ]
    draw_depth(tmp_path / "depth.png", samples, "m")
    assert picture_differs_from_blank(tmp_path / "depth.png")
