"""The filter of the step's length, and the running factor of the networks' units."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sfm_ros.motion.scale import Correction, DepthOffset, StepLength

DT_S = 0.1


def measured(length: float, sigma: float = 0.15, is_sure: bool = True) -> Correction:
    return Correction(log_length=math.log(length), sigma=sigma, is_sure=is_sure)


def started(length: float = 1.0, corrections: int = 30) -> StepLength:
    """A length that has been corrected often."""
    step = StepLength()
    for _ in range(corrections):
        step.predict(DT_S, None if step.length is None else (math.log(step.length), 0.01))
        step.correct(measured(length), DT_S)
    return step


def test_first_measurement_is_taken_as_it_is() -> None:
    step = StepLength()
    assert step.length is None and math.isinf(step.age_s)
    step.predict(DT_S, (3.0, 0.01))
    assert step.length is None, "tracks alone give no length"
    step.correct(measured(2.0), DT_S)
    assert step.length == pytest.approx(2.0) and step.sigma == pytest.approx(0.15)
    assert step.age_s == 0.0


def test_unsure_measurements_are_trusted_when_they_agree() -> None:
    step, sigmas = StepLength(), []
    for length in (1.0, 1.1, 0.95, 1.05, 1.0):
        step.correct(measured(length, is_sure=False), DT_S)
        sigmas.append(step.sigma)
    assert sigmas[:-1] == [1.0] * 4 and sigmas[-1] < 0.1
    step.correct(measured(50.0, is_sure=False), DT_S)
    assert step.length == pytest.approx(1.0, rel=0.1) and step.sigma < 0.1


@pytest.mark.parametrize("is_sure", [False, True])
def test_unsure_length_gives_way_to_a_different_one(is_sure: bool) -> None:
    step = StepLength()
    for _ in range(4):
        step.correct(measured(0.02, is_sure=False), DT_S)
    change = step.correct(measured(1.2, is_sure=is_sure), DT_S)
    assert step.length == pytest.approx(1.2) and change == pytest.approx(math.log(1.2 / 0.02))
    assert (step.sigma < 0.2) is is_sure, "only a sure one ends the doubt"


def test_tracks_predict_the_next_length() -> None:
    step = started(1.0)
    sigma = step.sigma
    step.predict(DT_S, (math.log(1.3), 0.02))
    assert step.length == pytest.approx(1.3)
    assert step.sigma == pytest.approx(math.hypot(sigma, 0.02))


def test_without_tracks_the_speed_is_kept() -> None:
    step = started(1.0)
    step.predict(3 * DT_S, None)
    assert step.length == pytest.approx(3.0) and step.sigma > 0.2


def test_corrections_converge_and_sigma_shrinks() -> None:
    """Noisy measurements of a constant length, whose first is wrong by 40 %."""
    rng = np.random.default_rng(0)
    step, sigmas = StepLength(), []
    step.correct(measured(1.4), DT_S)
    for _ in range(200):
        assert step.length is not None
        step.predict(DT_S, (math.log(step.length), 0.005))
        step.correct(measured(math.exp(rng.normal(0.0, 0.1))), DT_S)
        sigmas.append(step.sigma)
    assert step.length == pytest.approx(1.0, rel=0.06)
    assert sigmas[0] > 2 * sigmas[-1] and sigmas[-1] < 0.06


def test_outlier_is_weighted_down() -> None:
    usual, gross = started(1.0), started(1.0)
    usual.correct(measured(1.3), DT_S)
    gross.correct(measured(10.0), DT_S)
    assert usual.length is not None and gross.length is not None
    assert 1.0 < gross.length < usual.length < 1.1


def test_fallback_does_not_count_as_a_correction() -> None:
    step = started(1.0)
    step.predict(DT_S, (0.0, 0.01))
    step.predict(DT_S, (0.0, 0.01))
    assert step.age_s == pytest.approx(2 * DT_S)
    step.correct(measured(1.0), DT_S, is_fallback=True)
    assert step.age_s == pytest.approx(2 * DT_S)
    step.correct(measured(1.0), DT_S)
    assert step.age_s == 0.0


def test_standstill_keeps_the_length_but_not_its_certainty() -> None:
    step = started(1.0)
    sigma = step.sigma
    step.stop()
    assert step.length == pytest.approx(1.0) and step.sigma == sigma
    step.predict(DT_S, None)  # it moves again, and no track carries the scale
    assert step.sigma > 10 * sigma
    step.correct(measured(0.2), DT_S)  # it starts to move slowly: no outlier
    assert step.length == pytest.approx(0.2, rel=0.1)


def test_sigma_is_bounded_and_reset_forgets() -> None:
    step = started(1.0)
    for _ in range(100):
        step.predict(DT_S, None)
    assert step.sigma == pytest.approx(1.0)
    step.reset()
    assert step.length is None and math.isinf(step.age_s)


def test_factor_of_the_networks_units() -> None:
    offset = DepthOffset()
    for _ in range(5):
        assert not offset.is_known
        offset.update(math.log(2.0))
    assert offset.is_known and offset.log == pytest.approx(math.log(2.0))
    offset.update(math.log(2.0) + 50.0)
    assert offset.log < math.log(2.0) + 0.3, "a jump is limited"
    offset.reset()
    assert not offset.is_known and offset.log == 0.0
