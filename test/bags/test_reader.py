"""Split, compressed, truncated and damaged bags, and bags that real recorders wrote."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags import rosbag2
from rosbags.typesys import Stores, get_typestore

from sfm_ros.bags.message_types import store_for
from sfm_ros.bags.reader import BagFile
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError, SfmRosError, SourceError
from sfm_ros.sources.bag import BagSource

CAMERA = CameraIntrinsics(width=8, height=6, fx=10, fy=11, cx=3.5, cy=2.5)
KINDS = ["ros1", "sqlite3", "mcap"]
START = 1_700_000_000_000_000_000
IMAGE = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def simple_bag(new_bag, kind="mcap", count=3):
    recorder = new_bag(kind)
    for index in range(count):
        stamp = START + index * 100_000_000
        recorder.info("/cam/camera_info", stamp)
        recorder.image("/cam/image_raw", IMAGE + index, "rgb8", stamp)
    return recorder.done()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_truncated_bags_are_refused(new_bag, kind, kept):
    path = simple_bag(new_bag, kind, count=20)
    file = path if path.is_file() else next(f for f in path.iterdir() if f.suffix != ".yaml")
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(SourceError, match="bag"):
        list(BagSource(path))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bags_are_read_or_refused_but_never_crash(new_bag, kind, seed):
    path = simple_bag(new_bag, kind)
    file = path if path.is_file() else next(f for f in path.iterdir() if f.suffix != ".yaml")
    data = bytearray(file.read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(0, len(data), 30):
        data[place] = random.integers(0, 256)
    file.write_bytes(data)
    try:
        list(BagSource(path))
    except SfmRosError:
        pass


def test_what_is_no_bag_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no bag"):
        BagSource(tmp_path / "none")
    with pytest.raises(SourceError, match="holds neither metadata.yaml nor"):
        BagSource(tmp_path)
    (tmp_path / "movie.mp4").touch()
    with pytest.raises(SourceError, match="is no bag: expected"):
        BagSource(tmp_path / "movie.mp4")


def test_storage_files_without_metadata_are_read_in_order(new_bag, tmp_path):
    folder = tmp_path / "split"
    folder.mkdir()
    for part in range(2):
        recorder = new_bag("mcap", f"part{part}")
        for index in range(2):
            recorder.image("/image", IMAGE, "rgb8", START + 10 * part + index)
        (file,) = recorder.done().glob("*.mcap")
        file.rename(folder / f"all_{part}.mcap")
    source = BagSource(folder, calib=CAMERA)
    assert [item.frame.stamp_ns - START for item in source] == [0, 1, 10, 11]
    assert len(source) == 4
    assert len(BagSource(folder / "all_1.mcap", calib=CAMERA)) == 2


@pytest.mark.parametrize("mode", ["FILE", "MESSAGE"])
def test_compressed_bags_are_unpacked(new_bag, mode):
    recorder = new_bag("sqlite3", compression=rosbag2.CompressionMode[mode])
    recorder.image("/image", IMAGE, "rgb8", START)
    (item,) = BagSource(recorder.done(), calib=CAMERA)
    np.testing.assert_array_equal(item.frame.rgb, IMAGE)


@pytest.mark.parametrize(
    "text", ["", "[", "a: 1", "rosbag2_bagfile_information: {relative_file_paths: [gone.db3]}"]
)
def test_broken_metadata_is_refused(new_bag, text):
    path = simple_bag(new_bag)
    (path / "metadata.yaml").write_text(text)
    with pytest.raises(SourceError, match="cannot open the bag"):
        BagSource(path)


ROSBAG2 = "rosbag2/rosbag2_py/test/resources"


def test_bag_of_a_real_ros1_recorder(shared_data):
    path = shared_data / "oracle_bags" / "duckietown_compressedimage.bag"
    with pytest.raises(CalibrationError, match="has no /gym/camera_info"):
        BagSource(path)
    camera = CameraIntrinsics(width=123, height=124, fx=100, fy=100, cx=61, cy=61.5)
    (item,) = BagSource(path, calib=camera)
    assert item.frame.rgb.shape == (124, 123, 3) and item.frame.rgb.max() == 0  # it is black
    assert item.frame.stamp_ns > 10**18  # the time of recording: its header is zero


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        ("rosbag2/ros2bag/test/resources/empty_bag", "no image.*/rosout"),
        (f"{ROSBAG2}/sqlite3/talker", r"no image.*/topic \(std_msgs/msg/String, 10\)"),
        (f"{ROSBAG2}/mcap/talker/talker.mcap", r"/topic \(std_msgs/msg/String, 10\)"),
        (f"{ROSBAG2}/mcap/wbag", "no image.*AAA"),
        (f"{ROSBAG2}/sqlite3/reindex_test_bags/multiple_files", r"/chatter \([^)]*, 3177\)"),
        (f"{ROSBAG2}/mcap/reindex_test_bags/multiple_files", r"/chatter \([^)]*, 3177\)"),
        (
            "rosbag2/rosbag2_cpp/test/rosbag2_cpp/bags/topics_and_services.mcap",
            "no image.*add_two",
        ),
    ],
)
def test_bags_of_rosbag2_itself_are_opened_and_listed(shared_data, path, listed):
    with pytest.raises(SourceError, match=listed):
        BagSource(shared_data / "oracle_bags" / path)


@pytest.mark.parametrize(
    ("path", "topic", "count"),
    [
        (f"{ROSBAG2}/sqlite3/talker", "/topic", 10),  # metadata and storage differ in QoS
        (f"{ROSBAG2}/mcap/talker", "/topic", 10),
        (f"{ROSBAG2}/sqlite3/wbag", "AAA", 804),
        (f"{ROSBAG2}/mcap/wbag/metadata.yaml", "AAA", 804),
        (f"{ROSBAG2}/mcap/reindex_test_bags/multiple_files", "/chatter", 3177),
    ],
)
def test_every_message_of_a_split_bag_comes_in_order(shared_data, path, topic, count):
    bag = BagFile(shared_data / "oracle_bags" / path)
    times = [record.log_ns for record in bag.records([topic])]
    assert bag.topics[topic][1] == len(times) == count
    assert times == sorted(times)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bag_that_is_kept_open_is_opened_once(new_bag, kind, monkeypatch):
    bag = BagFile(simple_bag(new_bag, kind))
    opened = []
    real = BagFile._open
    monkeypatch.setattr(
        BagFile, "_open", lambda self, stack: opened.append(1) or real(self, stack)
    )
    with bag.kept_open():
        source = BagSource(bag)
        first = bag.first("/cam/image_raw")
        kept = list(source)
    assert len(opened) == 1
    assert source.name == bag.name and first.log_ns == START
    again = list(source)
    assert len(opened) == 2
    assert [i.frame.stamp_ns for i in kept] == [i.frame.stamp_ns for i in again]
    assert len(kept) == 3


@pytest.mark.parametrize("store", [s for s in Stores if s.name.startswith("ROS2")])
def test_the_common_types_are_those_of_every_distribution(store):
    ours, theirs = store_for("sensor_msgs/msg/Image", is_ros1=False), get_typestore(store)
    assert len(ours.fielddefs) < 30
    for name, (_, fields) in ours.fielddefs.items():
        assert theirs.fielddefs[name][1] == fields, name


def test_other_types_and_those_of_ros1_are_known_all_the_same():
    common = store_for("sensor_msgs/msg/Image", is_ros1=False)
    assert "sensor_msgs/msg/Imu" not in common.types
    assert "sensor_msgs/msg/Imu" in store_for("sensor_msgs/msg/Imu", is_ros1=False).types
    ros1 = store_for("std_msgs/msg/Header", is_ros1=True)
    assert [name for name, _ in ros1.fielddefs["std_msgs/msg/Header"][1]][0] == "seq"
