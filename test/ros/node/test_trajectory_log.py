"""The poses that ~/save_trajectory writes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.ros.conversions import pose_message
from sfm_ros.ros.node.trajectory_log import TrajectoryLog


def pose(index: int) -> np.ndarray:
    return make_transform(so3_exp(np.array([0.0, 0.0, 0.1 * index])), [index, 0.0, 0.0])


def test_the_newest_are_kept_in_order() -> None:
    log = TrajectoryLog(4)
    assert log.trajectory() == (None, 0)
    for index in range(6):
        log.add(index * 1000, pose_message(pose(index)))
    kept, forgotten = log.trajectory()
    assert kept is not None and forgotten == 2
    assert kept.stamps_ns.tolist() == [2000, 3000, 4000, 5000]
    assert np.allclose(kept.poses, [pose(index) for index in range(2, 6)])
    log.clear()
    assert log.trajectory() == (None, 0)
