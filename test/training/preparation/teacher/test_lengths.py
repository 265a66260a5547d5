"""Lengths of the steps of a drive against ones that are known."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.motion.metric_scale import LengthEvidence
from sfm_ros.motion.scale import Correction
from training.preparation.teacher.lengths import smoothed_lengths, supported

COUNT = 200
LENGTHS = np.log(1.0 + 0.5 * np.sin(np.arange(COUNT) / 15))


def evidence(
    ratio_error: float = 0.0, measured_error: float = 0.0, seed: int = 0
) -> list[LengthEvidence]:
    rng = np.random.default_rng(seed)
    ratios = np.diff(LENGTHS, prepend=0.0) + ratio_error * rng.normal(size=COUNT)
    measured = LENGTHS + measured_error * rng.normal(size=COUNT)
    return [
        LengthEvidence(
            log_ratio=(float(r), 0.005), measured=Correction(log_length=float(m), sigma=0.15)
        )
        for r, m in zip(ratios, measured, strict=True)
    ]


def rms(lengths: np.ndarray) -> float:
    return float(np.sqrt(np.mean((lengths - LENGTHS) ** 2)))


def test_exact_measurements_are_reproduced() -> None:
    found = smoothed_lengths(np.zeros(COUNT), evidence())
    assert found == pytest.approx(LENGTHS, abs=1e-4)


def test_noise_averages_out() -> None:
    found = [smoothed_lengths(np.zeros(COUNT), evidence(0.005, 0.05, s)) for s in range(5)]
    assert np.mean([rms(f) for f in found]) < 0.02 < 0.05


def test_outliers_hardly_count() -> None:
    clean, spoiled = evidence(0.005, 0.02), evidence(0.005, 0.02)
    for k in range(20, COUNT, 10):
        spoiled[k] = LengthEvidence(
            log_ratio=spoiled[k].log_ratio, measured=Correction(log_length=1.5, sigma=0.15)
        )
    expected = smoothed_lengths(np.zeros(COUNT), clean)
    found = smoothed_lengths(LENGTHS, spoiled)
    assert np.abs(found - expected).max() < 0.03


def test_a_wrong_ratio_does_not_bend_the_scale() -> None:
    spoiled = evidence(0.0, 0.02)
    spoiled[100] = LengthEvidence(log_ratio=(0.8, 0.005), measured=spoiled[100].measured)
    assert rms(smoothed_lengths(LENGTHS, spoiled)) < 0.02


def test_without_evidence_the_lengths_stay() -> None:
    nothing = [LengthEvidence(log_ratio=None, measured=None)] * COUNT
    assert smoothed_lengths(LENGTHS, nothing) == pytest.approx(LENGTHS, abs=1e-9)
    assert len(smoothed_lengths(np.zeros(0), [])) == 0


def test_only_what_measurements_support_is_accepted() -> None:
    right = evidence(0.002, 0.03)
    assert supported(LENGTHS, right).all()
    unknown = [LengthEvidence(log_ratio=e.log_ratio, measured=None) for e in right]
    assert not supported(LENGTHS, unknown).any()
    # Three measurements at the beginning reach fifty steps further.
    few = right[:3] + unknown[3:]
    assert supported(LENGTHS, few).tolist() == [k <= 52 for k in range(COUNT)]
    # A scale that most measurements contradict is not known.
    assert not supported(LENGTHS + 0.5, right).any()
    assert supported(np.zeros(0), []).shape == (0,)


def test_runs_that_no_ratio_connects_need_their_own_support() -> None:
    steps = evidence(0.002, 0.03)
    steps[60] = LengthEvidence(log_ratio=None, measured=steps[60].measured)
    steps[60:] = [LengthEvidence(log_ratio=e.log_ratio, measured=None) for e in steps[60:]]
    found = supported(LENGTHS, steps)
    assert found[:60].all()
    assert not found[60:].any()
