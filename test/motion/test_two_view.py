"""Relative pose of two views: random points with a known motion, and the special motions."""

from __future__ import annotations

import numpy as np
import pytest
from point_scenes import FOCAL_PX, Rays, angle_between, random_points, seen

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import rotation_angle, skew, so3_exp, so3_log
from sfm_ros.motion.track_motion import _COVARIANCE_FACTOR
from sfm_ros.motion.two_view import (
    TwoView,
    Ways,
    _linearize,
    _sampled,
    _tangent,
    estimate_two_view,
    fit_motion,
    triangulate,
)

AHEAD = np.array([0.0, 0.0, 1.0])
STRAIGHT = [(np.eye(3), AHEAD)]


def estimate(rays: Rays, starts: list = STRAIGHT) -> TwoView:
    return estimate_two_view(rays.prev, rays.curr, FOCAL_PX, starts)


def fit(R: FloatArray, t: FloatArray, rays: Rays) -> TwoView:
    """The fit from one start."""
    found = fit_motion(R, t, rays.prev, rays.curr, FOCAL_PX, Ways())
    assert found is not None
    return found


def rotation_error_deg(view: TwoView, R: FloatArray) -> float:
    return float(np.degrees(rotation_angle(view.R.T @ R)))


def random_motion(rng: np.random.Generator, sideways: float = 0.3) -> tuple:
    """A motion mostly ahead, with a turn of a degree or two."""
    t = np.array([sideways * rng.normal(), 0.3 * sideways * rng.normal(), 1.0])
    R = so3_exp(np.radians(rng.normal(0.0, (0.5, 1.0, 0.3))))
    return R, t / np.linalg.norm(t)


def mislead(rays: Rays, rng: np.random.Generator, part: float) -> np.ndarray:
    """Move so many of the older rays anywhere nearby; (N,) which."""
    wrong = rng.random(len(rays.prev)) < part
    rays.prev[wrong, :2] += rng.uniform(-0.05, 0.05, (int(wrong.sum()), 2))
    return wrong


@pytest.mark.parametrize("seed", range(8))
def test_motion_is_recovered_under_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    R, t = random_motion(rng)
    rays = seen(R, t, random_points(rng), rng, noise_px=0.1)
    view = estimate(rays)
    assert view.translates and not view.is_still
    assert rotation_error_deg(view, R) < 0.02 and angle_between(view.direction, t) < 0.25
    assert view.inliers.mean() > 0.98
    clear = view.parallax > 5.0
    np.testing.assert_allclose(np.median(view.depth[clear] / rays.depth[clear]), 1.0, atol=0.01)


@pytest.mark.parametrize("seed", range(8))
def test_a_third_of_wrong_tracks_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    R, t = random_motion(rng, sideways=0.05)
    rays = seen(R, t, random_points(rng), rng, noise_px=0.1)
    wrong = mislead(rays, rng, 0.3)
    view = estimate(rays)
    assert rotation_error_deg(view, R) < 0.03 and angle_between(view.direction, t) < 0.4
    assert view.inliers[~wrong].mean() > 0.97 and view.inliers[wrong].mean() < 0.15


@pytest.mark.parametrize("axis", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.2, 0.3, 0.9)])
def test_pure_rotation_has_no_translation(axis: tuple) -> None:
    rng = np.random.default_rng(3)
    R = so3_exp(np.radians(1.5) * np.array(axis) / np.linalg.norm(axis))
    view = estimate(seen(R, np.zeros(3), random_points(rng), rng, noise_px=0.1))
    assert not view.translates and not view.is_still
    assert rotation_error_deg(view, R) < 0.02
    assert np.all(view.direction == 0) and np.all(np.isnan(view.depth))


def test_standstill_is_exactly_the_identity() -> None:
    rng = np.random.default_rng(4)
    rays = seen(np.eye(3), np.zeros(3), random_points(rng), rng, noise_px=0.1)
    mover = rng.random(len(rays.prev)) < 0.4
    rays.prev[mover, 0] += 0.02
    view = estimate(rays)
    assert view.is_still and not view.translates
    assert np.array_equal(view.R, np.eye(3)) and np.all(view.direction == 0)
    assert not view.inliers[mover].any() and view.inliers[~mover].all()


