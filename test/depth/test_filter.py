"""States of inverse depth against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.depth import filter as depth_filter
from sfm_ros.depth.filter import DepthState
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.network_prior import NetworkPrior, Prior
from sfm_ros.depth.propagation import PixelRays, propagate
from sfm_ros.geometry import make_transform, so3_exp

SHAPE = (48, 96)
K = np.array([[60.0, 0, 47.5], [0, 60.0, 20.0], [0, 0, 1]])
RAYS = PixelRays(K, SHAPE)
NOWHERE = np.zeros(SHAPE, dtype=bool)


def full(value: float) -> np.ndarray:
    return np.full(SHAPE, value, dtype=np.float32)


def state(
    inv_depth: float, sigma: float, inlier: float = 0.9, measured: float = 1.0
) -> DepthState:
    return DepthState(
        inv_depth=full(inv_depth),
        variance=full(sigma**2),
        inlier=full(inlier),
        measured=full(measured),
        known=~NOWHERE,
    )


def measurement(inv_depth: float, sigma: float) -> InverseDepth:
    return InverseDepth(full(inv_depth), full(sigma), ~NOWHERE)


def plane(n: tuple[float, float, float], height: float) -> np.ndarray:
    """Inverse depth of the plane n . X = height."""
    return np.maximum((n[0] * RAYS.x + n[1] * RAYS.y + n[2]) / height, 1e-4).astype(np.float32)


def moved_plane(
    n: tuple[float, float, float], height: float, T_prev_curr: np.ndarray
) -> np.ndarray:
    """The same plane from the newer camera: n . (R X + t) = height."""
    R, t = T_prev_curr[:3, :3], T_prev_curr[:3, 3]
    return plane(tuple(R.T @ np.array(n)), height - float(np.dot(n, t)))


@pytest.mark.parametrize("n, height", [((0, 1.0, 0.02), 1.5), ((1.0, 0, 0.3), 4), ((0, 0, 1), 9)])
def test_a_plane_is_carried_along_exactly(n: tuple[float, float, float], height: float) -> None:
    T = make_transform(so3_exp([0.002, 0.01, -0.003]), [0.02, -0.01, 0.8])
    before = plane(n, height)
    found = propagate(RAYS, full(0.15), before, T)
    expected = moved_plane(n, height, T)
    visible = found.seen & (expected > 0.02)
    assert visible.mean() > 0.3
    assert np.abs(found.inv_depth / expected - 1)[visible].max() < 0.01


def test_what_was_hidden_is_not_carried_along() -> None:
    before = full(0.05)  # a wall, and a box in front of it
    before[:, 40:60] = 0.25
    T = make_transform(np.eye(3), [1.0, 0, 0])  # to the right: the box moves to the left
    found = propagate(RAYS, full(0.05), before, T)
    box = slice(40 - 15, 60 - 15)
    assert np.all(np.abs(found.inv_depth[:, box][found.seen[:, box]] - 0.25) < 1e-3) or np.all(
        np.abs(found.inv_depth[:, box][found.seen[:, box]] - 0.05) < 1e-3
    )
    right = found.inv_depth[:, 62:90]
    assert np.all(np.abs(right[found.seen[:, 62:90]] - 0.05) < 1e-3)


def test_an_inlier_corrects_as_a_kalman_filter_does() -> None:
    before = state(0.1, 0.01, inlier=0.95)
    after = depth_filter.correct(before, measurement(0.104, 0.004), NOWHERE)
    noise = (depth_filter._CORRELATION * 0.004) ** 2
    gain = 0.01**2 / (0.01**2 + noise)
    total = 0.01**2 + noise
    density = np.exp(-0.5 * 0.004**2 / total) / np.sqrt(2 * np.pi * total)
    r = 0.95 * density / (0.95 * density + 0.05 * depth_filter._OUTLIER_DENSITY)
    assert after.inv_depth == pytest.approx(0.1 + r * gain * 0.004, rel=1e-5)
    variance = (1 - r * gain) * 0.01**2 + r * (1 - r) * (gain * 0.004) ** 2
    assert after.variance == pytest.approx(variance, rel=1e-4)


def test_one_outlier_changes_nothing_and_many_start_again() -> None:
    found = state(0.1, 0.004)
    once = depth_filter.correct(found, measurement(0.3, 0.004), NOWHERE)
    assert once.inv_depth == pytest.approx(0.1, rel=1e-3)
    assert np.all(once.inlier < found.inlier)
    for _ in range(15):
        found = depth_filter.correct(found, measurement(0.3, 0.004), NOWHERE)
    assert found.inv_depth == pytest.approx(0.3, rel=1e-2)


def test_refused_measurements_only_lower_the_trust() -> None:
    before = state(0.1, 0.02, measured=0.0)
    after = depth_filter.correct(before, measurement(0.11, 0.004), ~NOWHERE)
    assert np.array_equal(after.inv_depth, before.inv_depth)
    assert np.all(after.inlier < before.inlier) and not after.measured.any()


def test_a_first_measurement_may_differ_from_the_network() -> None:
    before = state(0.1, 0.015, measured=0.0)
    after = depth_filter.correct(before, measurement(0.16, 0.004), NOWHERE)
    assert after.inv_depth == pytest.approx(0.16, rel=0.1)


def test_a_prior_seen_again_and_again_makes_nothing_more_certain() -> None:
    found, prior = state(0.1, 0.02), Prior(inv_depth=full(0.12), relative_sigma=full(0.2))
    for _ in range(200):
        found = depth_filter.draw_toward(found, prior, full(0.15))
    assert found.inv_depth == pytest.approx(0.12, abs=0.012)
    assert np.all(np.sqrt(found.variance) >= 0.019)
    unknown = depth_filter.draw_toward(depth_filter.nothing(full(0.5)), prior, full(0.15))
    assert unknown.inv_depth == pytest.approx(0.12) and np.all(unknown.known)
    assert np.sqrt(unknown.variance) / unknown.inv_depth == pytest.approx(0.2, rel=1e-4)


def test_a_network_that_is_off_by_a_factor_is_corrected_everywhere() -> None:
    prior, network = NetworkPrior(), full(0.1)
    known = NOWHERE.copy()
    known[:, :48] = True
    gray = np.zeros(SHAPE, dtype=np.uint8)
    for _ in range(200):
        found = prior.correct(gray, network, full(0.13), known)
    assert prior.log_factor == pytest.approx(np.log(1.3), rel=0.01)
    assert found.inv_depth == pytest.approx(0.13, rel=0.03)


def test_a_correction_does_not_cross_an_edge_of_the_image() -> None:
    gray = np.zeros(SHAPE, dtype=np.uint8)
    gray[:, 48:] = 200
    known = NOWHERE.copy()
    known[::3, 40:44] = True  # an object left of the edge is nearer than the network has it
    known[::3, 60:90] = True  # the rest is right
    measured = full(0.1)
    measured[:, :48] = 0.2
    found = NetworkPrior().correct(gray, full(0.1), measured, known)
    assert found.inv_depth[:, 46] == pytest.approx(0.2, rel=0.15)
    assert found.inv_depth[:, 52] == pytest.approx(0.1, rel=0.15)
