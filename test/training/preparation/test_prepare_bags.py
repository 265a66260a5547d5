"""Bags and videos as sources of a set: raw and compressed images, speeds, own calibrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from calibrations import write_camera_info
from prepared_sets import Frames, make_batcher
from rosbags.rosbag2 import StoragePlugin, Writer

from sfm_ros.bags.messages import (
    STORE,
    camera_info_message,
    compressed_image_message,
    encode_image,
    header,
    image_message,
)
from sfm_ros.bags.writer import BagTopics
from sfm_ros.datatypes import CameraIntrinsics, Frame
from training import prepare
from training.data.sequence import PreparedSet

START = 1_700_000_000_000_000_000
COUNT = 8
CAMERA = CameraIntrinsics(width=64, height=64, fx=50.0, fy=50.0, cx=31.5, cy=31.5)


def twist_message(speed_m_s: float, stamp_ns: int) -> Any:
    vector = STORE.types["geometry_msgs/msg/Vector3"]
    twist = STORE.types["geometry_msgs/msg/Twist"](
        linear=vector(x=speed_m_s * 0.6, y=speed_m_s * 0.8, z=0.0),
        angular=vector(x=0.0, y=0.0, z=0.5),
    )
    kind = STORE.types["geometry_msgs/msg/TwistStamped"]
    return kind(header=header(stamp_ns, "base"), twist=twist)


def speed(seconds: Any) -> Any:
    """Meters per second at a time after the start."""
    return 2.0 + 3.0 * seconds


@pytest.fixture
def bag(tmp_path: Path, wall_frames: Frames) -> Path:
    """A raw camera with camera_info, the same compressed without it, and wheel speeds at 50 Hz."""
    path = tmp_path / "recording"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        for index in range(5 * COUNT):
            stamp = START + index * 20_000_000
            topics.add("/wheels", twist_message(speed(index / 50), stamp), stamp)
        for frame in wall_frames(COUNT, K=(50.0, 50.0, 31.5, 31.5)):
            # Between two speeds: they have to be interpolated.
            stamp = START + frame.stamp_ns + 10_000_000
            image = Frame(stamp_ns=stamp, rgb=frame.rgb, intrinsics=CAMERA)
            topics.add("/cam/camera_info", camera_info_message(CAMERA, stamp, "cam"), stamp)
            topics.add("/cam/image_raw", image_message(image), stamp)
            data = encode_image(image, "png", 95)
            compressed = compressed_image_message(data, "png", stamp, "cam")
            topics.add("/other/image/compressed", compressed, stamp)
    return path


def run(bag: Path, out: Path, *more: str) -> int:
    size = ("--width", "64", "--height", "64", "--no-report")
    return prepare.main(["bag", str(out), "--file", str(bag), *size, *more])


def test_any_topic_gives_the_same_frames(bag: Path, tmp_path: Path, wall_frames: Frames) -> None:
    calibration = tmp_path / "camera_info.yaml"
    write_camera_info(calibration, CAMERA)
    raw = ("--topic", "/cam/image_raw")
    compressed = ("--topic", "/other/image/compressed")
    settings = {
        "raw": raw,
        "threads": (*raw, "--jobs", "2"),
        "borrowed": (*compressed, "--camera-info-topic", "/cam/camera_info"),
        "own": (*compressed, "--calib", str(calibration)),
    }
    expected = [frame.rgb for frame in wall_frames(COUNT, K=(50.0, 50.0, 31.5, 31.5))]
    for name, more in settings.items():
        assert run(bag, tmp_path / name, *more) == 0, name
        prepared = PreparedSet.open(tmp_path / name)
        np.testing.assert_array_equal(prepared.frames, expected)
        assert prepared.sequences[0].K == (50.0, 50.0, 31.5, 31.5)
        assert prepared.sequences[0].stamps_ns[0] == START + 10_000_000
        assert prepared.sequences[0].speeds_m_s is None


def test_topic_without_calibration_is_named(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(bag, tmp_path / "set", "--topic", "/other/image/compressed") == 1
    error = capsys.readouterr().err
    assert "/other/camera_info" in error and "Traceback" not in error
    assert run(bag, tmp_path / "set") == 1
    assert "several image topics" in capsys.readouterr().err


def test_measured_speed_gives_the_distance(bag: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    more = ("--topic", "/cam/image_raw", "--speed-topic", "/wheels")
    assert run(bag, out, *more) == 0
    prepared = PreparedSet.open(out)
    times = np.array(prepared.sequences[0].stamps_ns) * 1e-9 - START * 1e-9
    speeds = np.array(prepared.sequences[0].speeds_m_s)
    np.testing.assert_allclose(speeds, speed(times), atol=1e-5)

    batcher = make_batcher([prepared])
    windows = batcher.training_windows(0)
    distances = batcher.batch_of(windows).distance_bs
    assert distances is not None
    for window, distance in zip(windows, distances, strict=True):
        x, y, z = (2.0 * t + 1.5 * t * t for t in times[window.first : window.first + 3])
        torch.testing.assert_close(distance, torch.tensor([y - x, z - y]), check_dtype=False)


def test_frame_far_from_any_speed_has_none(tmp_path: Path, wall_frames: Frames) -> None:
    path = tmp_path / "recording"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        topics.add("/wheels", twist_message(4.0, START), START)
        for frame in wall_frames(6):
            stamp = START + frame.stamp_ns
            image = Frame(stamp_ns=stamp, rgb=frame.rgb, intrinsics=CAMERA)
            topics.add("/cam/camera_info", camera_info_message(CAMERA, stamp, "cam"), stamp)
            topics.add("/cam/image_raw", image_message(image), stamp)
    assert run(path, tmp_path / "set", "--speed-topic", "/wheels") == 0
    first, second = PreparedSet.open(tmp_path / "set").sequences
    assert first.speeds_m_s == (4.0, 4.0, 4.0) and second.speeds_m_s is None
    assert first.count + second.count == 6


def test_video(tmp_path: Path, wall_frames: Frames) -> None:
    file, calibration = tmp_path / "recording.avi", tmp_path / "camera_info.yaml"
    write_camera_info(calibration, CAMERA)
    frames = [frame.rgb for frame in wall_frames(COUNT)]
    video = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 64))
    for rgb in frames:
        video.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    video.release()
    command = ["video", str(tmp_path / "set"), "--file", str(file), "--calib", str(calibration)]
    assert prepare.main([*command, "--width", "64", "--height", "64", "--no-report"]) == 0
    prepared = PreparedSet.open(tmp_path / "set")
    assert np.diff(prepared.sequences[0].stamps_ns).tolist() == [40_000_000] * (COUNT - 1)
    # Gray values: such a video stores colors at half size.
    assert np.abs((prepared.frames.astype(float) - frames) @ [0.299, 0.587, 0.114]).mean() < 4.0
