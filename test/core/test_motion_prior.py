"""The constant-velocity motion model against a Kalman filter computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.motion_prior import ConstantVelocityModel, TranslationPrior

TENTH_NS = 100_000_000


def _gaussian(mean: list[float], sigma: float) -> TranslationPrior:
    return TranslationPrior(mean=np.array(mean), information=np.eye(3) / sigma**2)


def test_priors_are_fused_by_weight() -> None:
    both = _gaussian([0, 0, 1], 0.1).fused(_gaussian([0, 0, 2], 0.2))
    np.testing.assert_allclose(both.mean, [0, 0, 1.2])
    np.testing.assert_allclose(both.information, 125 * np.eye(3))


def test_directions_are_fused_independently() -> None:
    """One prior constrains y, the other x and z."""
    flat = TranslationPrior(mean=np.array([0.0, 0.3, 5.0]), information=np.diag([1e-6, 100, 1e-6]))
    ahead = TranslationPrior(mean=np.array([0.0, 9.0, 1.0]), information=np.diag([100, 1e-6, 100]))
    np.testing.assert_allclose(flat.fused(ahead).mean, [0, 0.3, 1], atol=1e-6)


def test_uncertainty_is_a_ratio_of_the_length() -> None:
    prior = TranslationPrior.around(np.array([0.0, 0.0, 2.0]), 0.5)
    np.testing.assert_allclose(np.linalg.inv(prior.information), 1.02**2 * np.eye(3))


def test_prediction_over_another_interval() -> None:
    motion_model = ConstantVelocityModel()
    motion_model.update(np.array([0.0, 0.0, 1.0]), 0.04 * np.eye(3), 0.1, TENTH_NS)
    prior = motion_model.predict(TENTH_NS, 0.2, sigma_ratio=0.1)
    assert prior is not None
    np.testing.assert_allclose(prior.mean, [0, 0, 2])
    # Twice the time doubles the error; a tenth of the distance and 5 mm are added for change.
    np.testing.assert_allclose(np.linalg.inv(prior.information), (0.16 + 0.205**2) * np.eye(3))


def test_no_prior_after_an_interruption() -> None:
    motion_model = ConstantVelocityModel()
    assert motion_model.predict(0, 0.1, 0.01) is None
    motion_model.update(np.ones(3), np.eye(3), 0.1, TENTH_NS)
    assert motion_model.predict(2 * TENTH_NS, 0.1, 0.01) is None
    motion_model.forget()
    assert motion_model.predict(TENTH_NS, 0.1, 0.01) is None


@pytest.mark.parametrize("sigma_ratio", [0.01, 0.1])
def test_steady_state_of_the_filter(sigma_ratio: float) -> None:
    """The steady state of the scalar filter: P solves P = (1/(P + Q) + 1/R)^-1."""
    sigma_measured = 0.2
    motion_model, measured = ConstantVelocityModel(), _gaussian([0, 0, 10], sigma_measured)
    covariance = sigma_measured**2 * np.eye(3)
    for index in range(300):
        motion_model.update(measured.mean, covariance, 0.1, index)
        prior = motion_model.predict(index, 0.1, sigma_ratio)
        assert prior is not None
        covariance = np.linalg.inv(prior.fused(measured).information)
    R, Q = sigma_measured**2, (10 * sigma_ratio + 0.005) ** 2
    steady = 0.5 * (np.sqrt(Q**2 + 4 * Q * R) - Q)
    np.testing.assert_allclose(covariance, steady * np.eye(3), rtol=1e-6)
