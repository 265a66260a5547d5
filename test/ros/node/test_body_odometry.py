"""The body's pose from the camera's: axes, lever arm, a camera that moves, corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from sfm_ros.datatypes import FloatArray, OdometryEstimate, Reason, TrackingStatus
from sfm_ros.geometry import inverse, make_transform, optical_to_body, se3_exp, so3_exp, so3_log
from sfm_ros.ros.conversions import T_BODY_OPTICAL
from sfm_ros.ros.node.body_odometry import BodyMotion, BodyOdometry, covariance_of_body
from sfm_ros.ros.node.extrinsics import Extrinsics

RNG = np.random.default_rng(5)
PERIOD_NS = 100_000_000
FILLING = (Reason.WINDOW_NOT_FULL,)
GAP = (Reason.GAP, Reason.WINDOW_NOT_FULL)


def random_transform(reach: float = 2.0) -> FloatArray:
    return se3_exp(RNG.uniform(-reach, reach, 6))


def turned(degrees: float) -> FloatArray:
    return make_transform(so3_exp([0, 0, np.radians(degrees)]), np.zeros(3))


def extrinsics(T_body_camera: FloatArray, is_static: bool = True) -> Extrinsics:
    return Extrinsics(
        child="base",
        optical_frame="eye",
        T_body_camera=T_body_camera,
        is_known=True,
        is_static=is_static,
    )


def estimate(
    T_odom_camera: FloatArray, T_prev_curr: FloatArray | None, *reasons: Reason
) -> OdometryEstimate:
    return OdometryEstimate(
        stamp_ns=1,
        frame_id="eye",
        status=TrackingStatus.TRACKING,
        reasons=reasons,
        T_odom_camera=T_odom_camera,
        T_prev_curr=T_prev_curr,
        dt_ns=0 if Reason.WINDOW_NOT_FULL in reasons else PERIOD_NS,
        covariance=np.eye(6) * 1e-4,
    )


class Robot:
    """A body on a known path, the camera on it, and the odometry made of the camera's motion."""

    def __init__(self) -> None:
        self.odometry = BodyOdometry()
        self._T_world_camera: FloatArray | None = None
        self._T_start_camera = np.eye(4)

    def see(
        self,
        T_world_body: FloatArray,
        mounted: Extrinsics,
        *reasons: Reason,
        T_body_camera: FloatArray | None = None,
    ) -> BodyMotion | None:
        """Process an image.

        Args:
            T_world_body: where the body is.
            mounted: where TF has the camera on it.
            reasons: why its motion is not integrated.
            T_body_camera: where it really is, if TF is wrong.
        """
        actual = mounted.T_body_camera if T_body_camera is None else T_body_camera
        T_world_camera, before = T_world_body @ actual, self._T_world_camera
        if reasons == FILLING and before is not None:
            return self.odometry.update(estimate(self._T_start_camera, None, *reasons), mounted)
        self._T_world_camera = T_world_camera
        if reasons or before is None:
            return self.odometry.update(estimate(self._T_start_camera, None, *reasons), mounted)
        motion = inverse(before) @ T_world_camera
        self._T_start_camera = self._T_start_camera @ motion
        return self.odometry.update(estimate(self._T_start_camera, motion), mounted)


def drive(robot: Robot, path: Sequence[FloatArray], mounted: Extrinsics) -> list[FloatArray]:
    found = [robot.see(T, mounted) for T in path]
    return [motion.T_odom_body for motion in found if motion is not None]


def test_camera_without_extrinsics_is_turned_into_body_axes() -> None:
    T = random_transform()
    robot = Robot()
    mounted = extrinsics(T_BODY_OPTICAL)
    robot.see(np.eye(4), mounted, *FILLING)
    motion = robot.see(optical_to_body(T), mounted)
    assert motion is not None
    assert np.allclose(motion.T_odom_body, optical_to_body(T))
    assert np.allclose(motion.T_prev_curr, optical_to_body(T))


