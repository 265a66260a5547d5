"""Keypoints against images that are moved in a known way, also through distorting lenses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from sfm_ros.config import TrackerConfig
from sfm_ros.datatypes import CameraIntrinsics, FloatArray, Frame
from sfm_ros.geometry import so3_exp
from sfm_ros.motion.tracker import TrackedPair, Tracker
from sfm_ros.preprocess import normalized_points

CAMERA = CameraIntrinsics(width=720, height=240, fx=400, fy=400, cx=359.5, cy=119.5)


@cache
def texture() -> np.ndarray:
    """(1200, 2400) uint8, structure of several sizes."""
    rng = np.random.default_rng(0)
    total = np.zeros((1200, 2400), np.float32)
    for sigma in (1.5, 4.0, 12.0):
        noise = cv2.GaussianBlur(rng.normal(size=total.shape).astype(np.float32), (0, 0), sigma)
        total += noise / noise.std()
    return np.clip(128 + 25 * total, 0, 255).astype(np.uint8)


def frame(gray: np.ndarray, index: int, camera: CameraIntrinsics = CAMERA) -> Frame:
    rgb = np.repeat(gray[:, :, None], 3, axis=2)
    return Frame(stamp_ns=(index + 1) * 100_000_000, rgb=rgb, intrinsics=camera)


def moved(H: FloatArray, camera: CameraIntrinsics = CAMERA) -> np.ndarray:
    """The part of the texture that a homography brings into the image."""
    start = np.array([[1.0, 0.0, -600.0], [0.0, 1.0, -400.0], [0.0, 0.0, 1.0]])
    size = (camera.width, camera.height)
    return np.asarray(cv2.warpPerspective(texture(), H @ start, size, flags=cv2.INTER_LINEAR))


def pixels(rays: FloatArray, camera: CameraIntrinsics = CAMERA) -> FloatArray:
    return rays[:, :2] * [camera.fx, camera.fy] + [camera.cx, camera.cy]


def mapped(H: FloatArray, points: FloatArray) -> FloatArray:
    mapped_points = np.column_stack([points, np.ones(len(points))]) @ H.T
    result: FloatArray = mapped_points[:, :2] / mapped_points[:, 2:]
    return result


def tracked(
    images: list[np.ndarray],
    camera: CameraIntrinsics = CAMERA,
    config: TrackerConfig | None = None,
) -> list[TrackedPair]:
    """The pairs of neighboring images."""
    tracker = Tracker(config or TrackerConfig())
    found = [tracker.track(frame(image, i, camera)) for i, image in enumerate(images)]
    assert found[0] is None
    pairs = [pair for pair in found if pair is not None]
    assert len(pairs) == len(images) - 1
    return pairs


MOTIONS = {
    "shift": np.array([[1.0, 0.0, 7.3], [0.0, 1.0, -2.6], [0.0, 0.0, 1.0]]),
    "zoom": np.array([[1.04, 0.0, -14.4], [0.0, 1.04, -4.8], [0.0, 0.0, 1.0]]),
    "turn": np.array([[0.9994, 0.0349, 3.0], [-0.0349, 0.9994, 9.0], [0.0, 0.0, 1.0]]),
    "tilt": np.array([[1.01, 0.01, 2.0], [0.003, 1.02, -3.0], [2e-5, 3e-5, 1.0]]),
}


@pytest.mark.parametrize("name", MOTIONS)
def test_keypoints_follow_a_homography(name: str) -> None:
    H = MOTIONS[name]
    tracker = Tracker(TrackerConfig())
    tracker.track(frame(moved(np.eye(3)), 0))
    before = len(tracker._ids)
    pair = tracker.track(frame(moved(H), 1))
    assert pair is not None
    error = np.linalg.norm(pixels(pair.rays_curr) - mapped(H, pixels(pair.rays_prev)), axis=1)
    print(
        f"{len(pair)} tracks, error {np.median(error):.3f} px, 95 % {np.quantile(error, 0.95):.3f}"
    )
    assert len(pair) > 300 and 1 - len(pair) / before < 0.2
    assert np.median(error) < 0.08 and np.quantile(error, 0.95) < 0.4
    assert pair.focal_px == CAMERA.fx and pair.dt_s == pytest.approx(0.1)


def test_tracks_keep_their_numbers() -> None:
    H = MOTIONS["shift"]
    pairs = tracked([moved(np.linalg.matrix_power(H, k)) for k in range(6)])
    first, last = pairs[0], pairs[-1]
    for earlier, later in zip(pairs, pairs[1:], strict=False):
        _, i, j = np.intersect1d(earlier.ids, later.ids, return_indices=True)
        assert len(i) > 0.8 * len(earlier)
        np.testing.assert_array_equal(earlier.rays_curr[i], later.rays_prev[j])
    _, i, j = np.intersect1d(first.ids, last.ids, return_indices=True)
    assert len(i) > 0.6 * len(first)
    whole = np.linalg.matrix_power(H, 5)
    error = np.linalg.norm(
        pixels(last.rays_curr[j]) - mapped(whole, pixels(first.rays_prev[i])), axis=1
    )
    assert np.median(error) < 0.25
    assert all(len(np.unique(pair.ids)) == len(pair) for pair in pairs)


def test_lost_keypoints_are_replaced_everywhere() -> None:
    """A fifth of the image leaves in the end."""
    H = np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    pairs = tracked([moved(np.linalg.matrix_power(H, k)) for k in range(7)])
    assert pairs[-1].ids.max() > pairs[0].ids.max() + 100, "new ones have new numbers"
    for pair in pairs[1:]:
        assert len(pair) > 300
        columns = np.histogram(pixels(pair.rays_prev)[:, 0], bins=6, range=(0, 660))[0]
        assert columns.min() > 20, "a part of the image has no keypoints"


def test_number_of_tracks_is_limited() -> None:
    images = [moved(np.linalg.matrix_power(MOTIONS["shift"], k)) for k in range(4)]
    for most in (50, 200, 600):
        pairs = tracked(images, config=TrackerConfig(max_tracks=most))
        assert all(most / 2 < len(pair) <= most for pair in pairs)


def test_wide_images_are_shrunk() -> None:
    H = MOTIONS["shift"]
    (pair,) = tracked([moved(np.eye(3)), moved(H)], config=TrackerConfig(max_width=360))
    assert pair.focal_px == CAMERA.fx / 2
    error = np.linalg.norm(pixels(pair.rays_curr) - mapped(H, pixels(pair.rays_prev)), axis=1)
    assert np.median(error) < 0.15, "pixels of the image as it came"


def test_small_images_are_enlarged() -> None:
    camera = CameraIntrinsics(width=256, height=96, fx=150, fy=150, cx=127.5, cy=47.5)
    H = np.array([[1.0, 0.0, 1.7], [0.0, 1.0, -0.6], [0.0, 0.0, 1.0]])
    (pair,) = tracked([moved(np.eye(3), camera), moved(H, camera)], camera)
    assert pair.focal_px == 2 * camera.fx and len(pair) > 100
    before, after = pixels(pair.rays_prev, camera), pixels(pair.rays_curr, camera)
    error = np.linalg.norm(after - mapped(H, before), axis=1)
    assert np.median(error) < 0.06


@pytest.mark.parametrize("size", [(16, 16), (40, 5), (5, 40)])
def test_tiny_images_give_few_tracks(size: tuple[int, int]) -> None:
    camera = CameraIntrinsics(width=size[0], height=size[1], fx=20, fy=20, cx=5, cy=2)
    (pair,) = tracked([moved(np.eye(3), camera), moved(MOTIONS["zoom"], camera)], camera)
    assert len(pair.rays_prev) == len(pair.rays_curr) == len(pair) < 30


def test_blank_image_gives_no_tracks() -> None:
    blank = np.full((240, 720), 120, np.uint8)
    pairs = tracked([blank, blank, moved(np.eye(3)), moved(MOTIONS["shift"])])
    assert [len(pair) for pair in pairs[:2]] == [0, 0] and len(pairs[2]) > 300


def test_restart_forgets_and_numbers_are_not_used_again() -> None:
    tracker = Tracker(TrackerConfig())
    images = [frame(moved(np.linalg.matrix_power(MOTIONS["shift"], k)), k) for k in range(4)]
    tracker.track(images[0])
    before = tracker.track(images[1])
    tracker.restart()
    assert tracker.track(images[2]) is None
    after = tracker.track(images[3])
    assert before is not None and after is not None and after.ids.min() > before.ids.max()


def test_change_of_size_restarts_the_tracks() -> None:
    tracker = Tracker(TrackerConfig())
    small = CAMERA.resized(300, 100)
    assert tracker.track(frame(moved(np.eye(3)), 0)) is None
    assert tracker.track(frame(moved(np.eye(3), small), 1, small)) is None
    assert tracker.track(frame(moved(MOTIONS["shift"], small), 2, small)) is not None


def test_image_statistics() -> None:
    sharp, blurred = moved(np.eye(3)), cv2.GaussianBlur(moved(np.eye(3)), (0, 0), 3.0)
    bright = np.minimum(sharp.astype(int) + 110, 255).astype(np.uint8)
    plain, soft, glare = tracked([sharp, sharp, blurred, bright])
    assert plain.brightness == pytest.approx(sharp.mean(), abs=2)
    assert plain.overexposed < 0.02 and glare.overexposed > 0.3
    assert soft.sharpness < 0.4 * plain.sharpness


def test_brightness_of_the_camera_may_change() -> None:
    """Automatic exposure: a step of 20 gray levels is below health.max_exposure_jump."""
    H = MOTIONS["shift"]
    (pair,) = tracked([moved(np.eye(3)), cv2.add(moved(H), 20)])
    error = np.linalg.norm(pixels(pair.rays_curr) - mapped(H, pixels(pair.rays_prev)), axis=1)
    assert len(pair) > 300 and np.median(error) < 0.15


PLUMB_BOB = (-0.32, 0.11, 0.0012, -0.0007, -0.015)
RATIONAL = (0.4, -0.2, 0.0006, -0.0004, 0.02, 0.75, -0.15, 0.01)
EQUIDISTANT = (0.03, -0.012, 0.004, -0.001)


def polynomial(xy: FloatArray, D: tuple[float, ...]) -> FloatArray:
    """Distorted x/z, y/z by the formula of plumb_bob and rational_polynomial."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (*D, 0.0, 0.0, 0.0)[:8]
    x, y = xy.T
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    radial = radial / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([x * radial + dx, y * radial + dy], axis=1)


