"""The video of a run, read back."""

from __future__ import annotations

from contextlib import closing
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
    assert ok and sheet.shape == (2 * (128 + 20), 512, 3)
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
    with pytest.raises(OutputError, match="FFmpeg"), closing(DepthVideo(tmp_path / "b.mp4")) as b:
        b.add(RGB, estimate(0))
        b.add(RGB, estimate(1))
    assert not list(tmp_path.iterdir())


def written(path: Path, frames: int) -> bytes:
    with DepthVideo(path) as film:
        for index in range(frames):
            film.add(RGB, estimate(index))
    return path.read_bytes()


def test_only_a_video_of_its_own_is_replaced(tmp_path: Path) -> None:
    film = tmp_path / "a.mp4"
    first = written(film, 3)
    assert written(film, 5) != first
    recording = tmp_path / "drive.mp4"
    recording.write_bytes(first[:-1])
    linked = tmp_path / "linked.mp4"
    linked.symlink_to(film)
    for path in (recording, linked):
        with pytest.raises(OutputError, match=f"{path.name} .*name another file"):
            DepthVideo(path)
    assert recording.read_bytes() == first[:-1] and linked.is_symlink()


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with pytest.raises(OutputError, match="not replaced"), DepthVideo(path) as film:
        film.add(RGB, estimate(0))
        path.write_bytes(b"recorded")
    assert path.read_bytes() == b"recorded"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


def test_a_run_that_fails_leaves_the_earlier_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    before = written(path, 4)
    with pytest.raises(RuntimeError, match="in the middle"), DepthVideo(path) as film:
        film.add(RGB, estimate(0))
        film.add(RGB, estimate(1))
        raise RuntimeError("in the middle")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]
