"""A topic or a profile that is not of ROS 2 does not lock out the camera beside it."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_recorder import START, Recorder

pytest.importorskip("mcap", reason="mcap is not installed (requirements/dev.txt)")

from mcap.writer import IndexType, Writer

from sfm_ros.bags.reader import BagFile, typestore
from sfm_ros.doctor.bag import check_content, read_bag
from sfm_ros.doctor.finding import Level
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.sources.bag import BagSource

COUNT = 3
IMAGES = "/cam/image_raw"


def messages(is_ros1: bool) -> list[tuple[str, str, bytes, int]]:
    """Topic, type, bytes and time of an image and its calibration, three times."""
    store = typestore(is_ros1)
    types, entries = store.types, []
    serialize = store.serialize_ros1 if is_ros1 else store.serialize_cdr
    extra = {"seq": 0} if is_ros1 else {}
    matrices = {"K": [10, 0, 3.5, 0, 11, 2.5, 0, 0, 1], "D": [0.0] * 5,
                "R": np.eye(3).ravel(), "P": np.zeros(12)}  # fmt: skip
    for index in range(COUNT):
        at = START + index * 100_000_000
        time = types["builtin_interfaces/msg/Time"](sec=at // 10**9, nanosec=at % 10**9)
        header = types["std_msgs/msg/Header"](stamp=time, frame_id="cam", **extra)
        roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        values = {
            name if is_ros1 else name.lower(): np.array(value, dtype=float)
            for name, value in matrices.items()
        }
        info = types["sensor_msgs/msg/CameraInfo"](
            header=header, height=6, width=8, distortion_model="plumb_bob", binning_x=0,
            binning_y=0, roi=roi, **values,
        )  # fmt: skip
        image = types["sensor_msgs/msg/Image"](
            header=header, height=6, width=8, encoding="mono8", is_bigendian=0, step=8,
            data=np.full(48, 10 * index, np.uint8),
        )  # fmt: skip
        for topic, message in (("/cam/camera_info", info), (IMAGES, image)):
            kind = message.__msgtype__
            entries.append((topic, kind, bytes(serialize(message, kind)), at))
    return entries


def write_mcap(
    path: Path,
    profile: str = "ros2",
    encoding: str = "cdr",
    schema_encoding: str = "ros2msg",
    foreign: tuple[tuple[str, str, str, bytes], ...] = (),
    **options: Any,
) -> Path:
    """``foreign`` topics: name, encoding, type and message, which come first."""
    is_ros1 = encoding == "ros1"
    with path.open("wb") as stream:
        writer = Writer(stream, chunk_size=400, **options)
        writer.start(profile, "a tool")
        for topic, kind_of_data, name, data in foreign:
            kind = writer.register_schema(name, kind_of_data, b"\xff\xfe definition")
            channel = writer.register_channel(topic, kind_of_data, kind)
            writer.add_message(channel, START, data, START)
        channels: dict[str, int] = {}
        for topic, name, data, at in messages(is_ros1):
            if topic not in channels:
                named = name.replace("/msg/", "/") if is_ros1 else name
                kind = writer.register_schema(named, schema_encoding, b"")
                channels[topic] = writer.register_channel(topic, encoding, kind)
            writer.add_message(channels[topic], at, data, at)
        writer.finish()
    return path


def assert_camera_is_read(path: Path) -> BagSource:
    given = open_input(InputOptions(kind="bag", path=path))
    assert isinstance(given.source, BagSource)
    values = [int(item.frame.rgb[0, 0, 0]) for item in given.source]
    assert values == [10 * index for index in range(COUNT)]
    assert given.unreadable == given.source.skipped == 0
    (camera,) = read_bag(path).cameras
    assert len(camera.images.samples) == COUNT and len(camera.calibrations) == 1
    return given.source


FOREIGN = {
    "protobuf": ("/log", "protobuf", "foxglove.Log", b"\x0a\x00"),
    "JSON with the name of an image's type": (
        "/web/image", "json", "sensor_msgs/msg/Image", b'{"width": 3}',
    ),
    "flatbuffer": ("/fb", "flatbuffer", "a.B", b"\x00" * 9),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("profile", ["ros2", ""])
def test_a_topic_of_another_encoding_is_left_out(
    name: str, profile: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_mcap(tmp_path / "a.mcap", profile, foreign=(FOREIGN[name],))
    source = assert_camera_is_read(path)
    topic, encoding, kind, _ = FOREIGN[name]
    assert f"{topic} ({encoding})" in source.remarks[0] and topic in caplog.text
    assert source.bag.all_topics[topic] == (f"{kind} ({encoding})", 1)
    findings = check_content(read_bag(path))
    assert all(each.level is Level.OK for each in findings)
    assert f"{topic} ({encoding})" in " ".join(each.found for each in findings)
    with pytest.raises(SourceError, match=rf"found 1 messages of {kind} \({encoding}\)"):
        BagSource(path, image_topic=topic)


@pytest.mark.parametrize("profile", ["", "x-robot", "ros1", "ros2"])
def test_the_profile_does_not_matter(profile: str, tmp_path: Path) -> None:
    assert not assert_camera_is_read(write_mcap(tmp_path / "a.mcap", profile)).remarks


@pytest.mark.parametrize("profile", ["ros1", ""])
def test_messages_of_ros1_in_mcap(profile: str, tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", profile, "ros1", "ros1msg")
    source = assert_camera_is_read(path)
    assert source.bag.is_ros1 and not source.remarks
    assert source.bag.topics[IMAGES] == ("sensor_msgs/msg/Image", COUNT)


def test_messages_of_ros1_in_mcap_are_played(tmp_path: Path) -> None:
    tracks = pytest.importorskip("sfm_ros.ros.tools.bag_tracks")
    path = write_mcap(tmp_path / "a.mcap", "ros1", "ros1", "ros1msg")
    played = [(topic, raw) for topic, _, raw in tracks.PlayableBag(path).messages()]
    assert played == [(topic, data) for topic, _, data, _ in messages(False)]


@pytest.mark.parametrize("schema_encoding", ["", "unknown", "ros2idl", "something"])
def test_definitions_are_not_needed(schema_encoding: str, tmp_path: Path) -> None:
    assert_camera_is_read(write_mcap(tmp_path / "a.mcap", schema_encoding=schema_encoding))


@pytest.mark.parametrize(
    "options",
    [
        {"index_types": IndexType.NONE},
        {"index_types": IndexType.CHUNK},
        {"index_types": IndexType.MESSAGE},
        {"use_statistics": False},
        {"repeat_channels": False, "repeat_schemas": False},
        {"use_summary_offsets": False},
        {"use_chunking": False},
    ],
    ids=str,
)
def test_optional_parts_of_a_file_may_be_absent(options: dict[str, Any], tmp_path: Path) -> None:
    assert_camera_is_read(write_mcap(tmp_path / "a.mcap", **options))


def test_a_type_without_definition_in_sqlite(new_bag: Callable[..., Recorder]) -> None:
    recorder = new_bag("sqlite3")
    for index in range(COUNT):
        at = START + index * 100_000_000
        recorder.info("/cam/camera_info", at, k=[10, 0, 3.5, 0, 11, 2.5, 0, 0, 1])
        recorder.image(IMAGES, np.full((6, 8), 10 * index, np.uint8), "mono8", at)
    bag = recorder.done()
    (file,) = bag.glob("*.db3")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE message_definitions SET encoding='unknown'")
        connection.execute(
            "INSERT INTO topics (name, type, serialization_format, offered_qos_profiles, "
            "type_description_hash) VALUES ('/odd', 'x.Y', 'protobuf', '', '')"
        )
    connection.close()
    source = assert_camera_is_read(bag)
    assert "/odd (protobuf)" in source.remarks[0]


def test_what_is_no_mcap_file_is_refused(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap")
    data = path.read_bytes()
    for broken in (b"x" + data[1:], data[:-1], data[:9] + struct.pack("<Q", 2**60) + data[17:]):
        path.write_bytes(broken)
        with pytest.raises(SourceError, match="cannot open the bag"):
            BagFile(path)
