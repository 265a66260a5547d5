"""KITTI drives written as bags and read back."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from sfm_ros.cli.kitti_to_bag import main
from sfm_ros.formats.image_codec import decode_compressed
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_kitti
from sfm_ros.geometry import body_to_optical, make_transform, matrix_from_quat_xyzw, se3_exp
from sfm_ros.outputs.lock import LOCK
from sfm_ros.outputs.marker import MARKER
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.kitti import to_bag as kitti_bag
from sfm_ros.sources.kitti.source import open_kitti
from sfm_ros.sources.kitti.to_bag import KittiBagConfig, KittiBagWriter

WIDTH, HEIGHT = 24, 16
_STORE = get_typestore(Stores.ROS2_JAZZY)
# Rows of a calib.txt: camera 2 is 6 cm to the left of camera 0; the lidar's axes are body axes.
_CALIB = """P0: 20 0 12 0 0 20 8 0 0 0 1 0
P2: 20 0 12 1.2 0 20 8 0 0 0 1 0
Tr: 0 -1 0 0 0 0 -1 -0.1 1 0 0 -0.3
"""


def _images(folder: Path, count: int, gray: bool, suffix: str = ".png") -> list[np.ndarray]:
    folder.mkdir(parents=True)
    shape = (HEIGHT, WIDTH) if gray else (HEIGHT, WIDTH, 3)
    images = np.random.default_rng(1).integers(0, 256, (count, *shape), dtype=np.uint8)
    for index, image in enumerate(images):
        cv2.imwrite(str(folder / f"{index:06d}{suffix}"), image)
    return list(images)


AS_IT_IS = ("--start-time", "0")


def _sequence(root: Path, count: int = 7, gray: bool = False, scans: bool = True) -> Path:
    """An odometry sequence with poses, times and scans of a different size each."""
    folder = root / "sequences" / "05"
    _images(folder / ("image_0" if gray else "image_2"), count, gray)
    (folder / "calib.txt").write_text(_CALIB)
    (folder / "times.txt").write_text("".join(f"{0.103 * i:.6e}\n" for i in range(count)))
    poses = np.stack([se3_exp([0.1 * i, 0, i, 0, 0.02 * i, 0]) for i in range(count)])
    (root / "poses").mkdir()
    write_kitti(root / "poses" / "05.txt", Trajectory(np.arange(count), poses))
    if scans:
        (folder / "velodyne").mkdir()
        for index in range(count):
            _scan(index + 3).tofile(folder / "velodyne" / f"{index:06d}.bin")
    return folder


def _scan(points: int) -> np.ndarray:
    return np.random.default_rng(points).normal(size=(points, 4)).astype("<f4")


def _read(bag: Path) -> dict[str, list[tuple[int, object]]]:
    """Topic -> (time of recording, message) by rosbags' own reader of whole bags."""
    found: dict[str, list[tuple[int, object]]] = {}
    with Reader(bag) as reader:
        for connection, log_ns, data in reader.messages():
            message = _STORE.deserialize_cdr(data, connection.msgtype)
            found.setdefault(connection.topic, []).append((log_ns, message))
    return found


def _stamp(message) -> int:
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec


def _digests(bag: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(bag.iterdir())}


def test_bag_holds_the_whole_sequence(tmp_path, capsys):
    drive = _sequence(tmp_path)
    assert main([str(drive), str(tmp_path / "bag"), "--part-frames", "3", *AS_IT_IS]) == 0
    assert str(tmp_path / "bag") in capsys.readouterr().out
    source, found = open_kitti(drive), _read(tmp_path / "bag")
    assert {topic: len(messages) for topic, messages in found.items()} == {
        "/camera/camera_info": 7,
        "/camera/image_raw": 7,
        "/ground_truth/odometry": 7,
        "/velodyne_points": 7,
        "/tf_static": 1,
    }
    for (log_ns, image), item in zip(found["/camera/image_raw"], source, strict=True):
        assert log_ns == _stamp(image) == item.frame.stamp_ns
        assert (image.encoding, image.step) == ("bgr8", 3 * WIDTH)
        np.testing.assert_array_equal(
            image.data.reshape(HEIGHT, WIDTH, 3), item.frame.rgb[:, :, ::-1]
        )
    for index, (_, cloud) in enumerate(found["/velodyne_points"]):
        assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity"]
        assert (cloud.width, cloud.point_step, cloud.header.frame_id) == (
            index + 3,
            16,
            "velodyne",
        )
        np.testing.assert_array_equal(cloud.data.view("<f4").reshape(-1, 4), _scan(index + 3))
    info = found["/camera/camera_info"][0][1]
    assert (info.width, info.height, info.k[0], info.p[0]) == (WIDTH, HEIGHT, 20, 20)


