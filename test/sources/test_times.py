"""Times are those of the recording: in the names of images, in files of times, in videos."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recorder import START, Recorder, record_stamps

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.folder import FolderSource
from sfm_ros.sources.time_names import times_in_names
from sfm_ros.sources.timestamps import read_times, timed_files
from sfm_ros.sources.video import VideoSource

CAMERA = CameraIntrinsics(width=8, height=6, fx=10, fy=10, cx=3.5, cy=2.5)
EPOCH = 1_403_636_579


def seconds(index: int) -> float:
    """Times of a camera at 10 Hz whose stamps end with zeros now and then."""
    return EPOCH + round(0.064 + 0.1 * index - (index % 3) * 0.000445, 6)


STYLES: dict[str, Callable[[int], str]] = {
    "float as Python prints it": lambda i: f"{seconds(i)}",
    "six decimals": lambda i: f"{seconds(i):.6f}",
    "with a prefix": lambda i: f"frame_{seconds(i)}",
    "nanoseconds": lambda i: f"{round(seconds(i) * 1e6)}000",
    "microseconds": lambda i: f"{round(seconds(i) * 1e6)}",
    "milliseconds": lambda i: f"left-{round(seconds(i) * 1e3)}",
    "seconds and nanoseconds": lambda i: f"{EPOCH + i // 10}.{i % 10 * 10**8 + 64_000_001}",
    "the same with an underscore": lambda i: f"{EPOCH + i // 10}_{i % 10 * 10**8 + 64_000_001}",
    "with nine digits": lambda i: f"{EPOCH + i // 10}_{i % 10 * 10**8 + 64_000_001:09d}",
    "decimals from zero": lambda i: f"{round(0.1 * i, 1)}",
    "nanoseconds from zero": lambda i: f"{i * 100_000_000}",
}


@pytest.mark.parametrize("style", STYLES)
def test_names_that_are_times_give_order_and_stamps(style: str) -> None:
    names = [f"{STYLES[style](index)}.jpg" for index in range(25)]
    shuffled = [Path("images", name) for name in sorted(names, key=str.__hash__)]
    found = times_in_names(shuffled)
    assert found is not None
    assert [file.name for file in found.files] == names
    steps = np.diff(found.stamps_ns)
    assert np.abs(steps - 100_000_000).max() <= 1_000_000
    start = 0 if style.endswith("zero") else EPOCH * 10**9 + 64_000_000
    assert abs(found.stamps_ns[0] - start) < 1000


@pytest.mark.parametrize(
    "names",
    [
        [f"{index:06d}" for index in range(9)],
        [f"frame_{index}" for index in range(9)],
        [f"{index * 30}" for index in range(9)],
        [f"v1.{index:04d}" for index in range(9)],
        [f"2.{index:04d}" for index in range(9)],
        [f"20230115_12000{index}" for index in range(9)],
        [f"2023011512000{index}" for index in range(9)],
        [f"2023011512000{index}123" for index in range(9)],
        [f"20230115120000.12{index}" for index in range(9)],
        ["1234567890", "2345678901", "3456789012"],
        ["left", "right"],
    ],
)
def test_other_names_are_no_times(names: list[str]) -> None:
    assert times_in_names([Path(f"{name}.png") for name in names]) is None


def test_a_name_among_times_that_is_none(tmp_path: Path) -> None:
    times = [Path(f"{EPOCH}.{index}.png") for index in range(1, 5)]
    with pytest.raises(SourceError, match="names of 4 images in . are times, but not thumb.png"):
        times_in_names([*times, Path("thumb.png")])
    with pytest.raises(SourceError, match="names of 4 images in . are times, but not 0.png"):
        times_in_names([Path("0.png"), *times])
    with pytest.raises(SourceError, match="and .*.5.jpg have the same time"):
        times_in_names([Path(f"{EPOCH}.50.png"), Path(f"{EPOCH}.5.jpg"), *times])


def write_images(folder: Path, names: list[str]) -> Path:
    """Images whose value is 10 times their place in the list."""
    folder.mkdir(parents=True)
    for index, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((6, 8), 10 * index, np.uint8))
    return folder


def values_of(source: FolderSource) -> list[int]:
    return [int(item.frame.rgb[0, 0, 0]) for item in source]


def test_folder_in_order_of_the_times_in_its_names(tmp_path: Path) -> None:
    names = [f"{EPOCH}.{part}.png" for part in ("764", "863555", "9", "963555")]
    source = FolderSource(write_images(tmp_path / "rgb", names), CAMERA)
    assert values_of(source) == [0, 10, 20, 30]
    assert [item.frame.stamp_ns % 10**9 for item in source][:2] == [764_000_000, 863_555_000]
    assert "those in the names of the images, in seconds" in source.remarks[0]
    stated = FolderSource(tmp_path / "rgb", CAMERA, fps=20.0)
    assert values_of(stated) == [0, 10, 20, 30] and stated.stamps_ns[1] == 50_000_000
    assert "not used, but the stated frame rate" in stated.remarks[0]


def test_an_assumed_frame_rate_is_reported(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", ["0.png", "1.png"])
    assert "10 frames per second are assumed" in FolderSource(folder, CAMERA).remarks[0]
    assert FolderSource(folder, CAMERA, fps=10.0).remarks == ()
    (folder / "times.txt").write_text("0.1\n0.3\n")
    source = FolderSource(folder, CAMERA)
    assert source.remarks == () and source.stamps_ns == [100_000_000, 300_000_000]


@pytest.mark.parametrize(
    ("text", "expected", "unit"),
    [
        ("0\n0.1\n0.2\n", [0, 10**8, 2 * 10**8], None),
        ("1403636579763555584\n1403636579863555584\n", [0, 10**8], "nanoseconds"),
        ("# times\n1403636579763555\n1403636579863555\n", [0, 10**8], "microseconds"),
        ("1403636579763\n1403636579863\n", [0, 10**8], "milliseconds"),
        ("0\n100000000\n200000000\n", [0, 10**8, 2 * 10**8], "nanoseconds"),
        ("\ufeff1.4036365797635556e+09\n1403636579.8635556\n", [0, 10**8], None),
    ],
)
def test_units_of_a_file_of_times(
    text: str, expected: list[int], unit: str | None, tmp_path: Path
) -> None:
    (tmp_path / "times.txt").write_text(text, encoding="utf-8")
    stamps, remarks = read_times(tmp_path / "times.txt")
    assert [stamp - stamps[0] for stamp in stamps] == expected
    assert len(remarks) == (unit is not None) and all(f"as {unit}" in text for text in remarks)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("2e10\n", "beyond 9223372036 seconds"),
        ("0\n1500000\n3000000\n", "microseconds or nanoseconds"),
        ("1403636579763555584\n1403636579763555584\n", "line 2: .* is not later"),
        ("00000 1520530308.1 0.05\n", "line 1: the stamp is '00000 1520530308.1 0.05'"),
        ("2011-13-26 13:02:25.0\n", "month must be in 1..12"),
    ],
)
def test_times_out_of_range_are_refused(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text(text)
    with pytest.raises(SourceError, match=named):
        timed_files([Path("0.png")], tmp_path / "times.txt")


# ---- videos ----------------------------------------------------------------------------------


def write_video(path: Path, count: int = 6) -> Path:
    """At 20 frames per second; frame i has the value 20 i."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    return path


