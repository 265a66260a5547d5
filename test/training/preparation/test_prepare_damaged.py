"""What a source lists and cannot be read is counted once and reported for each source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

from bag_recorder import START, Recorder
from calibrations import write_camera_info

from sfm_ros.datatypes import CameraIntrinsics
from training import prepare
from training.data.sequence import PreparedSet

SMALL = ("--width", "64", "--height", "64", "--no-report")
IN_TURN = ("--every", "2", "--interleave")
COUNT = 8


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    camera = CameraIntrinsics(width=64, height=48, fx=40, fy=40, cx=31.5, cy=23.5)
    path = tmp_path / "camera.yaml"
    write_camera_info(path, camera)
    return path


def noise(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)


def images(folder: Path) -> Path:
    folder.mkdir()
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index}.png"), noise(index))
    return folder


def warning(count: int) -> str:
    return f"WARNING: {count} frames of the sources could not be read"


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("damaged", [(3,), (2, 3, 5)])
def test_damaged_images_of_every_phase_are_counted(
    new_bag: Callable[..., Recorder],
    tmp_path: Path,
    calibration: Path,
    capsys: pytest.CaptureFixture[str],
    damaged: tuple[int, ...],
    jobs: str,
) -> None:
    recorder = new_bag()
    for index in range(COUNT):
        data = cv2.imencode(".png", noise(index))[1].tobytes()
        kept = len(data) // 2 if index in damaged else len(data)
        recorder.compressed("/image/compressed", data[:kept], START + index * 10**8)
    bag, out = recorder.done(), tmp_path / "set"
    command = ["bag", str(out), "--file", str(bag), "--calib", str(calibration)]
    assert prepare.main([*command, *SMALL, *IN_TURN, "--jobs", jobs]) == 3
    assert warning(len(damaged)) in capsys.readouterr().err
    counts = [record.count for record in PreparedSet.open(out).sequences]
    even = sum(index % 2 == 0 for index in damaged)
    assert counts == [COUNT // 2 - even, COUNT // 2 - len(damaged) + even]


def test_frames_that_every_phase_misses_are_counted_once(
    tmp_path: Path, calibration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "cut.avi", tmp_path / "set"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    for index in range(40):
        writer.write(noise(index))
    writer.release()
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    command = ["video", str(out), "--file", str(file), "--calib", str(calibration)]
    assert prepare.main([*command, *SMALL, *IN_TURN]) == 3
    printed = capsys.readouterr()
    missing = 40 - len(PreparedSet.open(out).frames)
    assert 0 < missing < 40 and warning(missing) in printed.err
    assert printed.out.count(f"{missing} of 40 frames cannot be read") == 1


def test_one_text_of_two_sources_is_printed_for_both(
    tmp_path: Path, calibration: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And once for the phases of each."""
    given = [word for name in ("a", "b") for word in ("--images", str(images(tmp_path / name)))]
    command = ["folder", str(tmp_path / "set"), *given, "--calib", str(calibration)]
    assert prepare.main([*command, *SMALL, *IN_TURN]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if str(calibration) in line]
    first, second = (line.partition(": ")[0].split("/")[-1] for line in lines)
    assert (first, second) == ("a", "b")
    assert len({line.partition(": ")[2] for line in lines}) == 1