def test_ground_truth_poses_are_read_back(tmp_path):
    drive = _sequence(tmp_path, gray=True)
    assert main([str(drive), str(tmp_path / "bag"), "--camera", "0", *AS_IT_IS]) == 0
    back = BagSource(tmp_path / "bag", pose_topic="/ground_truth/odometry")
    for ours, theirs in zip(back, open_kitti(drive, "0"), strict=True):
        assert ours.frame.stamp_ns == theirs.frame.stamp_ns
        np.testing.assert_array_equal(ours.frame.rgb, theirs.frame.rgb)
        np.testing.assert_allclose(ours.T_world_camera, theirs.T_world_camera, atol=1e-12)
        assert ours.frame.intrinsics.K.tolist() == theirs.frame.intrinsics.K.tolist()
    image = _read(tmp_path / "bag")["/camera/image_raw"][0][1]
    assert (image.encoding, image.step) == ("mono8", WIDTH)


def test_transforms_agree_with_the_calibration(tmp_path):
    drive = _sequence(tmp_path)
    assert main([str(drive), str(tmp_path / "bag")]) == 0
    edges = {}
    for transform in _read(tmp_path / "bag")["/tf_static"][0][1].transforms:
        t, q = transform.transform.translation, transform.transform.rotation
        edges[transform.header.frame_id, transform.child_frame_id] = make_transform(
            matrix_from_quat_xyzw([q.x, q.y, q.z, q.w]), [t.x, t.y, t.z]
        )
    assert edges.keys() == {
        ("base_link", "base_footprint"),
        ("base_link", "camera_body"),
        ("camera_body", "camera_optical"),
        ("camera_body", "velodyne"),
    }
    assert edges["base_link", "camera_body"][:3, 3].tolist() == [0, 0, 1.65]
    assert np.array_equal(edges["base_link", "base_footprint"], np.eye(4))
    T_camera_velodyne = (
        np.linalg.inv(edges["camera_body", "camera_optical"]) @ edges["camera_body", "velodyne"]
    )
    # Ten meters ahead, two to the left, one up; in camera 2 all is 1.2 / 20 further to the right.
    seen = T_camera_velodyne @ [10, 2, 1, 1]
    np.testing.assert_allclose(seen[:3], [-2 + 0.06, -1.1, 9.7], atol=1e-12)
    np.testing.assert_allclose(
        body_to_optical(edges["base_link", "camera_body"])[:3, 3], [0, -1.65, 0], atol=1e-12
    )


@pytest.mark.parametrize(("kind", "suffix"), [("png", ".png"), ("jpeg", ".jpg")])
def test_files_of_that_kind_are_copied(tmp_path, kind, suffix):
    folder = tmp_path / "drive"
    _images(folder / "image_0", 3, gray=True, suffix=suffix)
    (folder / "calib.txt").write_text(_CALIB)
    assert main([str(folder), str(tmp_path / "bag"), "--compress", kind]) == 0
    found = _read(tmp_path / "bag")["/camera/image_raw/compressed"]
    for index, (_, message) in enumerate(found):
        file = folder / "image_0" / f"{index:06d}{suffix}"
        assert message.data.tobytes() == file.read_bytes()
        assert message.format == f"mono8; {kind} compressed mono8"


def test_other_files_are_encoded(tmp_path):
    drive = _sequence(tmp_path, count=2)
    assert main([str(drive), str(tmp_path / "bag"), "--compress", "jpeg", "--quality", "30"]) == 0
    for (_, message), item in zip(
        _read(tmp_path / "bag")["/camera/image_raw/compressed"], open_kitti(drive), strict=True
    ):
        decoded = decode_compressed(message.data, message.format)
        assert decoded.shape == item.frame.rgb.shape
        assert 0 < np.abs(decoded.astype(int) - item.frame.rgb).mean() < 60


