"""Rigid motions and the pinhole camera, in numpy float64.

A transform ``T_a_b`` is a (4, 4) matrix that maps points from ``b`` into ``a``:
``p_a = T_a_b @ p_b``. Rotations are (3, 3); a rotation vector is axis times angle in radians; a
twist is (translation part, rotation vector), six numbers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray

_SMALL_ANGLE = 1e-7
_IDENTITY = np.eye(3)
_MIN_QUATERNION_NORM = 1e-3
"""Shorter quaternions count as zero."""

MAX_POSITION_M = 1e8
"""Positions farther from their origin are errors; Earth-centered coordinates reach 6.4e6 m."""

R_BODY_OPTICAL: FloatArray = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Optical axes (x right, y down, z forward) to body axes (x forward, y left, z up), REP 103."""

R_NED_OPTICAL: FloatArray = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
"""Optical axes to x forward, y right, z down, as aircraft and simulators of them have."""


def make_transform(R: npt.ArrayLike, t: npt.ArrayLike) -> FloatArray:
    """(4, 4) transform from a (3, 3) rotation and a translation of three."""
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = t
    return T


def inverse(T: FloatArray) -> FloatArray:
    """T_b_a of a rigid T_a_b; shape (..., 4, 4)."""
    T = np.asarray(T, dtype=np.float64)
    R_transposed = np.swapaxes(T[..., :3, :3], -1, -2)
    result = np.zeros_like(T)
    result[..., :3, :3] = R_transposed
    result[..., :3, 3] = -(R_transposed @ T[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def skew(v: npt.ArrayLike) -> FloatArray:
    """(3, 3) matrix S with S @ x = v x x."""
    x, y, z = np.asarray(v, dtype=np.float64)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def so3_exp(rotation_vector: npt.ArrayLike) -> FloatArray:
    """(3, 3) rotation of a rotation vector (Rodrigues)."""
    w = np.asarray(rotation_vector, dtype=np.float64)
    angle = float(np.linalg.norm(w))
    W = skew(w)
    if angle < _SMALL_ANGLE:
        return np.eye(3) + W + 0.5 * W @ W
    return np.eye(3) + np.sin(angle) / angle * W + (1 - np.cos(angle)) / angle**2 * W @ W


def so3_log(R: FloatArray) -> FloatArray:
    """Rotation vector of a (3, 3) rotation, of length 0 to pi; stable near 0 and near pi."""
    quat = quat_xyzw_from_matrix(R)
    if quat[3] < 0:
        quat = -quat
    sine = float(np.linalg.norm(quat[:3]))
    if sine < _SMALL_ANGLE:
        return 2.0 * quat[:3]
    return 2.0 * np.arctan2(sine, quat[3]) / sine * quat[:3]


def _left_jacobian(w: FloatArray) -> FloatArray:
    angle = float(np.linalg.norm(w))
    W = skew(w)
    if angle < 1e-5:
        return np.eye(3) + 0.5 * W + W @ W / 6.0
    return (
        np.eye(3) + (1 - np.cos(angle)) / angle**2 * W + (angle - np.sin(angle)) / angle**3 * W @ W
    )


def se3_exp(twist: npt.ArrayLike) -> FloatArray:
    """(4, 4) transform of a twist (v, w): exponential map of SE(3)."""
    xi = np.asarray(twist, dtype=np.float64)
    return make_transform(so3_exp(xi[3:]), _left_jacobian(xi[3:]) @ xi[:3])


def se3_log(T: FloatArray) -> FloatArray:
    """Twist (v, w) of a rigid transform; inverse of `se3_exp` for angles below pi."""
    w = so3_log(T[:3, :3])
    return np.concatenate([np.linalg.solve(_left_jacobian(w), T[:3, 3]), w])


def rotation_angle(R: FloatArray) -> float:
    """Angle of a (3, 3) rotation in radians, in [0, pi]."""
    # R - R^T holds 2 sin(angle) times the axis; the trace is 1 + 2 cos(angle).
    sine = math.hypot(R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])
    return math.atan2(sine, float(R[0, 0] + R[1, 1] + R[2, 2]) - 1.0)


def is_rotation(R: FloatArray, tolerance: float = 1e-3) -> bool:
    """Whether a (3, 3) matrix is a proper rotation within ``tolerance``."""
    return bool(
        np.abs(R @ R.T - _IDENTITY).max() < tolerance  # False for NaN too
        and np.linalg.det(R) > 0
    )


def nearest_rotation(R: FloatArray) -> FloatArray:
    """The proper rotation closest to a nearly orthogonal matrix (Frobenius norm, by SVD)."""
    U, _, Vt = np.linalg.svd(R)
    return U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt


def quat_xyzw_from_matrix(R: FloatArray) -> FloatArray:
    """Unit quaternion (x, y, z, w) of a (3, 3) rotation, by its largest component (Shepperd)."""
    m = np.asarray(R, dtype=np.float64)
    squares = np.array(
        [
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
            1 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    largest = int(np.argmax(squares))
    a, b, c = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    d, e, f = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    rows = (
        [squares[0], d, e, a],
        [d, squares[1], f, b],
        [e, f, squares[2], c],
        [a, b, c, squares[3]],
    )
    quat = np.array(rows[largest])
    return quat / np.linalg.norm(quat)


def matrix_from_quat_xyzw(quat_xyzw: npt.ArrayLike) -> FloatArray:
    """(3, 3) rotation of a quaternion (x, y, z, w) of any length."""
    q = np.asarray(quat_xyzw, dtype=np.float64)
    x, y, z, w = q / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rigid_motion(quat_xyzw: npt.ArrayLike, position: npt.ArrayLike) -> FloatArray | None:
    """(4, 4) transform of an unchecked quaternion and translation.

    None if a number is not finite, the quaternion is zero, or a coordinate is beyond
    `MAX_POSITION_M`.
    """
    norm = float(np.linalg.norm(quat_xyzw))
    if not (_MIN_QUATERNION_NORM < norm < np.inf) or not is_position(position):
        return None
    return make_transform(matrix_from_quat_xyzw(quat_xyzw), position)


def is_position(position: npt.ArrayLike) -> bool:
    """Whether all coordinates are finite and within `MAX_POSITION_M`."""
    return bool(np.all(np.abs(position) <= MAX_POSITION_M))  # False for NaN too


def optical_to_body(T_optical: FloatArray) -> FloatArray:
    """The same motion or pose (..., 4, 4) in body axes (REP 103): C T C^-1, C = T_body_optical.

    One meter forward is +z in optical axes and +x in body axes; a turn to the left is a negative
    rotation about optical y and a positive one about body z.
    """
    C = make_transform(R_BODY_OPTICAL, np.zeros(3))
    return C @ T_optical @ C.T


def body_to_optical(T_body: FloatArray) -> FloatArray:
    """Inverse of `optical_to_body`."""
    C = make_transform(R_BODY_OPTICAL, np.zeros(3))
    return C.T @ T_body @ C


def ned_to_optical(T_ned: FloatArray) -> FloatArray:
    """The same poses (..., 4, 4) from axes x forward, y right, z down; as `body_to_optical`."""
    C = make_transform(R_NED_OPTICAL, np.zeros(3))
    return C.T @ T_ned @ C


def project(points: FloatArray, K: FloatArray) -> FloatArray:
    """(N, 2) pixels of (N, 3) points in optical axes; NaN if not in front of the camera."""
    points = np.asarray(points, dtype=np.float64)
    z = np.where(points[:, 2] > 0, points[:, 2], np.nan)
    return np.stack(
        [K[0, 0] * points[:, 0] / z + K[0, 2], K[1, 1] * points[:, 1] / z + K[1, 2]], axis=1
    )


def back_project(depth: npt.NDArray, K: FloatArray) -> FloatArray:
    """(h, w, 3) points in optical axes of an (h, w) depth map (along +z)."""
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    return np.stack(
        [
            (columns - K[0, 2]) / K[0, 0] * depth,
            (rows - K[1, 2]) / K[1, 1] * depth,
            np.asarray(depth, dtype=np.float64),
        ],
        axis=-1,
    )