@pytest.mark.parametrize("fraction", [0.45, 0.6])
def test_vehicle_that_passes_is_no_motion_of_the_camera(fraction: float) -> None:
    """Two views allow a near wall that the camera passes sideways as well."""
    rng = np.random.default_rng(12)
    rays = seen(np.eye(3), np.zeros(3), random_points(rng), rng, noise_px=0.08)
    vehicle = rng.random(len(rays.prev)) < fraction
    rays.prev[vehicle, 0] += 9.0 / FOCAL_PX
    view = estimate(rays)
    assert view.is_still and not view.translates
    assert not view.inliers[vehicle].any()


def test_camera_that_looks_sideways_moves() -> None:
    rng = np.random.default_rng(13)
    t = np.array([1.0, 0.0, 0.0])
    view = estimate(seen(np.eye(3), 0.3 * t, random_points(rng), rng, noise_px=0.1))
    assert view.translates and angle_between(view.direction, t) < 0.5


@pytest.mark.parametrize("seed", range(4))
def test_points_of_a_plane_suffice(seed: int) -> None:
    """A road alone: two motions explain a plane, and the last one chooses among them."""
    rng = np.random.default_rng(seed)
    R, t = random_motion(rng, sideways=0.05)
    rays = rng.uniform((-0.6, 0.08), (0.6, 0.4), (400, 2))
    points = np.column_stack([rays, np.ones(400)]) * (1.6 / rays[:, 1:])
    view = estimate(seen(R, t, points, rng, noise_px=0.1))
    assert rotation_error_deg(view, R) < 0.1 and angle_between(view.direction, t) < 1.5


def test_turn_of_three_degrees() -> None:
    rng = np.random.default_rng(5)
    R, t = so3_exp([0.0, np.radians(3.0), 0.0]), np.array([0.05, 0.0, 0.5])
    view = estimate(seen(R, t, random_points(rng), rng, noise_px=0.1))
    assert rotation_error_deg(view, R) < 0.03
    assert angle_between(view.direction, t) < 0.7


@pytest.mark.parametrize("start", [(np.eye(3), -AHEAD), (np.eye(3), np.array([1.0, 0.0, 0.0]))])
def test_wrong_start_does_not_matter(start: tuple) -> None:
    rng = np.random.default_rng(6)
    R, t = random_motion(rng, sideways=0.05)
    view = estimate(seen(R, t, random_points(rng), rng, noise_px=0.1), [start])
    assert rotation_error_deg(view, R) < 0.03 and angle_between(view.direction, t) < 0.4


def test_backward_motion() -> None:
    rng = np.random.default_rng(7)
    view = estimate(seen(np.eye(3), -AHEAD, random_points(rng), rng, noise_px=0.1))
    assert angle_between(view.direction, -AHEAD) < 0.3 and np.median(view.depth) > 0


@pytest.mark.parametrize("ahead", [1, -1])
@pytest.mark.parametrize("seed", range(4))
def test_a_start_from_samples_is_near_the_motion(seed: int, ahead: int) -> None:
    rng = np.random.default_rng(seed)
    R, t = random_motion(rng)
    rays = seen(R, ahead * t, random_points(rng), rng, noise_px=0.1)
    mislead(rays, rng, 0.4)
    ((found_R, found_t),) = _sampled(rays.prev, rays.curr, FOCAL_PX)
    assert np.degrees(rotation_angle(found_R.T @ R)) < 0.3
    assert angle_between(found_t, ahead * t) < 3.0


def test_twisted_pair_is_not_chosen() -> None:
    """The essential matrix has a second rotation, half a turn about the translation."""
    rng = np.random.default_rng(8)
    R, t = random_motion(rng, sideways=0.05)
    rays = seen(R, t, random_points(rng), rng, noise_px=0.1)
    twisted = so3_exp(np.pi * t) @ R
    assert fit(twisted, t, rays).cost == 1.0
    assert rotation_error_deg(estimate(rays, [(twisted, t)]), R) < 0.03