def test_raw_drive_has_times_of_the_scans(tmp_path, shared_data):
    source = shared_data / "kitti_raw_layout" / "2011_09_26"
    day = tmp_path / "day"
    drive = day / "drive_sync"
    for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt"):
        day.mkdir(exist_ok=True)
        (day / name).symlink_to(source / name)
    (drive / "velodyne_points").mkdir(parents=True)
    original = next(source.glob("*_sync"))
    (drive / "image_02").symlink_to(original / "image_02")
    (drive / "velodyne_points" / "data").symlink_to(original / "velodyne_points" / "data")
    (drive / "velodyne_points" / "timestamps.txt").write_text(
        "2011-09-26 13:02:25.123456789\n2011-09-26 13:02:29.987654321\n"
    )
    assert main([str(drive), str(tmp_path / "bag"), *AS_IT_IS]) == 0
    found = _read(tmp_path / "bag")
    assert [_stamp(message) % 10**10 for _, message in found["/velodyne_points"]] == [
        5_123456789,
        9_987654321,
    ]
    cloud = found["/velodyne_points"][0][1]
    scan = next(iter(sorted((original / "velodyne_points" / "data").iterdir())))
    assert cloud.data.tobytes() == scan.read_bytes()


def test_start_time_and_number_of_frames(tmp_path):
    drive = _sequence(tmp_path, scans=False)
    arguments = [
        str(drive),
        str(tmp_path / "bag"),
        "--frames",
        "4",
        "--start-time",
        "1500000000.000000001",
    ]
    assert main(arguments) == 0
    images = _read(tmp_path / "bag")["/camera/image_raw"]
    assert [log_ns for log_ns, _ in images] == [
        1_500_000_000_000_000_001 + i * 103_000_000 for i in range(4)
    ]


@pytest.mark.parametrize(("given", "first_ns"), [([], 10**9), (["--start-time", "0"], 0)])
def test_a_sequence_starts_at_one_second_unless_asked(tmp_path, given, first_ns):
    """Its own first stamp is 0, which ROS takes for none."""
    assert main([str(_sequence(tmp_path)), str(tmp_path / "bag"), *given]) == 0
    assert _read(tmp_path / "bag")["/camera/image_raw"][0][0] == first_ns


def test_metadata_counts_all_parts(tmp_path):
    assert main([str(_sequence(tmp_path)), str(tmp_path / "bag"), "--part-frames", "3"]) == 0
    text = (tmp_path / "bag" / "metadata.yaml").read_text()
    information = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert information["relative_file_paths"] == ["bag_0.mcap", "bag_1.mcap", "bag_2.mcap"]
    assert [entry["path"] for entry in information["files"]] == information["relative_file_paths"]
    assert [entry["message_count"] for entry in information["files"]] == [13, 12, 4]
    assert information["message_count"] == 29
    assert information["duration"]["nanoseconds"] == 618_000_000
    topics = {t["topic_metadata"]["name"]: t for t in information["topics_with_message_count"]}
    assert topics["/camera/image_raw"]["message_count"] == 7
    latched = topics["/tf_static"]["topic_metadata"]["offered_qos_profiles"][0]
    assert latched["durability"] == "transient_local"
    assert {f.name for f in (tmp_path / "bag").iterdir()} == {
        "metadata.yaml",
        MARKER,
        *information["relative_file_paths"],
    }


