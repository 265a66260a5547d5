"""Depth as a color image, in one palette for all figures, topics and panels: bright is near."""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray, RgbImage

UNKNOWN_GRAY = 187
"""Gray level of unknown depth."""
DEFAULT_LIMITS = (1.0, 80.0)
_NEWEST_WEIGHT = 0.1
_LEAST_RATIO, _MOST_RATIO = 1.5, 25.0
"""Of the limits: so that noise on a blank depth map is not stretched to all colors, and the sky,
which is at hundreds of meters, leaves colors to what stands before it."""
_BAR, _LETTER_SCALE, _LETTER_COLOR = 20, 0.45, (240, 240, 240)
"""Of captions: height in pixels, OpenCV's scale of the font, RGB; both grow with wide images."""
_USUAL_WIDTH = 600


def color_of_depth(depth: DepthMap, limits: tuple[float, float]) -> RgbImage:
    """Colors of the logarithm of depth: bright = near, gray = unknown.

    Equal ratios of depth are equally far apart, so that a car stands out at 10 m and at 40 m.

    Args:
        depth: (h, w) in any unit.
        limits: depths of the brightest and of the darkest color.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    near, far = limits
    known = np.isfinite(depth) & (depth > 0)
    level = np.log(far / np.where(known, depth, np.float32(far))) / np.log(far / near)
    levels = np.rint(255 * np.clip(level, 0, 1)).astype(np.uint8)
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_MAGMA)
    rgb: RgbImage = np.ascontiguousarray(bgr[:, :, ::-1], dtype=np.uint8)
    rgb[~known] = UNKNOWN_GRAY
    return rgb


def limits_of(values: DepthMap) -> tuple[float, float]:
    """Depths of the brightest and of the darkest color for (N,) known depths, N >= 0."""
    if not values.size:
        return DEFAULT_LIMITS
    near, far = (float(v) for v in np.percentile(values, (2, 98)))
    far = min(far, near * _MOST_RATIO)
    widen = max(np.sqrt(_LEAST_RATIO / (far / near)), 1.0)
    return float(near / widen), float(far * widen)


def known_depths(depth: DepthMap) -> DepthMap:
    """(N,) the finite and positive ones of (h, w) depths."""
    known: DepthMap = depth[np.isfinite(depth) & (depth > 0)]
    return known


def captioned(rgb: RgbImage, caption: str) -> RgbImage:
    """The image (h, w, 3) below a bar with a line of text, which is made to fit into the width."""
    width = rgb.shape[1]
    enlarged = max(width / _USUAL_WIDTH, 1.0)
    bar = np.full((2 * round(_BAR * enlarged / 2), width, 3), 20, dtype=np.uint8)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, _LETTER_SCALE * enlarged
    length = cv2.getTextSize(caption, font, scale, 1)[0][0]
    scale *= min((width - 8) / max(length, 1), 1.0)
    start = (4, round(0.7 * len(bar)))
    cv2.putText(bar, caption, start, font, scale, _LETTER_COLOR, 1, cv2.LINE_AA)
    return np.vstack([bar, rgb])


class SteadyLimits:
    """Low-pass filtered limits for a stream of depth maps, so that its colors do not flicker."""

    def __init__(self) -> None:
        self._inverse: FloatArray | None = None

    def follow(self, depth: DepthMap) -> tuple[float, float]:
        """The limits for the next (h, w) depth map of the stream."""
        known = known_depths(depth[::4, ::4])
        if known.size:
            near, far = limits_of(known)
            newest = np.array([1 / near, 1 / far])
            if self._inverse is None:
                self._inverse = newest
            self._inverse = self._inverse + _NEWEST_WEIGHT * (newest - self._inverse)
        if self._inverse is None:
            return DEFAULT_LIMITS
        high, low = self._inverse
        return float(1 / high), float(1 / low)
