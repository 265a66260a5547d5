"""Geometric refinement: the right motion from a wrong guess, on rendered streets and on points."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from streets import (
    BRAKING_STEPS_M,
    braking_street,
    ground_truth,
    ground_truth_motion,
    shared_street,
)

from sfm_ros.config import RefineConfig
from sfm_ros.datatypes import CameraIntrinsics, Frame, Prediction
from sfm_ros.geometry import project, rotation_angle, se3_exp
from sfm_ros.motion_prior import TranslationPrior
from sfm_ros.refine import MotionRefiner, Refinement, Tracks, solve
from sfm_ros.window import Window

CAMERA = CameraIntrinsics(width=416, height=128, fx=242, fy=242, cx=207.5, cy=63.5)
GUESS_ERROR = se3_exp([0.05, -0.03, 0.15, 0.004, 0.02, -0.004])


def _errors(refined: np.ndarray, ground_truth: np.ndarray) -> tuple[float, float]:
    """Translation error relative to the distance, rotation error in degrees."""
    offset = np.linalg.norm(refined[:3, 3] - ground_truth[:3, 3])
    angle = rotation_angle(ground_truth[:3, :3].T @ refined[:3, :3])
    return float(offset / np.linalg.norm(ground_truth[:3, 3])), float(np.degrees(angle))


def _refine_street(seed: int, depth_error: float = 0.0) -> tuple[Refinement, np.ndarray]:
    street = shared_street(seed=seed)
    prev, curr = street.render(10), street.render(11)
    motion = ground_truth_motion(prev, curr)
    exact, _ = ground_truth(curr)
    noise = np.random.default_rng(seed).normal(size=exact.shape)
    depth = (exact * np.exp(depth_error * noise)).astype(np.float32)
    config = RefineConfig(sigma_depth=max(depth_error, 0.05))
    refined = MotionRefiner(config).refine(
        prev.frame.rgb, curr.frame.rgb, depth, street.intrinsics, GUESS_ERROR @ motion
    )
    return refined, motion


@pytest.mark.parametrize("seed", [1, 6, 14])
def test_wrong_guess_is_corrected_on_a_street(seed: int) -> None:
    refined, motion = _refine_street(seed)
    guess_shift, guess_angle = _errors(GUESS_ERROR @ motion, motion)
    shift, angle = _errors(refined.T_prev_curr, motion)
    assert refined.inliers > 40
    assert angle < 0.1 < 1.0 < guess_angle
    assert shift < 0.5 * guess_shift


def test_noisy_depth_keeps_the_rotation() -> None:
    refined, motion = _refine_street(6, depth_error=0.2)
    shift, angle = _errors(refined.T_prev_curr, motion)
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


def test_third_of_false_tracks_is_rejected() -> None:
    rng = np.random.default_rng(0)
    ground_truth = se3_exp([0.02, 0.0, 1.0, 0.0, 0.03, 0.0])
    tracks = _tracks(rng, ground_truth)
    tracks.pixels_prev[:50] += rng.uniform(-30, 30, (50, 2))
    guess = GUESS_ERROR @ ground_truth
    T, distances, _ = solve(tracks, CAMERA.K, guess, _loose(guess[:3, 3]), RefineConfig())
    shift, angle = _errors(T, ground_truth)
    assert angle < 0.05 and shift < 0.03
    assert np.median(distances[50:]) < 1 < np.median(distances[:50])


def test_doubled_depth_doubles_the_distance_only() -> None:
    """Lengths follow the predicted depth, so that depth and trajectory have one scale."""
    ground_truth = se3_exp([0.0, 0.0, 1.0, 0.0, 0.03, 0.0])
    tracks = _tracks(np.random.default_rng(1), ground_truth)
    doubled = dataclasses.replace(tracks, points=2 * tracks.points)
    T, _, _ = solve(doubled, CAMERA.K, ground_truth, _loose(ground_truth[:3, 3]), RefineConfig())
    np.testing.assert_allclose(T[:3, 3], 2 * ground_truth[:3, 3], atol=0.02)
    assert rotation_angle(ground_truth[:3, :3].T @ T[:3, :3]) < 1e-3


def test_tight_prior_keeps_its_translation() -> None:
    ground_truth = se3_exp([0.0, 0.0, 1.0, 0.0, 0.03, 0.0])
    tracks = _tracks(np.random.default_rng(2), ground_truth)
    mean = np.array([0.0, 0.0, 1.3])
    T, _, _ = solve(tracks, CAMERA.K, ground_truth, _round(mean, 1e-6), RefineConfig())
    np.testing.assert_allclose(T[:3, 3], mean, atol=1e-4)


def _window(older: Frame, newer: Frame, from_ns: int, to_ns: int) -> Window:
    return Window(
        images=(older.rgb, newer.rgb), stamps_ns=(from_ns, to_ns), intrinsics=newer.intrinsics
    )


def _length_ratios(stamps: list[int], wrong_from: int, from_ns: int | None = None) -> list[float]:
    """Refined over ground-truth length of each increment; the depth doubles at a frame.

    ``from_ns`` is the first stamp of the last window if that does not follow the one before.
    """
    refiner, ratios = MotionRefiner(RefineConfig()), []
    items = [shared_street().render(10 + index) for index in range(len(stamps))]
    for index, (prev, curr) in enumerate(itertools.pairwise(items)):
        is_last = index == len(items) - 2
        start_ns = from_ns if is_last and from_ns is not None else stamps[index]
        motion = ground_truth_motion(prev, curr)
        depth = ground_truth(curr)[0] * np.float32(2.0 if index >= wrong_from else 1.0)
        prediction = Prediction(depth=depth, increments=motion[None])
        window = _window(prev.frame, curr.frame, start_ns, stamps[index + 1])
        refined = refiner.correct(prediction, window).T_prev_curr
        ratios.append(float(np.linalg.norm(refined[:3, 3]) / np.linalg.norm(motion[:3, 3])))
    return ratios


def test_motion_model_damps_a_sudden_change_of_length() -> None:
    tick = 100_000_000
    steady = _length_ratios([0, tick, 2 * tick, 3 * tick], wrong_from=2)
    broken = _length_ratios([0, tick, 2 * tick, 9 * tick], wrong_from=2, from_ns=8 * tick)
    assert steady[1] == pytest.approx(1.0, abs=0.1)
    # The last window of the other run does not follow the one before, so no model applies.
    assert steady[2] < broken[2] - 0.15


def test_hard_braking_is_followed() -> None:
    """5 m/s^2 from 10 m/s to a stop, at 10 Hz: the motion model must not carry the camera on."""
    frames = range(len(BRAKING_STEPS_M) + 1)
    items = [braking_street().render(index) for index in frames]
    refiner, lengths = MotionRefiner(RefineConfig()), []
    for index, (prev, curr) in enumerate(itertools.pairwise(items)):
        guess = np.eye(4)
        guess[2, 3] = 0.7  # of a pose network that does not observe the speed
        prediction = Prediction(depth=ground_truth(curr)[0], increments=guess[None])
        window = _window(prev.frame, curr.frame, index * 100_000_000, (index + 1) * 100_000_000)
        lengths.append(refiner.correct(prediction, window).T_prev_curr[2, 3])
    np.testing.assert_allclose(lengths, BRAKING_STEPS_M, atol=0.1)
    np.testing.assert_allclose(lengths[-2:], 0, atol=0.01)


def test_keypoints_found_ahead_serve_their_own_window_only() -> None:
    first, second, third = (shared_street().render(index) for index in (10, 11, 12))
    motion = ground_truth_motion(first, second)
    prediction = Prediction(depth=ground_truth(second)[0], increments=motion[None])
    window = _window(first.frame, second.frame, 1, 2)
    plain, ahead = MotionRefiner(RefineConfig()), MotionRefiner(RefineConfig())
    # The networks failed for this window; the next one comes unannounced.
    ahead.find_keypoints(_window(second.frame, third.frame, 1, 2))
    expected = plain.correct(prediction, window).T_prev_curr
    np.testing.assert_array_equal(ahead.correct(prediction, window).T_prev_curr, expected)


def test_images_without_keypoints_keep_the_prediction() -> None:
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


def test_unrelated_images_keep_the_prediction() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 255, (2, 128, 416, 3), dtype=np.uint8)
    depth = rng.uniform(5, 50, (128, 416)).astype(np.float32)
    guess = se3_exp([0, 0, 1.0, 0, 0.01, 0])
    refined = MotionRefiner(RefineConfig()).refine(one, other, depth, CAMERA, guess)
    np.testing.assert_array_equal(refined.T_prev_curr, guess)