def test_killed_run_is_resumed_with_the_same_bytes(tmp_path, repository, capsys):
    """Killed by SIGKILL in the middle of the second part."""
    drive = _sequence(tmp_path)
    whole, killed = tmp_path / "a" / "bag", tmp_path / "b" / "bag"
    arguments = ["--part-frames", "3"]
    assert main([str(drive), str(whole), *arguments]) == 0
    script = (
        "import os, signal, itertools\n"
        "from pathlib import Path\n"
        "from sfm_ros.sources.kitti.to_bag import KittiBagConfig, KittiBagWriter\n"
        "from sfm_ros.sources.kitti.source import open_kitti\n"
        f"source, config = open_kitti({str(drive)!r}), KittiBagConfig(frames_per_part=3)\n"
        "count = itertools.count(1)\n"
        "die = lambda: next(count) == 5 and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"KittiBagWriter(source, Path({str(killed)!r}), config).write(die)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert {f.name for f in killed.iterdir()} == {".unfinished", "bag_0.mcap", MARKER, LOCK}
    first_part = (killed / "bag_0.mcap").stat().st_mtime_ns
    capsys.readouterr()
    assert main([str(drive), str(killed), *arguments]) == 0
    assert "resuming after 3 images" in capsys.readouterr().err
    assert (killed / "bag_0.mcap").stat().st_mtime_ns == first_part
    assert _digests(killed) == _digests(whole)


def test_interrupted_run_keeps_its_parts(tmp_path, monkeypatch, capsys):
    drive, bag = _sequence(tmp_path), tmp_path / "bag"
    read = kitti_bag.read_scan_bytes

    def interrupted_at_the_fourth(file: Path) -> bytes:
        if file.stem == "000003":
            raise KeyboardInterrupt
        return read(file)

    monkeypatch.setattr(kitti_bag, "read_scan_bytes", interrupted_at_the_fourth)
    assert main([str(drive), str(bag), "--part-frames", "2"]) == 130
    assert "the same command resumes it" in capsys.readouterr().err
    assert (
        KittiBagWriter(open_kitti(drive), bag, KittiBagConfig(frames_per_part=2)).frames_done == 2
    )


def test_nothing_is_overwritten(tmp_path, capsys):
    drive, bag = _sequence(tmp_path), tmp_path / "bag"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("data")
    assert main([str(drive), str(tmp_path / "full")]) == 1
    assert "full is not empty (precious.txt)" in capsys.readouterr().err
    (tmp_path / "file").write_text("data")
    assert main([str(drive), str(tmp_path / "file")]) == 1
    assert main([str(drive), str(bag)]) == 0
    before = _digests(bag)
    assert main([str(drive), str(bag)]) == 1
    assert "is a bag already" in capsys.readouterr().err
    assert _digests(bag) == before


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_run_with_other_options_is_not_resumed(tmp_path, capsys):
    drive, bag = _sequence(tmp_path), tmp_path / "bag"
    writer = KittiBagWriter(open_kitti(drive), bag, KittiBagConfig(frames_per_part=2))
    with pytest.raises(KeyboardInterrupt):
        writer.write(_interrupt)
    assert main([str(drive), str(bag), "--compress", "png", "--part-frames", "2"]) == 1
    assert "compression none (now png)" in capsys.readouterr().err
    assert main([str(drive), str(bag), "--part-frames", "2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--frames", "0"], "at least 1"), (["--quality", "0"], "1 to 100"),
     (["--start-time", "-1"], "from 0 up"), (["--start-time", "nan"], "a number of seconds")],
)  # fmt: skip
def test_impossible_options_are_refused(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), str(tmp_path / "bag"), *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["image", "scan", "calibration", "drive"])
def test_damaged_drive_is_an_error(tmp_path, capsys, damage):
    drive = _sequence(tmp_path)
    files = {
        "image": drive / "image_2" / "000004.png",
        "scan": drive / "velodyne" / "000002.bin",
        "calibration": drive / "calib.txt",
    }
    if damage == "drive":
        drive = tmp_path / "nothing"
    elif damage == "calibration":
        files[damage].write_text(_CALIB.replace("Tr:", "Tx:"))
    else:
        files[damage].write_bytes(files[damage].read_bytes()[:-5])
    assert main([str(drive), str(tmp_path / "bag")]) == 1
    assert capsys.readouterr().err.count("ERROR") == 1
    assert not (tmp_path / "bag" / "metadata.yaml").exists()


@pytest.mark.parametrize("compression", ["none", "jpeg"])
def test_real_sequence_is_read_by_an_independent_reader(tmp_path, shared_data, compression):
    """KITTI odometry 03: the same stamps and pixels for the mcap project's own reader."""
    mcap_reader = pytest.importorskip("mcap_ros2.reader", reason="pip install mcap-ros2-support")
    drive = shared_data / "kitti_odom03_head"
    bag, frames = tmp_path / "bag", 60
    arguments = ["--frames", str(frames), "--part-frames", "25", "--compress", compression]
    assert main([str(drive), str(bag), *arguments, *AS_IT_IS]) == 0
    topic = "/camera/image_raw" + ("" if compression == "none" else "/compressed")
    seen = []
    for part in range(3):
        for entry in mcap_reader.read_ros2_messages(str(bag / f"bag_{part}.mcap"), [topic]):
            seen.append((entry.log_time_ns, entry.ros_msg))
    pairs = zip(seen, _read(bag)[topic], strict=True)
    assert len(seen) == frames
    for index, ((log_ns, message), (rosbags_ns, theirs)) in enumerate(pairs):
        file = drive / "image_0" / f"{index:06d}.jpg"
        assert log_ns == rosbags_ns == _stamp(message) == index * 100_000_000
        assert bytes(message.data) == theirs.data.tobytes()
        if compression == "jpeg":
            assert bytes(message.data) == file.read_bytes()
        else:
            expected = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
            np.testing.assert_array_equal(pixels, expected)
