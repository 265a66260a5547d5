"""Errors in units of their covariance, on poses drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.datatypes import FloatArray
from sfm_ros.evaluation.trajectory.consistency import fraction_within, score_consistency
from sfm_ros.geometry import make_transform, se3_exp, so3_exp

RNG = np.random.default_rng(3)
COUNT = 3000
COVARIANCE = np.diag([0.04, 0.01, 0.25, 1e-4, 4e-4, 1e-4])


def drawn(covariance: FloatArray = COVARIANCE) -> tuple[FloatArray, FloatArray]:
    """Poses with errors of this covariance in the axes of the first one, and the ground truth."""
    exact = np.stack([np.eye(4), *(se3_exp(RNG.uniform(-2, 2, 6)) for _ in range(COUNT))])
    poses = [np.eye(4)]
    errors = RNG.multivariate_normal(np.zeros(6), covariance, COUNT)
    for T, error in zip(exact[1:], errors, strict=True):
        poses.append(make_transform(so3_exp(error[3:]) @ T[:3, :3], T[:3, 3] + error[:3]))
    return np.stack(poses), exact


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_mean_is_the_ratio_of_the_variances(factor: float) -> None:
    poses, exact = drawn()
    covariances = np.tile(COVARIANCE / factor, (COUNT + 1, 1, 1))
    found = score_consistency(poses, exact, covariances)
    assert len(found.nees) == COUNT
    assert found.mean_nees == pytest.approx(factor, rel=0.05)


def test_worlds_may_differ_and_axes_are_those_of_the_estimate() -> None:
    poses, exact = drawn()
    T_other = make_transform(so3_exp([0.3, -1.0, 0.2]), [5.0, -3.0, 1.0])
    J = np.kron(np.eye(2), T_other[:3, :3])
    turned = np.tile(J @ COVARIANCE @ J.T, (COUNT + 1, 1, 1))
    found = score_consistency(T_other @ poses, se3_exp(np.ones(6)) @ exact, turned)
    as_drawn = score_consistency(poses, exact, np.tile(COVARIANCE, (COUNT + 1, 1, 1)))
    assert found.nees == pytest.approx(as_drawn.nees, rel=1e-6)


def test_position_and_rotation_are_separate() -> None:
    poses, exact = drawn()
    too_small = COVARIANCE.copy()
    too_small[:3, :3] /= 100
    found = score_consistency(poses, exact, np.tile(too_small, (COUNT + 1, 1, 1)))
    for k in (1.0, 2.0, 3.0):
        assert np.mean(found.rotation < k) == pytest.approx(fraction_within(k), abs=0.03)
    assert np.mean(found.position < 2.0) < 0.05


def test_fraction_is_that_of_normal_errors() -> None:
    lengths = np.linalg.norm(RNG.normal(size=(200_000, 3)), axis=1)
    for k in (0.5, 1.0, 2.0, 3.0):
        assert fraction_within(k) == pytest.approx(np.mean(lengths < k), abs=0.004)
    assert fraction_within([0.0, 30.0]).tolist() == [0.0, 1.0]


def test_pose_that_never_moved_is_scored() -> None:
    still = np.tile(np.eye(4), (5, 1, 1))
    found = score_consistency(still, still, np.zeros((5, 6, 6)))
    assert found.nees.tolist() == [0.0] * 4
