"""Height of the camera over the road from the images of it: a search over planes.

If the road is a plane at a height, the motion maps each of its pixels into the older image; the
right height is the one at which the two images are alike (plane sweep, Collins, CVPR 1996, with
one plane and an unknown distance). Asphalt without a single corner has enough texture for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, FloatArray
from sfm_ros.motion.two_view import TwoView

RoadImage = npt.NDArray[np.float32]
"""The part of a rectified image below its principal point, without its large-scale brightness."""

_FINE_PX, _COARSE_PX = 1.2, 25
_LOWEST, _HIGHEST = 0.1, 0.6
_WIDTH = 1.0
_SAMPLES = 900
_MIN_SAMPLES = 200
_STEP, _STEPS = 0.03, 10
"""Of the search around a guess, in the logarithm of the height."""
_WIDE = np.arange(-1.2, 2.2, _STEP)
"""The search without a guess: steps of 0.1 to 3.3 heights."""
_TYPICAL_DROP, _MIN_SHIFT_PX = 0.3, 2.0
"""A slow camera shifts the road too little for its height to be measured."""
_MIN_CORRELATION = 0.6
_MIN_LEAD = 0.03
"""Of the best of a wide search over the next best that is not beside it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RoadImages:
    """The road in two neighboring frames.

    Attributes:
        prev, curr: the images.
        camera: rectified camera of the whole image.
        top: row of it at which they begin.
    """

    prev: RoadImage
    curr: RoadImage
    camera: CameraIntrinsics
    top: int


def top_of(camera: CameraIntrinsics) -> int:
    """The row at which the image of the road begins."""
    return int(np.clip(camera.cy, 0, camera.height // 2))


def road_image(gray: npt.NDArray[np.uint8], top: int) -> RoadImage:
    """The image of the road in a rectified gray image."""
    fine = cv2.GaussianBlur(gray[top:].astype(np.float32), (0, 0), _FINE_PX)
    return np.asarray(fine - cv2.blur(fine, (_COARSE_PX, _COARSE_PX)), dtype=np.float32)


def log_height_by_images(
    view: TwoView, images: RoadImages, normal: FloatArray, log_guess: float | None
) -> float | None:
    """Logarithm of the height over the road in lengths of the step, or None.

    Args:
        view: the motion.
        images: of the road.
        normal: (3,) of the road in the newer camera, pointing down.
        log_guess: what the height should be about, or None.
    """
    sweep = _Sweep(view, images, normal)
    if len(sweep.values) < _MIN_SAMPLES:
        return None
    steps = _STEP * np.arange(-_STEPS, _STEPS + 1)
    candidates = _WIDE if log_guess is None else log_guess + steps
    found = np.array([sweep.correlation(c) for c in candidates])
    best = int(np.argmax(found))
    if found[best] < _MIN_CORRELATION or best in (0, len(found) - 1):
        return None
    if log_guess is None:
        others = np.delete(found, np.arange(max(0, best - 3), min(len(found), best + 4)))
        if found[best] - others.max() < _MIN_LEAD:
            return None
    around = candidates[best] + _STEP * np.array([-0.5, 0.0, 0.5])
    height = _peak(around, [sweep.correlation(c) for c in around])
    shift_px = images.camera.fx * math.exp(-height) * _TYPICAL_DROP**2
    return height if shift_px > _MIN_SHIFT_PX else None


def _peak(places: FloatArray, values: list[float]) -> float:
    """Where the parabola through three equidistant values is highest."""
    left, middle, right = values
    bend = left - 2 * middle + right
    shift = 0.0 if bend >= 0 else float(np.clip(0.5 * (left - right) / bend, -1, 1))
    return float(places[1] + shift * (places[1] - places[0]))


class _Sweep:
    """Pixels of the road in the newer image, and how well a height maps them onto the older."""

    def __init__(self, view: TwoView, images: RoadImages, normal: FloatArray) -> None:
        self._images, self._direction = images, view.direction
        camera = images.camera
        height, width = images.curr.shape
        stride = max(2, round(math.sqrt(height * width / (4 * _SAMPLES))))
        columns, rows = np.meshgrid(np.arange(0, width, 2 * stride), np.arange(0, height, stride))
        x = (columns.ravel() - camera.cx) / camera.fx
        y = (rows.ravel() + images.top - camera.cy) / camera.fy
        rays = np.stack([x, y, np.ones_like(x)], axis=1)
        drop = rays @ normal
        road = (drop > _LOWEST) & (drop < _HIGHEST) & (np.abs(x) < _WIDTH * drop)
        self._turned, self._drop = rays[road] @ view.R.T, drop[road][:, None]
        self.values = images.curr[rows.ravel()[road], columns.ravel()[road]]

    def correlation(self, log_height: float) -> float:
        """Normalized correlation of the two images under this height, -1 to 1."""
        camera, prev = self._images.camera, self._images.prev
        points = self._turned + math.exp(-log_height) * self._drop * self._direction
        z = np.maximum(points[:, 2], 1e-6)
        u = (points[:, 0] / z * camera.fx + camera.cx).astype(np.float32)
        v = (points[:, 1] / z * camera.fy + camera.cy - self._images.top).astype(np.float32)
        seen = (u > 1) & (u < prev.shape[1] - 2) & (v > 1) & (v < prev.shape[0] - 2)
        if seen.sum() < _MIN_SAMPLES:
            return 0.0
        older = cv2.remap(prev, u[seen][:, None], v[seen][:, None], cv2.INTER_LINEAR)[:, 0]
        newer = self.values[seen]
        return float(older @ newer / math.sqrt(float(older @ older) * float(newer @ newer) + 1e-6))