def test_turn_on_the_spot_leaves_the_robot_there() -> None:
    T_base_camera = make_transform(np.eye(3), [1.0, 0.2, 0.5]) @ T_BODY_OPTICAL
    turn = make_transform(so3_exp([0, 0, 0.7]), np.zeros(3))
    robot, mounted = Robot(), extrinsics(T_base_camera)
    robot.see(np.eye(4), mounted, *FILLING)
    motion = robot.see(turn, mounted)
    assert motion is not None
    assert np.allclose(motion.T_odom_body, turn, atol=1e-12)


def test_covariance_agrees_with_sampled_poses() -> None:
    """Disturb the camera's pose at random, and compare how far the body's pose moves."""
    T_odom_start, T_start_camera, T_body_camera = (random_transform() for _ in range(3))
    A = RNG.normal(size=(6, 6)) * 1e-3
    covariance = A @ A.T
    expected = covariance_of_body(covariance, T_odom_start, T_start_camera, T_body_camera)
    nominal = T_odom_start @ T_start_camera @ inverse(T_body_camera)
    errors = []
    for sample in RNG.multivariate_normal(np.zeros(6), covariance, 4000):
        R = so3_exp(sample[3:])
        disturbed = make_transform(R @ T_start_camera[:3, :3], T_start_camera[:3, 3] + sample[:3])
        moved = T_odom_start @ disturbed @ inverse(T_body_camera)
        rotation = so3_log(moved[:3, :3] @ nominal[:3, :3].T)
        errors.append([*(moved[:3, 3] - nominal[:3, 3]), *rotation])
    sampled = np.cov(np.array(errors).T)
    assert np.allclose(sampled, expected, atol=0.1 * np.abs(expected).max())


def test_covariance_of_the_motion_is_in_the_body_s_axes() -> None:
    """The camera is uncertain along its optical axis, which is the body's left."""
    T_body_camera = turned(90.0) @ T_BODY_OPTICAL
    robot, mounted = BodyOdometry(), extrinsics(T_body_camera)
    robot.update(estimate(np.eye(4), None, *FILLING), mounted)
    covariance = np.diag([0.0, 0.0, 0.04, 0.0, 0.0, 0.0])
    moved = replace(estimate(np.eye(4), np.eye(4)), motion_covariance=covariance)
    motion = robot.update(moved, mounted)
    assert motion is not None
    expected = np.diag([0.0, 0.04, 0.0, 0.0, 0.0, 0.0])
    assert np.allclose(motion.motion_covariance, expected, atol=2e-6)
    assert np.linalg.eigvalsh(motion.motion_covariance).min() > 0  # no filter takes it for exact


def test_panning_camera_does_not_move_the_robot() -> None:
    """It turns by 10 degrees per image on a robot that drives a bend."""
    robot = Robot()
    path = [make_transform(so3_exp([0, 0, 0.1 * i]), [0.5 * i, 0.02 * i**2, 0]) for i in range(8)]
    for index, T_world_body in enumerate(path):
        T_body_camera = turned(10.0 * index) @ random_transform(0.0) @ T_BODY_OPTICAL
        reasons = FILLING if index == 0 else ()
        motion = robot.see(T_world_body, extrinsics(T_body_camera, is_static=False), *reasons)
        if index:
            assert motion is not None
            assert np.allclose(motion.T_odom_body, T_world_body)
            assert np.allclose(motion.T_prev_curr, inverse(path[index - 1]) @ T_world_body)


