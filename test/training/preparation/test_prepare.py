"""Preparing as a user does it: from streets, folders and drives, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
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
from sfm_ros.source import SourceItem
from sfm_ros.sources import folder
from training import prepare
from training.data.sequence import PreparedFrame, PreparedSet
from training.preparation.recordings import prepared_frames
from training.preparation.set_statistics import examine

Frames = Callable[..., Iterator[PreparedFrame]]
SMALL = ("--width", "64", "--height", "64", "--no-report")


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
def images(tmp_path: Path, wall_frames: Frames) -> tuple[Path, Path]:
    """A folder of 12 images 96x64 of the wall, and the file of their K."""
    made = tmp_path / "images"
    made.mkdir()
    frames = list(wall_frames(12, 96, 64))
    for index, frame in enumerate(frames):
        cv2.imwrite(str(made / f"{index}.png"), cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
    fx, fy, cx, cy = frames[0].K
    calibration = tmp_path / "K.txt"
    calibration.write_text(f"{fx} 0 {cx} 0 {fy} {cy} 0 0 1\n")
    return made, calibration


def folder_arguments(out: Path, images: tuple[Path, Path], *more: str) -> list[str]:
    folder, calibration = images
    return [
        "folder",
        str(out),
        *SMALL,
        "--images",
        str(folder),
        "--calib",
        str(calibration),
        *more,
    ]


def assert_same_bytes(a: Path, b: Path) -> None:
    assert {p.name for p in a.iterdir()} == {p.name for p in b.iterdir()}
    for path in a.iterdir():
        assert path.read_bytes() == (b / path.name).read_bytes(), path.name


STREETS = ("synthetic", "--seeds", "0-2", "--frames", "2", *SMALL)


@pytest.fixture(scope="module")
def whole_streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The streets, prepared without a disturbance."""
    path = tmp_path_factory.mktemp("streets")
    assert prepare.main([*STREETS, str(path)]) == 0
    return path


