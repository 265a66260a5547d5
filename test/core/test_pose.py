"""The pose integrator: its covariance is the spread of poses under simulated errors."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.config import NoiseConfig
from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import inverse, make_transform, so3_exp, so3_log
from sfm_ros.pose import Lasting, PoseIntegrator, motion_covariance

STEPS, RUNS = 40, 1500
TURN = make_transform(so3_exp([0.0, np.radians(2.0), 0.0]), [0.05, 0.01, 1.0])
SIGMA_T, SIGMA_R = np.array([0.01, 0.01, 0.05]), np.radians([0.05, 0.1, 0.05])
COVARIANCE = np.diag(np.concatenate([SIGMA_T, SIGMA_R]) ** 2)


def spread(poses: list[FloatArray], mean: FloatArray) -> FloatArray:
    """(6, 6) covariance of poses about their true one: position, rotation in the axes of odom."""
    errors = [
        np.concatenate([T[:3, 3] - mean[:3, 3], so3_log(T[:3, :3] @ mean[:3, :3].T)])
        for T in poses
    ]
    return np.cov(np.array(errors).T)


def integrated(lasting: Lasting | None = None, covariance: FloatArray = COVARIANCE) -> tuple:
    """Pose and covariance after all steps."""
    pose = PoseIntegrator(NoiseConfig())
    for _ in range(STEPS):
        pose.advance(TURN, covariance, lasting)
    return pose.T_odom_camera, pose.covariance


def assert_alike(found: FloatArray, expected: FloatArray) -> None:
    """Deviations within 15 %, correlations within 0.15."""
    deviations = [np.sqrt(np.diag(each)) for each in (found, expected)]
    np.testing.assert_allclose(deviations[0], deviations[1], rtol=0.15)
    correlations = [
        each / np.outer(sigma, sigma)
        for each, sigma in zip((found, expected), deviations, strict=True)
    ]
    np.testing.assert_allclose(correlations[0], correlations[1], atol=0.15)


def test_walk_is_the_spread_of_noisy_paths() -> None:
    rng = np.random.default_rng(0)
    ends = []
    for _ in range(RUNS):
        T = np.eye(4)
        for t, w in zip(
            rng.normal(0.0, SIGMA_T, (STEPS, 3)), rng.normal(0.0, SIGMA_R, (STEPS, 3)), strict=True
        ):
            # Errors are in the axes of the older camera: the rotation is disturbed from the left.
            T = T @ make_transform(so3_exp(w) @ TURN[:3, :3], TURN[:3, 3] + t)
        ends.append(T)
    T_odom_camera, covariance = integrated()
    assert_alike(covariance, spread(ends, T_odom_camera))


def test_lasting_errors_are_the_spread_of_paths_that_share_them() -> None:
    rng = np.random.default_rng(1)
    scale, direction_rad = 0.05, 0.01
    lasting = Lasting(scale=scale, direction_rad=direction_rad)
    ends = []
    for _ in range(RUNS):
        t = so3_exp(rng.normal(0.0, direction_rad, 3)) @ TURN[:3, 3] * (1 + rng.normal(0.0, scale))
        ends.append(np.linalg.matrix_power(make_transform(TURN[:3, :3], t), STEPS))
    T_odom_camera, covariance = integrated(lasting, np.zeros((6, 6)))
    expected = spread(ends, T_odom_camera)
    np.testing.assert_allclose(covariance[3:], 0.0)
    position = covariance[:3, :3]
    for found, true in zip(np.diag(position), np.diag(expected), strict=False):
        assert np.sqrt(found) == pytest.approx(np.sqrt(true), rel=0.15)
    # The largest axis is that of the scale.
    assert np.linalg.eigvalsh(position)[-1] == pytest.approx(
        np.linalg.eigvalsh(expected[:3, :3])[-1], rel=0.2
    )


def test_lasting_errors_cancel_on_a_closed_path() -> None:
    """Scale and yaw move no point to which the path returns; pitch makes it climb all the way."""
    pose = PoseIntegrator(NoiseConfig())
    lasting = Lasting(scale=0.1, direction_rad=0.02)
    quarter = make_transform(so3_exp([0.0, np.pi / 2, 0.0]), [0.0, 0.0, 5.0])
    covariances = []
    for _ in range(4):
        pose.advance(quarter, np.zeros((6, 6)), lasting)
        covariances.append(pose.covariance[:3, :3])
    np.testing.assert_allclose(pose.T_odom_camera, np.eye(4), atol=1e-12)
    assert np.trace(covariances[1]) > 0.1
    np.testing.assert_allclose(covariances[3], np.diag([0.0, 20.0 * 0.02, 0.0]) ** 2, atol=1e-12)


def test_hold_adds_the_noise_of_a_gap() -> None:
    noise = NoiseConfig(translation_per_m=0.2, rotation_deg_per_m=1.0, gap_distance_m=9.0)
    pose = PoseIntegrator(noise)
    pose.advance(TURN, COVARIANCE)
    before, T = pose.covariance.copy(), pose.T_odom_camera.copy()
    pose.hold()
    np.testing.assert_array_equal(pose.T_odom_camera, T)
    added = pose.covariance - before
    np.testing.assert_allclose(added, motion_covariance(noise, 9.0))
    np.testing.assert_allclose(np.sqrt(np.diag(added)), [0.6] * 3 + [np.radians(3.0)] * 3)


def test_rotation_stays_a_rotation_and_reset_forgets() -> None:
    pose = PoseIntegrator(NoiseConfig())
    for _ in range(5000):
        pose.advance(TURN, COVARIANCE, Lasting(scale=0.01, direction_rad=0.01))
    R = pose.T_odom_camera[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.eigvalsh(pose.covariance).min() > -1e-9
    pose.reset()
    np.testing.assert_array_equal(pose.T_odom_camera, np.eye(4))
    np.testing.assert_array_equal(pose.covariance, 0)
    pose.advance(inverse(TURN), COVARIANCE)
    np.testing.assert_allclose(pose.T_odom_camera, inverse(TURN), atol=1e-12)


def test_later_steps_do_not_make_earlier_ones_more_certain() -> None:
    pose = PoseIntegrator(NoiseConfig())
    ahead = make_transform(np.eye(3), [0.0, 0.0, 1.0])
    for _ in range(100):
        pose.advance(ahead, np.zeros((6, 6)), Lasting(scale=0.5, direction_rad=0.0))
    pose.advance(ahead, np.zeros((6, 6)), Lasting(scale=0.01, direction_rad=0.0))
    assert np.sqrt(pose.covariance[2, 2]) == pytest.approx(50.01)
