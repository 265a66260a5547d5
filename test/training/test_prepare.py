"""Preparing as a user does it: from streets, folders and drives, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.sources.base import SourceItem
from training import prepare
from training.data.sequence import PreparedFrame, PreparedSet

Frames = Callable[..., Iterator[PreparedFrame]]
SMALL = ("--width", "64", "--height", "64")


@pytest.fixture(autouse=True)
def keep_interrupt_handler() -> Iterator[None]:
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


class WallSource:
    """The wall as a source, without a detour through files."""

    name = "wall"
    fps = 10.0
    camera_height_m = None

    def __init__(self, frames: list[PreparedFrame]) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[SourceItem]:
        for frame in self._frames:
            height, width = frame.rgb.shape[:2]
            fx, fy, cx, cy = frame.K
            camera = CameraIntrinsics(width=width, height=height, fx=fx, fy=fy, cx=cx, cy=cy)
            yield SourceItem(
                frame=Frame(stamp_ns=frame.stamp_ns, rgb=frame.rgb, intrinsics=camera),
                T_world_camera=frame.T_world_camera,
                depth_m=frame.depth_m,
            )


@pytest.fixture
def pictures(tmp_path: Path, wall_frames: Frames) -> tuple[Path, Path]:
    """A folder of 12 pictures 96x64 of the wall, and the file of their K."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    frames = list(wall_frames(12, 96, 64))
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index}.png"), cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
    fx, fy, cx, cy = frames[0].K
    calibration = tmp_path / "K.txt"
    calibration.write_text(f"{fx} 0 {cx} 0 {fy} {cy} 0 0 1\n")
    return folder, calibration


def folder_arguments(out: Path, pictures: tuple[Path, Path], *more: str) -> list[str]:
    images, calibration = pictures
    return [
        "folder",
        str(out),
        *SMALL,
        "--images",
        str(images),
        "--calib",
        str(calibration),
        *more,
    ]


def assert_same_bytes(a: Path, b: Path) -> None:
    assert {p.name for p in a.iterdir()} == {p.name for p in b.iterdir()}
    for path in a.iterdir():
        assert path.read_bytes() == (b / path.name).read_bytes(), path.name