def kill_when(repository: Path, out: Path, appears: str, *more: str) -> None:
    """Begin to prepare the streets and kill -9 as soon as a file is there."""
    process = subprocess.Popen(
        [sys.executable, str(repository / "training" / "prepare.py"), *STREETS, *more, str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list(out.glob(appears)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the first street takes too long"
        time.sleep(0.005)
    process.kill()
    process.communicate()  # other processes hold the pipe: it closes when they have ended, too


def test_a_killed_preparation_resumes_to_the_same_bytes(
    repository: Path, tmp_path: Path, whole_streets: Path
) -> None:
    kill_when(repository, tmp_path, "index.partial.json")
    assert not (tmp_path / "index.json").exists()
    done = json.loads((tmp_path / "index.partial.json").read_text())["sequences"]
    assert 1 <= len(done) < 3
    assert prepare.main([*STREETS, str(tmp_path)]) == 0
    assert_same_bytes(tmp_path, whole_streets)
    prepared = PreparedSet.open(tmp_path)
    assert [s.count for s in prepared.sequences] == [2] * 3
    assert all(s.has_depth and s.poses is not None for s in prepared.sequences)


def test_killed_processes_leave_what_they_have_finished(
    repository: Path, tmp_path: Path, whole_streets: Path
) -> None:
    kill_when(repository, tmp_path, "parts/*/index.json", "--jobs", "2")
    assert not (tmp_path / "index.json").exists()
    assert prepare.main([*STREETS, "--jobs", "2", str(tmp_path)]) == 0
    assert_same_bytes(tmp_path, whole_streets)


def test_several_processes_give_the_same_bytes(tmp_path: Path, images: tuple[Path, Path]) -> None:
    recordings = ("--every", "4", "--interleave")
    assert prepare.main(folder_arguments(tmp_path / "one", images, *recordings)) == 0
    assert (
        prepare.main(folder_arguments(tmp_path / "two", images, *recordings, "--jobs", "2")) == 0
    )
    assert_same_bytes(tmp_path / "one", tmp_path / "two")


def test_several_threads_give_the_same_bytes(tmp_path: Path, images: tuple[Path, Path]) -> None:
    static = ("--min-change", "3")
    assert prepare.main(folder_arguments(tmp_path / "one", images, *static)) == 0
    assert prepare.main(folder_arguments(tmp_path / "many", images, *static, "--jobs", "3")) == 0
    assert_same_bytes(tmp_path / "one", tmp_path / "many")
    assert len(PreparedSet.open(tmp_path / "one").frames) < 12


@pytest.mark.parametrize("more", [(), ("--min-change", "3"), ("--every", "2"), ("--limit", "9")])
def test_a_source_that_was_broken_off_goes_on_where_it_was(
    tmp_path: Path,
    images: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, ...],
) -> None:
    """What is in the set is not decoded again; the last image before the kill is."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert prepare.main(folder_arguments(whole, images, *more)) == 0
    monkeypatch.setattr("training.preparation.writer.SAVE_EVERY", 2)
    decoded: list[str] = []
    read = folder.read_image

    def counting(file: Path) -> np.ndarray:
        decoded.append(file.stem)
        if len(decoded) == 8:
            raise KeyboardInterrupt
        return read(file)

    monkeypatch.setattr(folder, "read_image", counting)
    assert prepare.main(folder_arguments(cut, images, *more)) == 130
    assert (cut / "index.open.json").exists() and not (cut / "index.json").exists()
    before = set(decoded[2:])  # the two openings look at the first image
    decoded[:] = ["many"] * 8
    assert prepare.main(folder_arguments(cut, images, *more)) == 0
    assert_same_bytes(cut, whole)
    assert len(before & set(decoded[10:])) <= 4


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_source_that_cannot_be_used_does_not_cost_the_others(
    tmp_path: Path, images: tuple[Path, Path], capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    images_folder, calibration = images
    folders = [tmp_path / name for name in ("first", "broken", "absent", "last")]
    for other in (folders[0], folders[1], folders[3]):
        shutil.copytree(images_folder, other)
    (folders[1] / "7.png").write_bytes(b"no picture")
    out = tmp_path / "set"
    inputs = [word for path in folders for word in ("--images", str(path))]
    inputs += ["--calib", str(calibration)]
    command = ["folder", str(out), *SMALL, *inputs, "--jobs", jobs]
    assert prepare.main(command) == 1
    error = capsys.readouterr().err
    assert "2 sources are left out" in error and "Traceback" not in error
    assert "7.png" in error and "absent" in error
    names = [record.name for record in PreparedSet.open(out).sequences]
    assert [name.split("/")[-1] for name in names] == ["first", "last"]

    shutil.copy(images_folder / "7.png", folders[1])
    shutil.copytree(images_folder, folders[2])
    assert prepare.main(command) == 0
    assert [record.count for record in PreparedSet.open(out).sequences] == [12] * 4


def test_two_sources_of_one_name_are_refused(
    tmp_path: Path, images: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    command = folder_arguments(tmp_path / "set", images)
    command += ["--images", str(images[0])]
    assert prepare.main(command) == 1
    assert "two sources" in capsys.readouterr().err


def test_images_fit_the_calibration_they_are_given(
    tmp_path: Path, images: tuple[Path, Path], wall_frames: Frames
) -> None:
    """The wall rendered with the prepared camera is the prepared image."""
    assert prepare.main(folder_arguments(tmp_path / "set", images)) == 0
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
    frames = list(prepared_frames(source, options))
    for frame, expected in zip(frames, wall_frames(2, 64, 64, K=frames[0].K), strict=True):
        assert frame.depth_m is not None and expected.depth_m is not None
        assert frame.T_world_camera is not None and expected.T_world_camera is not None
        np.testing.assert_allclose(frame.depth_m, expected.depth_m, rtol=0.005)
        np.testing.assert_array_equal(frame.T_world_camera, expected.T_world_camera)


def test_frames_are_thinned_out(tmp_path: Path, images: tuple[Path, Path]) -> None:
    def counts(name: str, *more: str) -> list[int]:
        assert prepare.main(folder_arguments(tmp_path / name, images, *more)) == 0
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
    assert len(list(prepared_frames(WallSource(still), options))) == 3
    options = prepare.parse(["synthetic", "unused", *SMALL])
    assert len(list(prepared_frames(WallSource(still), options))) == 5


def test_a_line_says_what_is_there(wall_set: PreparedSet) -> None:
    line = examine(wall_set).headline()
    (first, second) = wall_set.sequences
    assert first.poses is not None and second.poses is not None
    motion = np.linalg.norm(np.diff(first.poses[:, :3, 3], axis=0), axis=1).mean()
    assert str(wall_set.path) in line and "80 frames 64x64 in 2 sequences" in line
    gray = wall_set.frames.astype(float) @ [0.299, 0.587, 0.114]
    changes = [np.abs(np.diff(gray[i : i + 40], axis=0)).mean((1, 2)) for i in (0, 40)]
    assert f" {(np.concatenate(changes) < 2.0).mean():.0%} static" in line
    assert f"{motion:.2f} m a frame" in line and "80 with depth" in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["folder", "--images", "{images}"], "calib"),
        (["folder", "--images", "{images}", "--calib", "/nowhere.yaml"], "nowhere.yaml"),
        (["folder", "--images", "/nowhere", "--calib", "{calibration}"], "/nowhere"),
        (["kitti", "--root", "{images}"], "no KITTI drive"),
        (["video", "--file", "/nowhere.mp4", "--calib", "{calibration}"], "nowhere.mp4"),
        (["bag", "--file", "/nowhere.bag"], "nowhere.bag"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    images: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    images_folder, calibration = images
    filled = [text.format(images=images_folder, calibration=calibration) for text in more]
    assert prepare.main([*filled, str(tmp_path / "set"), *SMALL]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_another_setting_is_not_taken_for_the_same_source(
    tmp_path: Path, images: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert prepare.main(folder_arguments(out, images)) == 0
    before = (out / "frames.u8").read_bytes()
    assert prepare.main(folder_arguments(out, images)) == 0
    assert prepare.main(folder_arguments(out, images, "--every", "2")) == 1
    assert "made otherwise" in capsys.readouterr().err
    assert (out / "frames.u8").read_bytes() == before


@pytest.mark.parametrize("text", ["a", "3-1", "-1", "1-2-3"])
def test_a_wrong_range_of_seeds_is_refused(text: str) -> None:
    with pytest.raises(SystemExit):
        prepare.parse(["synthetic", "out", f"--seeds={text}"])


def test_a_kitti_drive_keeps_calibration_and_poses(shared_data: Path, tmp_path: Path) -> None:
    root = str(shared_data / "kitti_odom03_head")
    assert (
        prepare.main(["kitti", str(tmp_path), "--root", root, "--limit", "5", "--no-report"]) == 0
    )
    (record,) = PreparedSet.open(tmp_path).sequences
    scale = 128 / 375
    x = 609.5593 + 0.5 - 416 / scale / 2
    assert record.K[0] == pytest.approx(721.5377 * scale, rel=1e-4)
    assert record.K[2] == pytest.approx((609.5593 + 0.5 - x) * scale - 0.5, abs=1e-2)
    assert record.poses is not None
    rows = (shared_data / "kitti_odom03_head" / "poses.txt").read_text().splitlines()[:5]
    ground_truth = np.array([row.split() for row in rows], dtype=float).reshape(5, 3, 4)
    np.testing.assert_allclose(record.poses[:, :3], ground_truth, atol=1e-9)


def test_a_distorted_camera_is_rectified(shared_data: Path, tmp_path: Path) -> None:
    highway = shared_data / "udacity_highway"
    command = ["folder", str(tmp_path / "raw"), "--images", str(highway / "image_raw")]
    command += ["--calib", str(highway / "camera_info.yaml"), "--limit", "2", "--no-report"]
    assert prepare.main(command) == 0
    command[1] = str(tmp_path / "as_is")
    assert prepare.main([*command, "--input", "rectified"]) == 0
    raw, as_is = (PreparedSet.open(tmp_path / name) for name in ("raw", "as_is"))
    assert raw.frames.shape == as_is.frames.shape == (2, 128, 416, 3)
    difference = np.abs(raw.frames.astype(float) - as_is.frames).mean(axis=(0, 1, 3))
    assert difference[:40].mean() > difference[180:236].mean()
