"""Split, compressed, truncated and damaged bags, and bags of real recorders."""

from __future__ import annotations

import numpy as np
import pytest
from rosbags import rosbag2
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from sfm_ros.bags.camera import inspect_bag
from sfm_ros.bags.messages import STORE
from sfm_ros.bags.reader import BagFile, typestore
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
def test_truncated_bag_is_refused(new_bag, kind, kept):
    path = simple_bag(new_bag, kind, count=20)
    file = path if path.is_file() else next(f for f in path.iterdir() if f.suffix != ".yaml")
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(SourceError, match="bag"):
        list(BagSource(path))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bag_raises_no_other_error(new_bag, kind, seed):
    path = simple_bag(new_bag, kind)
    file = path if path.is_file() else next(f for f in path.iterdir() if f.suffix != ".yaml")
    data = bytearray(file.read_bytes())
    random = np.random.default_rng(seed)
    for index in random.integers(0, len(data), 30):
        data[index] = random.integers(0, 256)
    file.write_bytes(data)
    try:
        list(BagSource(path))
    except SfmRosError:
        pass


def test_no_bag_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no bag"):
        BagSource(tmp_path / "none")
    with pytest.raises(SourceError, match="holds neither metadata.yaml nor"):
        BagSource(tmp_path)
    (tmp_path / "movie.mp4").touch()
    with pytest.raises(SourceError, match="is no bag: expected"):
        BagSource(tmp_path / "movie.mp4")


def test_storage_files_without_metadata(new_bag, tmp_path):
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
def test_compressed_bag(new_bag, mode):
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
def test_topics_of_rosbag2s_own_bags_are_listed(shared_data, path, listed):
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
def test_messages_of_split_bag_are_in_order(shared_data, path, topic, count):
    bag = BagFile(shared_data / "oracle_bags" / path)
    times = [record.log_ns for record in bag.records([topic])]
    assert bag.topics[topic][1] == len(times) == count
    assert times == sorted(times)


@pytest.mark.parametrize("kind", KINDS)
def test_kept_open_bag_is_opened_once(new_bag, kind, monkeypatch):
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


READ_TYPES = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "geometry_msgs/msg/TwistStamped",
    "geometry_msgs/msg/TwistWithCovarianceStamped",
    "nav_msgs/msg/Odometry",
    "sensor_msgs/msg/CameraInfo",
    "sensor_msgs/msg/CompressedImage",
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/PointCloud2",
    "tf2_msgs/msg/TFMessage",
)


def nested_types(store, name):
    """The types a message type consists of, itself included."""
    found = {name}
    for _, (kind, value) in store.fielddefs[name][1]:
        while kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            kind, value = value[0]
        if kind == Nodetype.NAME:
            found |= nested_types(store, value)
    return found


@pytest.mark.parametrize("name", READ_TYPES)
def test_types_are_the_same_in_every_distribution(name):
    for distribution in (s for s in Stores if s.name.startswith("ROS2")):
        theirs = get_typestore(distribution)
        for part in nested_types(STORE, name):
            assert theirs.fielddefs[part][1] == STORE.fielddefs[part][1], (part, distribution)


def test_ros1_has_types_of_its_own():
    assert typestore(False) is STORE
    header = typestore(True).fielddefs["std_msgs/msg/Header"][1]
    assert [name for name, _ in header][0] == "seq"


def two_cameras(new_bag):
    recorder = new_bag()
    recorder.info("/left/camera_info")
    recorder.image("/left/image_raw", IMAGE, "rgb8", START)
    recorder.compressed("/left/image_raw/compressed", b"x", START)
    recorder.compressed("/right/image/compressed", b"x", START)
    return recorder.done()


def test_camera_is_found_by_name(new_bag):
    path = two_cameras(new_bag)
    with pytest.raises(SourceError, match="several image topics.*image_topic.*/left.*/right"):
        inspect_bag(path)
    left = inspect_bag(path, "/left/image_raw")
    assert (left.image_topic, left.camera_info_topic) == ("/left/image_raw", "/left/camera_info")
    assert (left.transported_topic, left.compressed, left.frames) == (left.image_topic, False, 1)
    right = inspect_bag(path, "/right/image", "/left/camera_info")
    assert (right.image_topic, right.compressed) == ("/right/image", True)
    assert right.transported_topic == "/right/image/compressed"
    with pytest.raises(SourceError, match="no /right/camera_info; name the topic as camera_info"):
        inspect_bag(path, "/right/image")


def test_only_camera_info_belongs_to_the_only_camera(new_bag):
    recorder = new_bag()
    recorder.info("/calibration")
    recorder.image("/cam/image_raw", IMAGE, "rgb8", START)
    path = recorder.done()
    assert inspect_bag(path).camera_info_topic == "/calibration"
    assert BagSource(path).camera_info_topic == "/calibration"


def test_compressed_topic_of_another_name_cannot_be_played(new_bag):
    recorder = new_bag()
    recorder.info("/cam/camera_info")
    recorder.compressed("/cam/jpeg", b"x", START)
    with pytest.raises(SourceError, match="/cam/jpeg, expected a topic that ends in /compressed"):
        inspect_bag(recorder.done())
