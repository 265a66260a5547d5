"""The report on a set: each planted defect is found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from prepared_sets import Frames, write_set

from sfm_ros.outputs.marker import MARKER
from training import prepare
from training.data.sequence import PreparedFrame
from training.preparation.checks import check, report_text
from training.preparation.set_statistics import SetStatistics, measure

Change = Callable[[int, PreparedFrame], PreparedFrame]
K = (50.0, 50.0, 31.5, 33.0)
COUNT = 30


@pytest.fixture(autouse=True)
def small_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.preparation.checks.FEW_FRAMES", COUNT)


def healthy(wall_frames: Frames) -> list[PreparedFrame]:
    """Every third frame of the wall, which moves by more than a pixel."""
    frames = list(wall_frames(3 * COUNT, K=K))[::3]
    return [replace(f, stamp_ns=i * 100_000_000) for i, f in enumerate(frames)]


def warnings(found: SetStatistics) -> list[str]:
    return [result.subject for result in check(found) if not result.is_ok]


def test_good_set_has_no_warning(tmp_path: Path, wall_frames: Frames) -> None:
    found = measure(write_set(tmp_path, healthy(wall_frames)))
    assert warnings(found) == [], report_text(found)
    assert found.hours == pytest.approx((COUNT - 1) / 10 / 3600)
    assert "10.0 frames per second" in report_text(found)


def with_rgb(change: Callable[[int, np.ndarray], np.ndarray]) -> Change:
    return lambda i, frame: replace(frame, rgb=change(i, frame.rgb.astype(float)).astype(np.uint8))


def with_times(seconds: Callable[[int], float]) -> Change:
    return lambda i, frame: replace(frame, stamp_ns=round(seconds(i) * 1e9))


def with_K(fx: float, fy: float, cx: float, cy: float) -> Change:
    return lambda _, frame: replace(frame, K=(fx, fy, cx, cy))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (with_rgb(lambda _, rgb: rgb / 40), ["standing still", "exposure"]),
        (with_rgb(lambda _, rgb: np.minimum(rgb + 120, 255)), ["exposure"]),
        (with_rgb(lambda i, rgb: rgb * (0.9 + 0.1 * (i % 2))), ["flicker"]),
        (with_times(lambda i: 0.1 * i + 0.5 * (i // 5)), ["time"]),
        (with_K(50.0, 50.0, 16.0, 33.0), ["calibration"]),
        (with_K(50.0, 58.0, 31.5, 33.0), ["calibration"]),
        (with_K(500.0, 500.0, 31.5, 33.0), ["calibration"]),
    ],
    ids=["dark", "bright", "flicker", "lost frames", "center", "aspect", "angle"],
)
def test_defect_is_found(
    tmp_path: Path, wall_frames: Frames, change: Change, expected: list[str]
) -> None:
    frames = [change(i, frame) for i, frame in enumerate(healthy(wall_frames))]
    found = measure(write_set(tmp_path, frames))
    subjects = [subject for subject in warnings(found) if subject != "motion"]
    assert subjects == expected, report_text(found)


def test_frames_recorded_twice_are_found(tmp_path: Path, wall_frames: Frames) -> None:
    frames = healthy(wall_frames)
    twice = [replace(frames[i - i % 3 // 2], stamp_ns=i * 100_000_000) for i in range(COUNT)]
    found = measure(write_set(tmp_path, twice))
    assert found.duplicate_ratio == pytest.approx(1 / 3, abs=0.03)
    assert {"standing still", "duplicates"} <= set(warnings(found))


@pytest.mark.parametrize(("every", "text"), [(0, "too little"), (40, "too far")])
def test_flow_is_measured_in_pixels(tmp_path: Path, every: int, text: str) -> None:
    """A texture that is shifted by a known distance from frame to frame."""
    noise = np.random.default_rng(0).uniform(0, 255, (64, 600)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 3)
    texture = np.clip((texture - texture.mean()) * 6 + 128, 0, 255)
    shift = 0.3 if every == 0 else 7.0
    frames = []
    for i in range(COUNT):
        move = np.array([[1, 0, -shift * i], [0, 1, 0]], dtype=np.float32)
        gray = cv2.warpAffine(texture, move, (64, 64)).astype(np.uint8)
        rgb = np.repeat(gray[..., None], 3, axis=2)
        frames.append(PreparedFrame(rgb=rgb, K=K, stamp_ns=i * 100_000_000))
    found = measure(write_set(tmp_path, frames))
    assert np.median(found.flow_px) == pytest.approx(shift, rel=0.15)
    (problem,) = (result.problem for result in check(found) if result.subject == "motion")
    assert text in problem


def test_short_sequences_are_counted(tmp_path: Path, wall_frames: Frames) -> None:
    frames = healthy(wall_frames)
    fragmented = [replace(f, stamp_ns=i // 2 * 10_000_000_000 + i) for i, f in enumerate(frames)]
    found = measure(write_set(tmp_path, fragmented))
    assert found.short_frames == COUNT and found.cuts == COUNT // 2 - 1
    assert "amount" in warnings(found)


def test_single_frame_is_measured(tmp_path: Path, wall_frames: Frames) -> None:
    found = measure(write_set(tmp_path, healthy(wall_frames)[:1]))
    assert {"amount", "motion", "time"} <= set(warnings(found))


def test_the_command_writes_text_and_image(
    tmp_path: Path, wall_frames: Frames, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path, healthy(wall_frames))
    assert prepare.main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "report.txt").read_text().strip() in printed
    image = cv2.imread(str(tmp_path / "report.png"))
    assert image is not None and min(image.shape[:2]) > 500
    assert str(tmp_path / "report.png") in printed
    (tmp_path / MARKER).unlink()  # as version 0.1 left it
    assert prepare.main(["report", str(tmp_path)]) == 0
    assert prepare.main(["report", str(tmp_path / "none")]) == 1
    assert "no prepared set" in capsys.readouterr().err
