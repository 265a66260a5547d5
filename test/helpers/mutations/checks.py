"""What cannot be wrong in anything that was read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import is_rotation


def assert_possible(camera: CameraIntrinsics) -> None:
    """A camera that a lens and an image of this size could have."""
    numbers = [camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion]
    assert np.all(np.isfinite(numbers)) and camera.width > 0 and camera.height > 0
    longer = max(camera.width, camera.height)
    assert 0.005 * longer <= min(camera.fx, camera.fy) <= 200 * longer
    assert camera.R is None or abs(np.linalg.det(camera.R) - 1) < 0.1


def assert_in_order(stamps_ns: Sequence[int]) -> None:
    """Times that a message can hold, none of them twice."""
    assert all(abs(stamp) < 2**63 for stamp in stamps_ns)
    assert all(before < after for before, after in zip(stamps_ns, stamps_ns[1:], strict=False))


def assert_rigid(trajectory: Trajectory) -> None:
    assert np.all(np.isfinite(trajectory.poses))
    assert all(is_rotation(pose[:3, :3], tolerance=0.05) for pose in trajectory.poses)