def test_corrected_static_transform_does_not_move_the_robot() -> None:
    """TF is wrong for three images; the poses after the correction are relative to the last."""
    T_body_camera = make_transform(so3_exp([0, 0, 0.4]), [1.0, 0.0, 0.3]) @ T_BODY_OPTICAL
    wrong, right = extrinsics(T_BODY_OPTICAL), extrinsics(T_body_camera)
    path = [make_transform(so3_exp([0, 0, 0.1 * i]), [0.5 * i, 0, 0]) for i in range(8)]
    robot = Robot()
    poses = []
    for index, T_world_body in enumerate(path):
        mounted = wrong if index < 4 else right
        reasons = FILLING if index == 0 else ()
        motion = robot.see(T_world_body, mounted, *reasons, T_body_camera=T_body_camera)
        if motion is not None:
            poses.append(motion.T_odom_body)
            if index >= 4:
                assert np.allclose(motion.T_prev_curr, inverse(path[index - 1]) @ T_world_body)
    for a, b, T_a, T_b in zip(poses[2:], poses[3:], path[3:], path[4:], strict=False):
        assert np.allclose(inverse(a) @ b, inverse(T_a) @ T_b)


def test_pan_during_a_gap_does_not_move_the_robot() -> None:
    """The camera turns by 40 degrees while nothing is seen: the robot's pose is held."""
    robot, x = Robot(), make_transform(np.eye(3), [0.5, 0, 0])
    before = extrinsics(T_BODY_OPTICAL, is_static=False)
    after = extrinsics(turned(40.0) @ T_BODY_OPTICAL, is_static=False)
    robot.see(np.eye(4), before, *FILLING)
    assert robot.see(x, before) is not None
    far = make_transform(np.eye(3), [9.0, 9.0, 0])  # what happened in the gap is not known
    assert robot.see(far, after, *GAP) is None
    later = extrinsics(turned(45.0) @ T_BODY_OPTICAL, is_static=False)
    assert robot.see(far @ x, later, *FILLING) is None  # measured when the window is full
    motion = robot.see(far @ x @ x, later)
    assert motion is not None
    assert np.allclose(motion.T_odom_body, x @ x @ x)


def test_rejected_motion_holds_the_robot() -> None:
    robot, x = Robot(), make_transform(np.eye(3), [0.5, 0, 0])
    before = extrinsics(T_BODY_OPTICAL, is_static=False)
    after = extrinsics(turned(20.0) @ T_BODY_OPTICAL, is_static=False)
    robot.see(np.eye(4), before, *FILLING)
    robot.see(x, before)
    assert robot.see(x @ x, after, Reason.IMPLAUSIBLE_MOTION) is None
    motion = robot.see(x @ x @ x, after)
    assert motion is not None
    assert np.allclose(motion.T_odom_body, x @ x)  # without the motion that was rejected


def test_ignored_image_changes_nothing() -> None:
    """An image out of order, with older extrinsics, does not enter the window."""
    robot, x = Robot(), make_transform(np.eye(3), [0.5, 0, 0])
    now = extrinsics(turned(20.0) @ T_BODY_OPTICAL, is_static=False)
    robot.see(np.eye(4), now, *FILLING)
    robot.see(x, now)
    ignored = replace(estimate(np.eye(4), None, Reason.OUT_OF_ORDER), dt_ns=0)
    assert robot.odometry.update(ignored, extrinsics(T_BODY_OPTICAL, is_static=False)) is None
    motion = robot.see(x @ x, now)
    assert motion is not None and np.allclose(motion.T_odom_body, x @ x)


def test_reset_puts_the_robot_at_the_origin() -> None:
    robot, x = Robot(), make_transform(np.eye(3), [0.5, 0, 0])
    mounted = extrinsics(make_transform(np.eye(3), [1.0, 0, 0]) @ T_BODY_OPTICAL)
    robot.see(np.eye(4), mounted, *FILLING)
    robot.see(x, mounted)
    robot.odometry.reset()
    again = Robot()
    again.odometry = robot.odometry
    again.see(np.eye(4), mounted, Reason.TIME_REVERSED, *FILLING)
    motion = again.see(x, mounted)
    assert motion is not None and np.allclose(motion.T_odom_body, x)
