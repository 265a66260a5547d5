"""What inertia says of the next translation, against the Kalman filter written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.motion_prior import ConstantVelocityModel, TranslationPrior

TENTH_NS = 100_000_000


def _gaussian(mean: list[float], sigma: float) -> TranslationPrior:
    return TranslationPrior(mean=np.array(mean), information=np.eye(3) / sigma**2)


def test_two_priors_meet_by_their_weight() -> None:
    both = _gaussian([0, 0, 1], 0.1).fused(_gaussian([0, 0, 2], 0.2))
    np.testing.assert_allclose(both.mean, [0, 0, 1.2])
    np.testing.assert_allclose(both.information, 125 * np.eye(3))


def test_each_direction_is_believed_for_itself() -> None:
    """One knows the height, the other the way ahead: together they know both."""
    flat = TranslationPrior(mean=np.array([0.0, 0.3, 5.0]), information=np.diag([1e-6, 100, 1e-6]))
    ahead = TranslationPrior(mean=np.array([0.0, 9.0, 1.0]), information=np.diag([100, 1e-6, 100]))
    np.testing.assert_allclose(flat.fused(ahead).mean, [0, 0.3, 1], atol=1e-6)


def test_a_predicted_translation_is_uncertain_by_a_share_of_its_length() -> None:
    prior = TranslationPrior.around(np.array([0.0, 0.0, 2.0]), 0.5)
    np.testing.assert_allclose(np.linalg.inv(prior.information), 1.02**2 * np.eye(3))


def test_velocity_goes_on_over_another_interval_with_its_uncertainty() -> None:
    motion_model = ConstantVelocityModel()
    motion_model.update(np.array([0.0, 0.0, 1.0]), 0.04 * np.eye(3), 0.1, TENTH_NS)
    prior = motion_model.predict(TENTH_NS, 0.2, sigma_ratio=0.1)
    assert prior is not None
    np.testing.assert_allclose(prior.mean, [0, 0, 2])
    # Twice the time is twice the error; the change of a tenth of the way, and 5 mm, come on top.
    np.testing.assert_allclose(np.linalg.inv(prior.information), (0.16 + 0.205**2) * np.eye(3))


def test_a_motion_that_does_not_follow_the_last_one_gives_no_prior() -> None:
    motion_model = ConstantVelocityModel()
    assert motion_model.predict(0, 0.1, 0.01) is None
    motion_model.update(np.ones(3), np.eye(3), 0.1, TENTH_NS)
    assert motion_model.predict(2 * TENTH_NS, 0.1, 0.01) is None
    motion_model.forget()
    assert motion_model.predict(TENTH_NS, 0.1, 0.01) is None


@pytest.mark.parametrize("sigma_ratio", [0.01, 0.1])
def test_many_noisy_measurements_are_averaged_as_the_filter_says(sigma_ratio: float) -> None:
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
