"""A camera's pose on the robot as a transform."""

from __future__ import annotations

from collections.abc import Sequence

from transforms3d.euler import euler2mat

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform


def extrinsics_matrix(xyz: Sequence[float], rpy: Sequence[float], optical: bool) -> FloatArray:
    """(4, 4) T_parent_child of a camera.

    Args:
        xyz: meters in the parent frame.
        rpy: roll, pitch, yaw of the camera's body (x forward, y left, z up: REP 103) in radians,
            about the parent's fixed axes in this order, as in URDF.
        optical: the child is the optical frame (x right, y down, z forward).
    """
    R = euler2mat(*rpy, axes="sxyz")
    return make_transform(R @ R_BODY_OPTICAL if optical else R, xyz)