def set_durations(path: Path, durations: list[int]) -> None:
    """Give each frame of an mp4 file its own duration, in the file's units (10240 per second)."""
    data = bytearray(path.read_bytes())
    at = data.find(b"stts") - 4
    (size,) = struct.unpack_from(">I", data, at)
    entries = b"".join(struct.pack(">II", 1, duration) for duration in durations)
    box = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(durations)) + entries
    data[at : at + size] = box
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):  # which hold it; mdat is before
        at = data.find(name) - 4
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(box) - size)
    at = data.find(b"edts")  # states the old length
    data[at : at + 4] = b"free"
    path.write_bytes(data)


CAMERA_64 = CameraIntrinsics(width=64, height=48, fx=40, fy=40, cx=31.5, cy=23.5)


def stamps_ms(source: VideoSource) -> list[float]:
    return [item.frame.stamp_ns / 1e6 for item in source]


def test_a_video_has_its_own_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "phone.mp4")
    assert stamps_ms(VideoSource(path, CAMERA_64)) == [0, 50, 100, 150, 200, 250]
    set_durations(path, [512, 512, 1024, 2048, 512, 512])
    source = VideoSource(path, CAMERA_64)
    assert stamps_ms(source) == [0, 50, 100, 200, 400, 450] and source.remarks == ()
    assert stamps_ms(VideoSource(path, CAMERA_64, fps=10.0)) == [0, 100, 200, 300, 400, 500]


def test_times_that_stand_still_are_made_up_and_reported(tmp_path: Path) -> None:
    path = write_video(tmp_path / "phone.mp4")
    set_durations(path, [512, 0, 512, 512, 512, 512])
    source = VideoSource(path, CAMERA_64)
    found = stamps_ms(source)
    assert len(found) == 6 and np.all(np.diff(found) > 0)
    assert ["do not increase" in remark for remark in source.remarks] == [True]


# ---- bags whose stamps are zero --------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ros1", "sqlite3", "mcap"])
def test_zero_stamps_are_those_of_recording_for_all(
    kind: str, new_bag: Callable[..., Recorder], tmp_path: Path
) -> None:
    given = open_input(InputOptions(kind="bag", path=record_stamps(new_bag(kind), [0] * 4)))
    expected = [START + index * 100_000_000 for index in range(4)]
    assert [item.frame.stamp_ns for item in given.source] == expected
    assert "the times of recording are used" in given.remarks[0]
    assert given.playable() is None  # the node would refuse them
    played = given.converted(tmp_path / "played", tmp_path / "depth")
    assert [item.frame.stamp_ns for item in played.source] == expected
    assert played.remarks == given.remarks


@pytest.mark.parametrize("stamps", [[0, 10**8, 2 * 10**8], [START, 0, START + 2 * 10**8]])
def test_some_zero_stamps_are_kept(stamps: list[int], new_bag: Callable[..., Recorder]) -> None:
    """A simulation starts at zero; a stamp that is left out is for the odometry to refuse."""
    source = BagSource(record_stamps(new_bag(), stamps))
    assert [item.frame.stamp_ns for item in source] == stamps and source.remarks == ()