def fisheye(xy: FloatArray, D: tuple[float, ...]) -> FloatArray:
    """Distorted x/z, y/z by the formula of equidistant."""
    r = np.linalg.norm(xy, axis=1)
    theta = np.arctan(r)
    bent = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(D)))
    return xy * (bent / np.maximum(r, 1e-12))[:, None]


LENSES: dict[str, tuple[tuple[float, ...], Callable]] = {
    "plumb_bob": (PLUMB_BOB, polynomial),
    "rational_polynomial": (RATIONAL, polynomial),
    "equidistant": (EQUIDISTANT, fisheye),
}


def lens(model: str) -> CameraIntrinsics:
    return replace(CAMERA, distortion_model=model, distortion=LENSES[model][0])


@pytest.mark.parametrize("is_rotated", [False, True])
@pytest.mark.parametrize("model", LENSES)
def test_rays_agree_with_the_projection(model: str, is_rotated: bool) -> None:
    D, distort = LENSES[model]
    R = so3_exp([0.01, -0.02, 0.03]) if is_rotated else np.eye(3)
    camera = replace(lens(model), R=R) if is_rotated else lens(model)
    x, y = np.meshgrid(np.linspace(-0.8, 0.8, 17), np.linspace(-0.25, 0.25, 9))
    rectified = np.stack([x.ravel(), y.ravel()], axis=1)
    raw = np.column_stack([rectified, np.ones(len(rectified))]) @ R  # into the raw camera
    distorted = distort(raw[:, :2] / raw[:, 2:], D)
    seen_at = distorted * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    found = normalized_points(camera, seen_at)
    np.testing.assert_allclose(found, rectified, atol=2e-5)  # 0.01 pixels


