"""Errors of depth by distance and by stated uncertainty, on arrays whose errors are known."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.evaluation.depth.confidence import score_depth_map, scores_as_json

RNG = np.random.default_rng(5)


def test_normal_errors_of_the_stated_size_are_within_one_and_two_sigma() -> None:
    expected = RNG.uniform(4, 60, (200, 300)).astype(np.float32)
    sigma = RNG.uniform(0.01, 0.1, expected.shape).astype(np.float32)
    # Of inverse depth: 1/p = 1/g + e/p, e of that sigma.
    predicted = expected * (1 + RNG.normal(0, 1, expected.shape) * sigma)
    score = score_depth_map(predicted.astype(np.float32), expected, sigma)
    assert score is not None and score.within is not None and score.by_share is not None
    assert score.within == pytest.approx([0.683, 0.954], abs=0.01)
    assert np.all(np.diff(score.by_share) > 0)
    assert score.by_share[-1] == pytest.approx(score.unscaled.abs_rel, rel=1e-6)
    assert score.by_share[4] == pytest.approx(np.sqrt(2 / np.pi) * 0.0325, rel=0.05)


def test_errors_are_those_of_their_distance() -> None:
    expected = np.repeat(np.array([[5.0, 15.0, 30.0, 60.0, 90.0]], np.float32), 10, axis=0)
    factors = np.array([1.1, 1.2, 0.7, 1.0, 2.0], np.float32)
    score = score_depth_map(expected * factors, expected)
    assert score is not None and score.by_share is None and score.within is None
    found = scores_as_json([score, score])
    assert list(found["by_distance"].values()) == pytest.approx([0.1, 0.2, 0.3, 0.0], abs=1e-5)
    assert found["abs_rel"] == pytest.approx(0.15, abs=1e-5)
    assert found["surest"] is None and found["images"] == 2


def test_only_the_mask_and_what_is_known_count() -> None:
    expected = np.full((10, 10), 10.0, np.float32)
    predicted = np.full((10, 10), 12.0, np.float32)
    mask = np.zeros((10, 10), dtype=bool)
    mask[5:] = True
    predicted[:5] = 100.0
    predicted[5, :5] = np.nan
    score = score_depth_map(predicted, expected, np.full((10, 10), 0.1, np.float32), mask)
    assert score is not None
    assert score.unscaled.abs_rel == pytest.approx(0.2, abs=1e-5)
    assert score.unscaled.coverage == pytest.approx(0.9)
    assert score.scaled.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert score_depth_map(predicted, np.zeros((10, 10), np.float32)) is None
