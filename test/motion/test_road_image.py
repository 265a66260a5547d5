"""Height over the road from its images: drawn roads without a single corner, and their limits."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from corridor import CAMERA, HEIGHT_M, ahead, draw

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import inverse, so3_exp
from sfm_ros.motion.road_image import RoadImages, log_height_by_images, road_image, top_of
from sfm_ros.motion.two_view import TwoView

DOWN = np.array([0.0, 1.0, 0.0])


def view_of(T_prev_curr: FloatArray) -> TwoView:
    """A motion that is known exactly; the tracks do not matter here."""
    t, none = T_prev_curr[:3, 3], np.zeros(0)
    return TwoView(
        R=T_prev_curr[:3, :3],
        direction=t / np.linalg.norm(t),
        inliers=none.astype(bool),
        depth=none,
        parallax=none,
        covariance=np.zeros((5, 5)),
        tangent=np.zeros((3, 2)),
        cost=0.0,
    )


def soft(rgb: np.ndarray) -> np.ndarray:
    """A gray image of a road with faint, blurred texture: nothing to track."""
    gray = cv2.GaussianBlur(rgb[..., 0], (0, 0), 3.0).astype(np.float64)
    noise = np.random.default_rng(int(gray.sum()) % 1000).normal(0.0, 1.0, gray.shape)
    return np.clip(np.rint(110 + 0.3 * (gray - 110) + noise), 0, 255).astype(np.uint8)


def images_of(poses: FloatArray, is_soft: bool = False) -> RoadImages:
    """Of the road, from two poses."""
    top = top_of(CAMERA)
    drawn = [draw(pose, seed=i) for i, pose in enumerate(poses)]
    grays = [soft(rgb) if is_soft else rgb[..., 0] for rgb in drawn]
    prev, curr = (road_image(gray, top) for gray in grays)
    return RoadImages(prev=prev, curr=curr, camera=CAMERA, top=top)


def measured(
    poses: FloatArray, normal: FloatArray = DOWN, guess: float | None = None, is_soft: bool = False
) -> float | None:
    """Height over the road in meters."""
    T_prev_curr = inverse(poses[0]) @ poses[1]
    step_m = float(np.linalg.norm(T_prev_curr[:3, 3]))
    log_guess = None if guess is None else math.log(guess / step_m)
    found = log_height_by_images(
        view_of(T_prev_curr), images_of(poses, is_soft), normal, log_guess
    )
    return None if found is None else math.exp(found) * step_m


@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("step_m", [0.4, 0.8, 1.5])
def test_height_with_a_guess(step_m: float, is_soft: bool) -> None:
    for guess in (0.85 * HEIGHT_M, 1.15 * HEIGHT_M):
        found = measured(ahead([step_m]), guess=guess, is_soft=is_soft)
        assert found == pytest.approx(HEIGHT_M, rel=0.015)


@pytest.mark.parametrize("step_m", [0.8, 1.5])
def test_height_without_a_guess(step_m: float) -> None:
    assert measured(ahead([step_m])) == pytest.approx(HEIGHT_M, rel=0.015)


def test_turn_and_pitch() -> None:
    poses = ahead([0.8], yaw_deg=1.5, pitch_deg=2.0)
    normal = so3_exp([np.radians(2.0), 0.0, 0.0]) @ DOWN
    assert measured(poses, normal) == pytest.approx(HEIGHT_M, rel=0.015)


def test_stripes_along_the_road_fit_any_height() -> None:
    top = top_of(CAMERA)
    columns, rows = np.meshgrid(np.arange(CAMERA.width), np.arange(top + 1, CAMERA.height + 1))
    across_m = (columns - CAMERA.cx) / (rows - CAMERA.cy) * HEIGHT_M
    gray = np.zeros((CAMERA.height, CAMERA.width), np.uint8)
    gray[top:] = np.rint(120 + 60 * np.sin(9 * across_m))
    stripes = road_image(gray, top)
    images = RoadImages(prev=stripes, curr=stripes, camera=CAMERA, top=top)
    assert log_height_by_images(view_of(ahead([0.8])[1]), images, DOWN, None) is None


def test_slow_camera_has_no_height() -> None:
    assert measured(ahead([0.03]), guess=HEIGHT_M) is None


def test_guess_far_off_gives_no_height() -> None:
    assert measured(ahead([0.8]), guess=2.5 * HEIGHT_M) is None


def test_images_that_do_not_belong_together_have_no_height() -> None:
    elsewhere = ahead([0.8])
    elsewhere[:, 2, 3] += 30.0
    one, other = images_of(ahead([0.8])), images_of(elsewhere)
    mixed = RoadImages(prev=other.prev, curr=one.curr, camera=CAMERA, top=one.top)
    assert log_height_by_images(view_of(ahead([0.8])[1]), mixed, DOWN, None) is None
    blank = np.zeros_like(one.prev)
    nothing = RoadImages(prev=blank, curr=blank, camera=CAMERA, top=one.top)
    assert log_height_by_images(view_of(ahead([0.8])[1]), nothing, DOWN, None) is None
