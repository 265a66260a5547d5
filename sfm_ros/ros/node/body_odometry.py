"""The odometry of the body that carries the camera, in body axes (REP 103).

The algorithm works in optical axes and describes the camera only; this is the one place where its
poses are turned into those of the robot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray, OdometryEstimate, Reason
from sfm_ros.geometry import inverse, skew
from sfm_ros.ros.node.extrinsics import Extrinsics

_LEAST_NOISE = np.diag([1e-3**2] * 3 + [np.radians(0.01) ** 2] * 3)
"""Added to every motion, 1 mm and 0.01 degrees: a filter takes a camera at rest, whose motion has
no covariance of its own, for exact."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BodyMotion:
    """Where the body is, and how it got there.

    Attributes:
        T_odom_body: (4, 4) pose.
        covariance: (6, 6) of the pose in the fixed axes of odom: x y z, rotations.
        T_prev_curr: (4, 4) the newest motion, in the body's own axes.
        motion_covariance: (6, 6) of it, in the same axes: x y z, rotations.
    """

    T_odom_body: FloatArray
    covariance: FloatArray
    T_prev_curr: FloatArray
    motion_covariance: FloatArray


class BodyOdometry:
    """Turns the camera's poses into the body's.

    The algorithm gives T_start_camera(t), the camera now in the camera at the first image. With
    the extrinsics T_body_camera(t), which change with time if the camera moves on the body:

        T_odom_body(t) = T_odom_start @ T_start_camera(t) @ T_body_camera(t)^-1

    T_odom_start is T_body_camera at the first image, so that odom is the body at that moment.
    It changes in two cases, in which the body's pose would jump although the body did not move:

    * A static transform changes: the camera has been there all the time, and what is known of it
      is better now. The body keeps its last pose, and the next motion starts from there.
    * The camera's pose is held because its motion is not known (a gap, a rejected output): the
      body's pose is held, and not moved by how the camera turned on the body meanwhile.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Let odom be the body at the next image."""
        self._T_odom_start: FloatArray | None = None
        self._T_odom_body: FloatArray = np.eye(4)
        self._T_start_camera: FloatArray = np.eye(4)
        self._T_body_camera: FloatArray = np.eye(4)

    def update(self, estimate: OdometryEstimate, extrinsics: Extrinsics) -> BodyMotion | None:
        """The body's motion to an image; None if the camera's is not known.

        Args:
            estimate: of the image, in the order in which the algorithm made them.
            extrinsics: at the time of the image.
        """
        T_start_camera, T_body_camera = estimate.T_odom_camera, extrinsics.T_body_camera
        if T_start_camera is None or not _is_in_window(estimate):
            return None
        T_prev_body_camera, self._T_body_camera = self._T_body_camera, T_body_camera
        if self._T_odom_start is None:
            self._T_odom_start, self._T_start_camera = T_body_camera, T_start_camera
            self._T_odom_body = T_body_camera @ T_start_camera @ inverse(T_body_camera)
        elif extrinsics.is_static and not np.array_equal(T_body_camera, T_prev_body_camera):
            self._keep_pose()
            T_prev_body_camera = T_body_camera
        if _is_held(estimate):
            self._keep_pose()
        if estimate.T_prev_curr is None:
            return None
        self._T_start_camera = T_start_camera
        self._T_odom_body = self._T_odom_start @ T_start_camera @ inverse(T_body_camera)
        return BodyMotion(
            T_odom_body=self._T_odom_body,
            covariance=covariance_of_body(
                estimate.covariance, self._T_odom_start, T_start_camera, T_body_camera
            ),
            T_prev_curr=T_prev_body_camera @ estimate.T_prev_curr @ inverse(T_body_camera),
            motion_covariance=_LEAST_NOISE
            + covariance_of_body(
                estimate.motion_covariance,
                T_prev_body_camera,
                estimate.T_prev_curr,
                T_body_camera,
            ),
        )

    def _keep_pose(self) -> None:
        """Choose T_odom_start so that with the new extrinsics the body is where it was."""
        self._T_odom_start = (
            self._T_odom_body @ self._T_body_camera @ inverse(self._T_start_camera)
        )


def _is_in_window(estimate: OdometryEstimate) -> bool:
    """Whether the image is one of those between which motion is measured; else it is ignored."""
    return estimate.dt_ns > 0 or Reason.WINDOW_NOT_FULL in estimate.reasons


def _is_held(estimate: OdometryEstimate) -> bool:
    """Whether the motion to this image is lost, rather than measured once the window is full."""
    return estimate.T_prev_curr is None and estimate.reasons != (Reason.WINDOW_NOT_FULL,)


def covariance_of_body(
    covariance: FloatArray,
    T_odom_start: FloatArray,
    T_start_camera: FloatArray,
    T_body_camera: FloatArray,
) -> FloatArray:
    """(6, 6) covariance of T_odom_start @ T_start_camera @ T_body_camera^-1, to first order.

    Errors are in fixed axes, those of ``start`` and then those of odom, position first. With the
    lever arm v from the camera to the body, in the camera's axes, an error (dt, dw) of the camera
    moves the body by dt + dw x (R_start_camera v).

    Args:
        covariance: (6, 6) of T_start_camera.
        T_odom_start, T_start_camera, T_body_camera: (4, 4) as in :class:`BodyOdometry`.
    """
    R = T_odom_start[:3, :3]
    lever = T_start_camera[:3, :3] @ inverse(T_body_camera)[:3, 3]
    J = np.zeros((6, 6))
    J[:3, :3] = J[3:, 3:] = R
    J[:3, 3:] = -R @ skew(lever)
    return J @ covariance @ J.T
