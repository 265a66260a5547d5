"""Geometric refinement: the right motion from a wrong guess, on rendered streets and on points."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from sfm_ros.config import RefineConfig
from sfm_ros.datatypes import CameraIntrinsics, Prediction
from sfm_ros.geometry import inverse, project, rotation_angle, se3_exp
from sfm_ros.motion_prior import TranslationPrior
from sfm_ros.refine import MotionRefiner, Refinement, Tracks, solve
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from sfm_ros.window import Window

CAMERA = CameraIntrinsics(width=416, height=128, fx=242, fy=242, cx=207.5, cy=63.5)
GUESS_ERROR = se3_exp([0.05, -0.03, 0.15, 0.004, 0.02, -0.004])


def _errors(refined: np.ndarray, ground_truth: np.ndarray) -> tuple[float, float]:
    """Translation error as a share of the way, rotation error in degrees."""
    shift = np.linalg.norm(refined[:3, 3] - ground_truth[:3, 3]) / np.linalg.norm(
        ground_truth[:3, 3]
    )
    return float(shift), float(
        np.degrees(rotation_angle(ground_truth[:3, :3].T @ refined[:3, :3]))
    )


def _refine_street(seed: int, depth_error: float = 0.0) -> tuple[Refinement, np.ndarray]:
    street = SyntheticStreet(SyntheticConfig(seed=seed, fx=242.0, frames=20, kind="city"))
    prev, curr = street.render(10), street.render(11)
    assert prev.T_world_camera is not None and curr.T_world_camera is not None
    assert curr.depth_m is not None
    ground_truth = inverse(prev.T_world_camera) @ curr.T_world_camera
    noise = np.random.default_rng(seed).normal(size=curr.depth_m.shape)
    depth = (curr.depth_m * np.exp(depth_error * noise)).astype(np.float32)
    config = RefineConfig(sigma_depth=max(depth_error, 0.05))
    refined = MotionRefiner(config).refine(
        prev.frame.rgb, curr.frame.rgb, depth, street.intrinsics, GUESS_ERROR @ ground_truth
    )
    return refined, ground_truth


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_a_wrong_guess_is_corrected_on_a_street(seed: int) -> None:
    refined, ground_truth = _refine_street(seed)
    guess_shift, guess_angle = _errors(GUESS_ERROR @ ground_truth, ground_truth)
    shift, angle = _errors(refined.T_prev_curr, ground_truth)
    assert refined.inliers > 40
    assert angle < 0.1 < 1.0 < guess_angle
    assert shift < 0.5 * guess_shift


def test_noisy_depth_still_gives_the_rotation() -> None:
    refined, ground_truth = _refine_street(5, depth_error=0.2)
    shift, angle = _errors(refined.T_prev_curr, ground_truth)
    assert angle < 0.15 and shift < 0.15


def _points(rng: np.random.Generator, count: int) -> np.ndarray:
    z = rng.uniform(4, 60, count)
    u, v = rng.uniform(5, 410, count), rng.uniform(5, 122, count)
    return np.stack([(u - 207.5) / 242 * z, (v - 63.5) / 242 * z, z], axis=1)


def _tracks(rng: np.random.Generator, ground_truth: np.ndarray) -> Tracks:
    points = _points(rng, 150)
    pixels = project(points @ ground_truth[:3, :3].T + ground_truth[:3, 3], CAMERA.K)
    return Tracks(points=points, pixels_prev=pixels)


def _round(mean: np.ndarray, sigma: float) -> TranslationPrior:
    return TranslationPrior(mean=mean, information=np.eye(3) / sigma**2)


def _loose(mean: np.ndarray) -> TranslationPrior:
    return _round(mean, 10.0)


def test_a_third_of_false_tracks_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    ground_truth = se3_exp([0.02, 0.0, 1.0, 0.0, 0.03, 0.0])
    tracks = _tracks(rng, ground_truth)
    tracks.pixels_prev[:50] += rng.uniform(-30, 30, (50, 2))
    guess = GUESS_ERROR @ ground_truth
    T, distances, _ = solve(tracks, CAMERA.K, guess, _loose(guess[:3, 3]), RefineConfig())
    shift, angle = _errors(T, ground_truth)
    assert angle < 0.05 and shift < 0.03
    assert np.median(distances[50:]) < 1 < np.median(distances[:50])


def test_depth_that_is_twice_too_large_doubles_the_way_and_keeps_the_rotation() -> None:
    """Lengths follow the predicted depth, so that depth and trajectory share one scale."""
    ground_truth = se3_exp([0.0, 0.0, 1.0, 0.0, 0.03, 0.0])
    tracks = _tracks(np.random.default_rng(1), ground_truth)
    doubled = dataclasses.replace(tracks, points=2 * tracks.points)
    T, _, _ = solve(doubled, CAMERA.K, ground_truth, _loose(ground_truth[:3, 3]), RefineConfig())
    np.testing.assert_allclose(T[:3, 3], 2 * ground_truth[:3, 3], atol=0.02)
    assert rotation_angle(ground_truth[:3, :3].T @ T[:3, :3]) < 1e-3


def test_a_tight_prior_keeps_its_translation() -> None:
    ground_truth = se3_exp([0.0, 0.0, 1.0, 0.0, 0.03, 0.0])
    tracks = _tracks(np.random.default_rng(2), ground_truth)
    mean = np.array([0.0, 0.0, 1.3])
    T, _, _ = solve(tracks, CAMERA.K, ground_truth, _round(mean, 1e-6), RefineConfig())
    np.testing.assert_allclose(T[:3, 3], mean, atol=1e-4)


def _odometry_over(stamps: list[int], wrong_from: int, from_ns: int | None = None) -> list[float]:
    """Length over true length of each increment, where the depth doubles at a frame.

    ``from_ns`` is the first stamp of the last window, where it does not follow the one before.
    """
    street = SyntheticStreet(SyntheticConfig(seed=5, fx=242.0, frames=20, kind="city"))
    config = RefineConfig()
    refiner, lengths = MotionRefiner(config), []
    for index in range(10, 10 + len(stamps) - 1):
        prev, curr = street.render(index), street.render(index + 1)
        assert prev.T_world_camera is not None and curr.T_world_camera is not None
        assert curr.depth_m is not None
        last = index == 8 + len(stamps)
        ground_truth = inverse(prev.T_world_camera) @ curr.T_world_camera
        scale = 2.0 if index >= wrong_from else 1.0
        window = Window(
            images=(prev.frame.rgb, curr.frame.rgb),
            stamps_ns=(
                from_ns if last and from_ns is not None else stamps[index - 10],
                stamps[index - 9],
            ),
            intrinsics=street.intrinsics,
        )
        prediction = Prediction(
            depth=curr.depth_m * np.float32(scale), increments=ground_truth[None]
        )
        refined = refiner.correct(prediction, window).T_prev_curr
        lengths.append(float(np.linalg.norm(refined[:3, 3]) / np.linalg.norm(ground_truth[:3, 3])))
    return lengths


def test_inertia_holds_a_sudden_change_of_length_back() -> None:
    tick = 100_000_000
    steady = _odometry_over([0, tick, 2 * tick, 3 * tick], wrong_from=12)
    broken = _odometry_over([0, tick, 2 * tick, 9 * tick], wrong_from=12, from_ns=8 * tick)
    assert steady[1] == pytest.approx(1.0, abs=0.1)
    # The last window of the other run does not follow the one before: nothing to hold on to.
    assert steady[2] < broken[2] - 0.15


def test_hard_braking_is_followed() -> None:
    """5 m/s^2 from 10 m/s to a stop, seen at 10 Hz: inertia may not carry the camera on."""
    steps = np.maximum(1.0 - 0.05 * np.arange(24), 0.0)
    poses = np.tile(np.eye(4), (len(steps) + 1, 1, 1))
    poses[1:, 2, 3] = np.cumsum(steps)
    config = SyntheticConfig(seed=5, fx=242.0, camera_height_m=1.5, kind="city")
    street = SyntheticStreet(config, T_world_camera=poses)
    items = list(street)
    refiner, lengths = MotionRefiner(RefineConfig()), []
    for index, (prev, curr) in enumerate(itertools.pairwise(items)):
        assert curr.depth_m is not None
        window = Window(
            images=(prev.frame.rgb, curr.frame.rgb),
            stamps_ns=(index * 100_000_000, (index + 1) * 100_000_000),
            intrinsics=street.intrinsics,
        )
        guess = np.eye(4)
        guess[2, 3] = 0.7  # a pose network that does not see the speed
        prediction = Prediction(depth=curr.depth_m, increments=guess[None])
        lengths.append(refiner.correct(prediction, window).T_prev_curr[2, 3])
    np.testing.assert_allclose(lengths, steps, atol=0.1)
    np.testing.assert_allclose(lengths[-2:], 0, atol=0.01)


def test_corners_found_ahead_serve_their_own_window_only() -> None:
    street = SyntheticStreet(SyntheticConfig(seed=5, fx=242.0, frames=20, kind="city"))
    items = [street.render(index) for index in (10, 11, 12)]
    poses = [item.T_world_camera for item in items]
    assert poses[0] is not None and poses[1] is not None and items[1].depth_m is not None

    def window(older: int, newer: int) -> Window:
        return Window(
            images=(items[older].frame.rgb, items[newer].frame.rgb),
            stamps_ns=(1, 2),
            intrinsics=street.intrinsics,
        )

    ground_truth = inverse(poses[0]) @ poses[1]
    prediction = Prediction(depth=items[1].depth_m, increments=ground_truth[None])
    plain, ahead = MotionRefiner(RefineConfig()), MotionRefiner(RefineConfig())
    ahead.find_keypoints(window(1, 2))  # its networks failed; the next window comes unannounced
    expected = plain.correct(prediction, window(0, 1)).T_prev_curr
    np.testing.assert_array_equal(ahead.correct(prediction, window(0, 1)).T_prev_curr, expected)


def test_images_without_corners_keep_the_prediction() -> None:
    gray = np.full((128, 416, 3), 90, dtype=np.uint8)
    depth = np.full((128, 416), 10.0, dtype=np.float32)
    guess = se3_exp([0, 0, 1.0, 0, 0.01, 0])
    refined = MotionRefiner(RefineConfig()).refine(gray, gray, depth, CAMERA, guess)
    assert refined.inliers == 0
    np.testing.assert_array_equal(refined.T_prev_curr, guess)


def test_invalid_depth_keeps_the_prediction() -> None:
    rng = np.random.default_rng(2)
    noise = rng.integers(0, 255, (128, 416, 3), dtype=np.uint8)
    guess = se3_exp([0, 0, 1.0, 0, 0.01, 0])
    nothing = np.full((128, 416), np.nan, dtype=np.float32)
    refined = MotionRefiner(RefineConfig()).refine(noise, noise, nothing, CAMERA, guess)
    assert refined.tracked == 0
    np.testing.assert_array_equal(refined.T_prev_curr, guess)


def test_unrelated_images_are_not_believed() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 255, (2, 128, 416, 3), dtype=np.uint8)
    depth = rng.uniform(5, 50, (128, 416)).astype(np.float32)
    guess = se3_exp([0, 0, 1.0, 0, 0.01, 0])
    refined = MotionRefiner(RefineConfig()).refine(one, other, depth, CAMERA, guess)
    np.testing.assert_array_equal(refined.T_prev_curr, guess)
