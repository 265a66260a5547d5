"""The camera's poses from odometry of the robot that carries it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from nav_msgs.msg import Odometry
from rig.fake_ros import FakeLookup, FakeNode

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import (
    body_to_optical,
    inverse,
    make_transform,
    matrix_from_quat_xyzw,
    so3_exp,
)
from sfm_ros.ros.conversions import T_BODY_OPTICAL, pose_message, stamp_from_ns
from sfm_ros.ros.tools import camera_poses as module
from sfm_ros.ros.tools.camera_poses import CameraPoses

OPTICAL = "eye_optical"
T_BASE_CAMERA = make_transform(so3_exp([0.1, 0.2, 1.0]), [1.2, -0.3, 1.5]) @ T_BODY_OPTICAL


def message(T_odom_body: FloatArray, child: str, stamp_ns: int) -> Odometry:
    made = Odometry(child_frame_id=child)
    made.header.stamp = stamp_from_ns(stamp_ns)
    made.pose.pose = pose_message(T_odom_body)
    return made


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> FakeLookup:
    """TF, which knows nothing yet."""
    made = FakeLookup()
    monkeypatch.setattr(module, "make_lookup", lambda *_, **__: made)
    return made


def test_poses_of_the_robot_become_those_of_the_camera(lookup: FakeLookup) -> None:
    """Against the motion of the camera, which the robot's poses were made of."""
    node: Any = FakeNode()
    poses = CameraPoses(node)
    motions = [make_transform(so3_exp([0, 0.1 * i, 0]), [0.1 * i, 0, 0.9 * i]) for i in range(4)]
    for index, T_start_camera in enumerate(motions):
        T_odom_base = T_BASE_CAMERA @ T_start_camera @ inverse(T_BASE_CAMERA)
        poses.add(message(T_odom_base, "base_link", index), 10 * index)
    assert list(poses.take()) == []
    assert "'base_link' with 'the images, of which none came'" in poses.lacking()
    poses.optical_frame = OPTICAL
    assert list(poses.take()) == []
    assert poses.lacking().startswith("4 odometries are not recorded: TF does not connect")
    lookup.tree.add("base_link", OPTICAL, T_BASE_CAMERA, None)
    rows = list(poses.take())
    assert [row[:2] for row in rows] == [(i, 10 * i) for i in range(4)]
    for (_, _, pose), T_start_camera in zip(rows, motions, strict=True):
        T_body = make_transform(matrix_from_quat_xyzw(pose[3:]), pose[:3])
        assert np.allclose(body_to_optical(T_body), T_start_camera, atol=1e-9)
    assert poses.lacking() == ""


def test_poses_of_the_camera_are_kept_as_they_are(lookup: FakeLookup) -> None:
    node: Any = FakeNode()
    poses = CameraPoses(node)
    poses.optical_frame = "camera_optical"
    T = make_transform(so3_exp([0, 0, 0.3]), [3.0, 2.0, 1.0])
    poses.add(message(T, "camera_body", 5), 6)
    ((stamp_ns, received_ns, pose),) = poses.take()
    assert (stamp_ns, received_ns) == (5, 6)
    assert pose[:3] == (3.0, 2.0, 1.0)