@pytest.mark.parametrize("model", LENSES)
def test_tracks_through_a_lens_have_straight_rays(model: str) -> None:
    """A wall parallel to the image moves sideways: all rays shift by the same amount."""
    camera = lens(model)
    shift = np.array([0.02, -0.006])
    (pair,) = tracked([wall(camera, np.zeros(2)), wall(camera, shift)], camera)
    flow = (pair.rays_curr - pair.rays_prev)[:, :2] * CAMERA.fx
    error = np.linalg.norm(flow - shift * CAMERA.fx, axis=1)
    at_edge = np.abs(pair.rays_prev[:, 0]) > 0.6
    assert len(pair) > 250 and at_edge.sum() > 30
    assert np.median(error) < 0.1 and np.median(error[at_edge]) < 0.2
    # The same tracks without the lens: the shift differs over the image by pixels.
    (bent,) = tracked([wall(camera, np.zeros(2)), wall(camera, shift)], CAMERA)
    wrong = (bent.rays_curr - bent.rays_prev)[:, :2] * CAMERA.fx - shift * CAMERA.fx
    assert np.quantile(np.linalg.norm(wrong, axis=1), 0.9) > 0.6


def wall(camera: CameraIntrinsics, shift: FloatArray) -> np.ndarray:
    """(H, W) image of a wall whose points are moved by ``shift`` in coordinates x/z, y/z."""
    D, distort = LENSES[camera.distortion_model]
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    target = np.stack([columns.ravel() - camera.cx, rows.ravel() - camera.cy], axis=1) / camera.fx
    xy = target.copy()
    for _ in range(60):  # a fixed point: the formulas have no inverse
        xy += target - distort(xy, D)
    place = ((xy - shift) * 500 + [1200, 600]).astype(np.float32).reshape(*rows.shape, 2)
    return np.asarray(cv2.remap(texture(), place[..., 0], place[..., 1], cv2.INTER_LINEAR))
