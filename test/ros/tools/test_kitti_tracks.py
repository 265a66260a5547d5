"""KITTI drives in the player: from their folder, and as the bag that sfm_kitti_to_bag writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rig.probe import PLAYER, Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from nav_msgs.msg import Odometry
from rclpy.qos import HistoryPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.cli import kitti_to_bag
from sfm_ros.ros.conversions import stamp_to_ns
from sfm_ros.ros.tools.bag_tracks import PlayableBag

KEEP_ALL = QoSProfile(history=HistoryPolicy.KEEP_ALL)


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Five images of a KITTI odometry sequence with its calibration and poses."""
    folder = tmp_path / "03"
    (folder / "image_0").mkdir(parents=True)
    for index in range(5):
        image = np.full((20, 60), 40 * index, dtype=np.uint8)
        cv2.imwrite(str(folder / "image_0" / f"{index:06d}.png"), image)
    P = "50 0 30 0 0 50 10 0 0 0 1 0"
    (folder / "calib.txt").write_text("".join(f"P{i}: {P}\n" for i in range(4)))
    poses = [f"1 0 0 0 0 1 0 0 0 0 1 {index}" for index in range(5)]
    (folder / "poses.txt").write_text("\n".join(poses) + "\n")
    return folder


def test_drive_is_played_from_its_folder(
    probe: Probe, start: Callable[[list[str]], Program], sequence: Path
) -> None:
    images = probe.listen("/camera/image_raw", Image, KEEP_ALL)
    infos = probe.listen("/camera/camera_info", CameraInfo, KEEP_ALL)
    ground_truth = probe.listen("/ground_truth/odometry", Odometry, KEEP_ALL)
    player = start([*PLAYER, str(sequence), "--rate", "0", "--wait-for-subscribers", "3"])
    assert player.end() == 0, player.output
    wait_until(lambda: len(images) == len(infos) == len(ground_truth) == 5, "five of each")
    assert [int(m.data[0]) for m in images] == [0, 40, 80, 120, 160]
    assert infos[0].k[0] == 50.0 and (infos[0].width, infos[0].height) == (60, 20)
    assert [stamp_to_ns(m.header.stamp) for m in images] == [i * 10**8 for i in range(5)]
    assert ground_truth[4].pose.pose.position.x == pytest.approx(4.0)  # forward: the body's x


def test_unknown_topic_of_a_drive_is_refused(
    start: Callable[[list[str]], Program], sequence: Path
) -> None:
    refused = start([*PLAYER, str(sequence), "--topics", "/velodyne"])
    assert refused.end() == 1 and "it is played as /camera/camera_info" in refused.output


def test_split_bag_of_a_drive_is_playable_in_order(sequence: Path, tmp_path: Path) -> None:
    """With the extrinsics for late subscribers."""
    pytest.importorskip("tf2_msgs")
    bag_folder = tmp_path / "bag"
    assert kitti_to_bag.main([str(sequence), str(bag_folder), "--part-frames", "2"]) == 0
    bag = PlayableBag(bag_folder)
    tracks = {track.topic: (track.count, track.is_latched) for track in bag.tracks}
    assert tracks == {
        "/camera/camera_info": (5, False),
        "/camera/image_raw": (5, False),
        "/ground_truth/odometry": (5, False),
        "/tf_static": (1, True),
    }
    times = [time_ns for _, time_ns, _ in bag.messages()]
    assert len(times) == 16 and times == sorted(times)
