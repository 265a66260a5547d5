"""sfm_doctor on bags written by rosbag2 and others, and on bags with faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from sfm_ros.ros.doctor.command import main

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
PERIOD_NS = 100_000_000


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main([*arguments, "--no-engine"])
    return code, capsys.readouterr().out


def header(stamp_ns: int, frame: str) -> Any:
    stamp = TYPES["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame)


def image(stamp_ns: int, width: int = 64, height: int = 48, frame: str = "cam_optical") -> Any:
    pixels = np.random.default_rng(0).integers(0, 255, height * width, dtype=np.uint8)
    return TYPES["sensor_msgs/msg/Image"](
        header=header(stamp_ns, frame), height=height, width=width, encoding="mono8",
        is_bigendian=0, step=width, data=pixels,
    )  # fmt: skip


def info(stamp_ns: int, width: int = 64, height: int = 48, focal: float = 50.0) -> Any:
    K = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1.0])
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns, "cam_optical"), height=height, width=width,
        distortion_model="plumb_bob", d=np.zeros(5), k=K, r=np.eye(3).ravel(),
        p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def transform(parent: str, child: str, quat_xyzw: tuple[float, ...]) -> Any:
    x, y, z, w = quat_xyzw
    motion = TYPES["geometry_msgs/msg/Transform"](
        translation=TYPES["geometry_msgs/msg/Vector3"](x=1.0, y=0.0, z=1.5),
        rotation=TYPES["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
    )
    stamped = TYPES["geometry_msgs/msg/TransformStamped"](
        header=header(0, parent), child_frame_id=child, transform=motion
    )
    return TYPES["tf2_msgs/msg/TFMessage"](transforms=[stamped])


@pytest.fixture
def record(tmp_path: Path) -> Callable[[list[tuple[str, int, Any]]], Path]:
    """Writes messages (topic, time, message) as a bag."""

    def write(messages: list[tuple[str, int, Any]]) -> Path:
        connections: dict[str, Any] = {}
        with Writer(tmp_path / "bag", version=9) as writer:
            for topic, time_ns, message in messages:
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
                writer.write(connections[topic], time_ns, STORE.serialize_cdr(message, kind))
        return tmp_path / "bag"

    return write


def test_message_without_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Writer(tmp_path / "bag", version=9) as writer:
        topic = writer.add_connection("/cam/image", "sensor_msgs/msg/Image", typestore=STORE)
        writer.write(topic, 1, bytes([0, 1, 0, 0]))
    code, output = doctor(capsys, "--bag", str(tmp_path / "bag"))
    assert code == 1 and "4 bytes has no header: the bag is damaged" in output


def recording(count: int = 30, **changes: Any) -> list[tuple[str, int, Any]]:
    messages: list[tuple[str, int, Any]] = []
    for index in range(count):
        stamp = (100 + index) * PERIOD_NS
        messages.append(("/cam/camera_info", stamp, info(stamp, **changes)))
        messages.append(("/cam/image_raw", stamp, image(stamp)))
    return messages


OPTICAL_XYZW = (-0.5, 0.5, -0.5, 0.5)


def test_bag_without_faults_passes(
    record: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    extrinsics = ("/tf_static", 0, transform("base_link", "cam_optical", OPTICAL_XYZW))
    code, output = doctor(capsys, "--bag", str(record([extrinsics, *recording()])))
    assert code == 0, output
    assert "10.0 Hz" in output and "at (1.00, 0.00, 1.50) m" in output
    assert "WARN" not in output.replace("0 WARN", "")


def test_topic_without_leading_slash(
    record: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, output = doctor(capsys, "--bag", str(record(recording())), "--image-topic", "cam/image_raw")
    assert "image /cam/image_raw: 64x48" in output


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        (recording(focal=0.0), "the camera is not calibrated"),
        (recording(width=128, height=96), "the images have 64x48"),
        ([m for m in recording() if "info" not in m[0]], "no calibration arrived"),
        (
            [*recording(20), *((t, n + 10**10, m) for t, n, m in recording(5))],
            "the stamps go back 1 times",
        ),
        (
            [
                ("/tf_static", 0, transform("base_link", "cam_optical", (0, 0, 0, 1.0))),
                *recording(),
            ],
            "its z axis points up",
        ),
        (
            [
                ("/tf_static", 0, transform("base_link", "cam_optical", OPTICAL_XYZW)),
                ("/tf", 1, transform("mast", "cam_optical", OPTICAL_XYZW)),
                *recording(),
            ],
            "'cam_optical' has 2 parents: base_link, mast",
        ),
    ],
)
def test_faulty_bag_fails_with_its_reason(
    messages: list,
    text: str,
    record: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, output = doctor(capsys, "--bag", str(record(messages)))
    assert code == 1
    assert any(line.startswith("FAIL") and text in line for line in output.splitlines()), output


def test_json_of_a_bag(record: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    code, output = doctor(capsys, "--bag", str(record(recording())), "--json")
    report = json.loads(output)
    assert code == 0 and report["failed"] is False
    assert {"image /cam/image_raw", "model"} <= {row["check"] for row in report["checks"]}


@pytest.mark.parametrize(
    ("bag", "text"),
    [
        ("duckietown_compressedimage.bag", "no calibration arrived"),
        ("rosbag2/ros2bag/test/resources/empty_bag", "it is empty"),
        ("rosbag2/rosbag2_py/test/resources/mcap/talker", "no image topic; there are"),
        ("rosbag2/rosbag2_py/test/resources/sqlite3/talker", "no image topic; there are"),
        ("rosbag2/rosbag2_py/test/resources/sqlite3/wbag", "no image topic"),
        ("rosbag2/rosbag2_cpp/test/rosbag2_cpp/bags/only_services.mcap", "no image topic"),
        ("rosbag2/ros2bag/test/resources/nowhere", "there is no bag"),
    ],
)
def test_foreign_bags(
    bag: str, text: str, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = doctor(capsys, "--bag", str(shared_data / "oracle_bags" / bag))
    assert code == 1 and text in output
    assert "Traceback" not in output


def test_damaged_bag_is_a_finding(
    record: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bag = record(recording(5))
    storage = next(bag.glob("*.db3"), None) or next(bag.glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[:2000])
    code, output = doctor(capsys, "--bag", str(bag))
    assert code == 1 and "FAIL" in output