@pytest.mark.parametrize("seed", range(8))
def test_a_fit_is_given_up_where_it_goes_the_way_of_another(seed: int) -> None:
    rng = np.random.default_rng(seed)
    R, t = random_motion(rng, sideways=0.05)
    rays = seen(R, t, random_points(rng), rng, noise_px=0.1)
    mislead(rays, rng, 0.1)
    starts, ways = [(R, t), (np.eye(3), AHEAD), (so3_exp(np.pi * t) @ R, t)], Ways()
    found = [fit_motion(*start, rays.prev, rays.curr, FOCAL_PX, ways) for start in starts]
    assert [view is None for view in found] == [False, True, False]  # a twisted pair is far away
    given_up, first = fit(*starts[1], rays), found[0]
    assert first is not None
    np.testing.assert_allclose(given_up.R, first.R, atol=1e-6)
    np.testing.assert_allclose(given_up.direction, first.direction, atol=1e-6)
    assert given_up.cost == pytest.approx(first.cost, rel=1e-4)


def test_sampson_error_of_a_wrong_motion() -> None:
    """By the essential matrix, Hartley and Zisserman, eq. 11.9, far from the solution."""
    rng = np.random.default_rng(14)
    R, t = so3_exp([0.1, 0.4, -0.2]), np.array([0.6, 0.0, 0.8])
    rays = seen(np.eye(3), AHEAD, random_points(rng, 50))
    E = skew(t) @ R
    lines_prev, lines_curr = rays.curr @ E.T, rays.prev @ E
    squares = (lines_prev[:, :2] ** 2).sum(axis=1) + (lines_curr[:, :2] ** 2).sum(axis=1)
    expected = FOCAL_PX * (rays.prev * lines_prev).sum(axis=1) / np.sqrt(squares)
    r, _ = _linearize(R, t, _tangent(t), rays.prev, rays.curr, FOCAL_PX)
    np.testing.assert_allclose(r, expected, rtol=1e-9)


def test_derivative_of_the_sampson_error() -> None:
    """Near the solution, where the derivative of the denominator does not matter."""
    rng = np.random.default_rng(9)
    R, t = random_motion(rng)
    rays = seen(R, t, random_points(rng, 50))
    tangent, step = _tangent(t), 1e-6
    r, J = _linearize(R, t, tangent, rays.prev, rays.curr, FOCAL_PX)
    np.testing.assert_allclose(r, 0.0, atol=1e-9)
    for column, change in enumerate(step * np.eye(5)):
        moved = [
            _linearize(
                so3_exp(sign * change[:3]) @ R,
                t + sign * tangent @ change[3:],
                tangent,
                rays.prev,
                rays.curr,
                FOCAL_PX,
            )[0]
            for sign in (1, -1)
        ]
        numeric = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(J[:, column], numeric, rtol=1e-4, atol=1e-3)


def test_covariance_is_the_spread_of_the_estimates() -> None:
    """Noise of 0.15 pixels in both images, 150 times.

    The robust weights lose efficiency, which is part of the factor that `track_motion` applies.
    """
    rng = np.random.default_rng(10)
    R, t = random_motion(rng)
    points, tangent = random_points(rng), _tangent(t)
    errors, covariances = [], []
    for _ in range(150):
        rays = seen(R, t, points, rng, noise_px=0.15)
        view = fit(R, t, rays)
        rotation = so3_log(view.R @ R.T)
        errors.append(np.concatenate([rotation, tangent.T @ (view.direction - t)]))
        to_common = np.eye(5)
        to_common[3:, 3:] = tangent.T @ view.tangent
        covariances.append(to_common @ view.covariance @ to_common.T)
    expected = np.sqrt(_COVARIANCE_FACTOR * np.diag(np.mean(covariances, axis=0)))
    found = np.sqrt(np.mean(np.square(errors), axis=0))
    ratio = found / expected
    print("found over expected deviation:", np.round(ratio, 2))
    assert np.all(ratio > 0.75) and np.all(ratio < 1.25)


def test_triangulation_without_noise() -> None:
    rng = np.random.default_rng(11)
    R, t = random_motion(rng)
    rays = seen(R, t, random_points(rng))
    depth, parallax = triangulate(R, t, rays.prev, rays.curr, FOCAL_PX)
    np.testing.assert_allclose(depth, rays.depth, rtol=1e-6)
    at_infinity = rays.curr @ R.T
    at_infinity /= at_infinity[:, 2:]
    expected = FOCAL_PX * np.linalg.norm(at_infinity - rays.prev, axis=1)
    np.testing.assert_allclose(parallax, expected, rtol=1e-9)