def test_a_killed_preparation_resumes_to_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    command = ("synthetic", "--seeds", "0-2", "--frames", "3", *SMALL)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, str(repository / "training" / "prepare.py"), *command, str(killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not (killed / "index.partial.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the first street takes too long"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (killed / "index.json").exists()
    done = json.loads((killed / "index.partial.json").read_text())["sequences"]
    assert 1 <= len(done) < 3

    assert prepare.main([*command, str(killed)]) == 0
    assert prepare.main([*command, str(whole)]) == 0
    assert_same_bytes(killed, whole)
    prepared = PreparedSet.open(whole)
    assert [s.count for s in prepared.sequences] == [3] * 3
    assert all(s.has_depth and s.poses is not None for s in prepared.sequences)


def test_several_processes_give_the_same_bytes(
    tmp_path: Path, pictures: tuple[Path, Path]
) -> None:
    rides = ("--every", "4", "--interleave")
    assert prepare.main(folder_arguments(tmp_path / "one", pictures, *rides)) == 0
    assert prepare.main(folder_arguments(tmp_path / "two", pictures, *rides, "--jobs", "2")) == 0
    assert_same_bytes(tmp_path / "one", tmp_path / "two")


def test_pictures_fit_the_calibration_they_are_given(
    tmp_path: Path, pictures: tuple[Path, Path], wall_frames: Frames
) -> None:
    """The wall rendered with the prepared camera is the prepared picture."""
    assert prepare.main(folder_arguments(tmp_path / "set", pictures)) == 0
    prepared = PreparedSet.open(tmp_path / "set")
    (record,) = prepared.sequences
    assert np.diff(record.stamps_ns).tolist() == [100_000_000] * 11
    fx, fy, cx, cy = record.K
    expected = list(wall_frames(12, 64, 64, K=record.K))
    moved = list(wall_frames(12, 64, 64, K=(fx, fy, cx + 1.0, cy)))
    error = np.abs(prepared.frames.astype(float) - [f.rgb for f in expected]).mean()
    assert error < 1.0
    assert np.abs(prepared.frames.astype(float) - [f.rgb for f in moved]).mean() > 3 * error


def test_depth_and_poses_come_along(wall_frames: Frames) -> None:
    options = prepare.parse(["synthetic", "unused", *SMALL])
    source = WallSource(list(wall_frames(2, 128, 96)))
    frames = list(prepare.prepared_frames(source, options))
    for frame, expected in zip(frames, wall_frames(2, 64, 64, K=frames[0].K), strict=True):
        assert frame.depth_m is not None and expected.depth_m is not None
        assert frame.T_world_camera is not None and expected.T_world_camera is not None
        np.testing.assert_allclose(frame.depth_m, expected.depth_m, rtol=0.005)
        np.testing.assert_array_equal(frame.T_world_camera, expected.T_world_camera)


def test_frames_are_thinned_out(tmp_path: Path, pictures: tuple[Path, Path]) -> None:
    def counts(name: str, *more: str) -> list[int]:
        assert prepare.main(folder_arguments(tmp_path / name, pictures, *more)) == 0
        return [s.count for s in PreparedSet.open(tmp_path / name).sequences]

    assert counts("all") == [12]
    assert counts("third", "--every", "3") == [4]
    assert counts("interleaved", "--every", "5", "--interleave") == [3, 3, 2, 2, 2]
    assert counts("limited", "--every", "3", "--limit", "2") == [2]
    assert counts("gaps", "--every", "3", "--max-gap", "0.2") == [1] * 4
    every, third = (PreparedSet.open(tmp_path / name) for name in ("all", "third"))
    np.testing.assert_array_equal(every.frames[::3], third.frames)


def test_a_camera_that_stands_still_is_left_out(wall_frames: Frames) -> None:
    moving = list(wall_frames(3))
    still = [moving[0], moving[0], moving[1], moving[1], moving[2]]
    options = prepare.parse(["synthetic", "unused", *SMALL, "--min-change", "1"])
    assert len(list(prepare.prepared_frames(WallSource(still), options))) == 3
    options = prepare.parse(["synthetic", "unused", *SMALL])
    assert len(list(prepare.prepared_frames(WallSource(still), options))) == 5


def test_the_last_line_says_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wall_set: PreparedSet
) -> None:
    line = prepare.describe(wall_set)
    (first, second) = wall_set.sequences
    assert first.poses is not None and second.poses is not None
    motion = np.linalg.norm(np.diff(first.poses[:, :3, 3], axis=0), axis=1).mean()
    assert str(wall_set.path) in line and "80 frames 64x64 in 2 sequences" in line
    assert f"{motion:.2f} m a frame" in line and "0% static" in line and "80 with depth" in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["folder", "--images", "{pictures}"], "calib"),
        (["folder", "--images", "{pictures}", "--calib", "/nowhere.yaml"], "nowhere.yaml"),
        (["folder", "--images", "/nowhere", "--calib", "{calibration}"], "/nowhere"),
        (["kitti", "--root", "{pictures}"], "no KITTI drive"),
        (["video", "--file", "/nowhere.mp4", "--calib", "{calibration}"], "nowhere.mp4"),
        (["bag", "--file", "/nowhere.bag"], "nowhere.bag"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    pictures: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    folder, calibration = pictures
    filled = [text.format(pictures=folder, calibration=calibration) for text in more]
    assert prepare.main([*filled, str(tmp_path / "set"), *SMALL]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_another_setting_is_not_taken_for_the_same_source(
    tmp_path: Path, pictures: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert prepare.main(folder_arguments(out, pictures)) == 0
    before = (out / "frames.u8").read_bytes()
    assert prepare.main(folder_arguments(out, pictures)) == 0
    assert prepare.main(folder_arguments(out, pictures, "--every", "2")) == 1
    assert "made otherwise" in capsys.readouterr().err
    assert (out / "frames.u8").read_bytes() == before


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "1-2-3"])
def test_a_wrong_range_of_seeds_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        prepare.parse(["synthetic", "out", f"--seeds={text}"])


def test_a_kitti_drive_keeps_calibration_and_poses(shared_data: Path, tmp_path: Path) -> None:
    root = str(shared_data / "kitti_odom03_head")
    assert prepare.main(["kitti", str(tmp_path), "--root", root, "--limit", "5"]) == 0
    (record,) = PreparedSet.open(tmp_path).sequences
    scale = 128 / 375
    x = 609.5593 + 0.5 - 416 / scale / 2
    assert record.K[0] == pytest.approx(721.5377 * scale, rel=1e-4)
    assert record.K[2] == pytest.approx((609.5593 + 0.5 - x) * scale - 0.5, abs=1e-2)
    assert record.poses is not None
    rows = (shared_data / "kitti_odom03_head" / "poses.txt").read_text().splitlines()[:5]
    truth = np.array([row.split() for row in rows], dtype=float).reshape(5, 3, 4)
    np.testing.assert_allclose(record.poses[:, :3], truth, atol=1e-9)


def test_a_distorted_camera_is_rectified(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "udacity_highway"
    command = ["folder", str(tmp_path / "raw"), "--images", str(folder / "image_raw")]
    command += ["--calib", str(folder / "camera_info.yaml"), "--limit", "2"]
    assert prepare.main(command) == 0
    command[1] = str(tmp_path / "as_is")
    assert prepare.main([*command, "--input", "rectified"]) == 0
    raw, as_is = (PreparedSet.open(tmp_path / name) for name in ("raw", "as_is"))
    assert raw.frames.shape == as_is.frames.shape == (2, 128, 416, 3)
    difference = np.abs(raw.frames.astype(float) - as_is.frames).mean(axis=(0, 1, 3))
    assert difference[:40].mean() > difference[180:236].mean()
