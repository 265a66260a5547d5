"""The video of a run, read back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sfm_ros.colormap import SteadyLimits
from sfm_ros.datatypes import OdometryEstimate, TrackingStatus
from sfm_ros.errors import OutputError
from sfm_ros.evaluation.report import video
from sfm_ros.evaluation.report.video import DepthVideo, draw_panels

RGB = np.full((64, 128, 3), (200, 40, 40), dtype=np.uint8)


def estimate(index: int, is_measured: bool = True) -> OdometryEstimate:
    depth = np.tile(np.linspace(5, 50, 128, dtype=np.float32), (64, 1))
    uncertainty = np.full((64, 128), 0.1, np.float32)
    return OdometryEstimate(
        stamp_ns=round(index * 2e8),
        frame_id="eye",
        status=TrackingStatus.TRACKING,
        depth=depth,
        depth_uncertainty=uncertainty if is_measured else None,
        network_depth=depth,
    )


def test_a_video_has_every_frame_at_its_rate(tmp_path: Path) -> None:
    film = DepthVideo(tmp_path / "a.mp4")
    for index in range(7):
        film.add(RGB, estimate(index))
    assert not (tmp_path / "a.mp4").exists()
    film.close()
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
    found = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert found.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    assert found.get(cv2.CAP_PROP_FPS) == pytest.approx(5.0)
    ok, sheet = found.read()
    assert ok and sheet.shape == (2 * (128 + 26), 512, 3)
    panel = sheet[40:140, 20:240].reshape(-1, 3).mean(axis=0)
    assert panel == pytest.approx([40, 40, 200], abs=12)  # BGR


def test_what_is_unknown_stays_gray() -> None:
    sheet = draw_panels(RGB, estimate(0, is_measured=False), SteadyLimits())
    assert np.all(sheet[200:, :] == sheet[200, 300])
    assert not np.all(sheet[40:140, 260:] == sheet[40, 300])


def test_a_video_that_cannot_be_written_names_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (tmp_path / "a.txt", tmp_path / "missing" / "a.mp4"):
        with pytest.raises(OutputError, match="expected a file .mp4"):
            DepthVideo(path)
    monkeypatch.setattr(video, "_CODEC", "zzzz")
    film = DepthVideo(tmp_path / "a.mp4")
    film.add(RGB, estimate(0))
    with pytest.raises(OutputError, match="FFmpeg"):
        film.add(RGB, estimate(1))
