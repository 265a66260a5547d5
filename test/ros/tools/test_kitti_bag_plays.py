"""A bag of a KITTI drive is one that the player plays, the extrinsics for late subscribers too."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
from sfm_ros.cli.kitti_to_bag import main  # noqa: E402  (rclpy first: the player needs it)
from sfm_ros.ros.tools.bag_tracks import PlayableBag  # noqa: E402


def test_every_topic_of_a_split_bag_is_played_in_order(tmp_path):
    pytest.importorskip("tf2_msgs")
    folder = tmp_path / "drive"
    (folder / "image_0").mkdir(parents=True)
    for index in range(5):
        image = np.full((16, 24), index, dtype=np.uint8)
        cv2.imwrite(str(folder / "image_0" / f"{index:06d}.png"), image)
    (folder / "calib.txt").write_text("P0: 20 0 12 0 0 20 8 0 0 0 1 0\n")
    (folder / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 5)
    assert main([str(folder), str(tmp_path / "bag"), "--part-frames", "2"]) == 0
    bag = PlayableBag(tmp_path / "bag")
    tracks = {track.topic: (track.count, track.is_latched) for track in bag.tracks}
    assert tracks == {
        "/camera/camera_info": (5, False),
        "/camera/image_raw": (5, False),
        "/ground_truth/odometry": (5, False),
        "/tf_static": (1, True),
    }
    times = [time_ns for _, time_ns, _ in bag.messages()]
    assert len(times) == 16 and times == sorted(times)
