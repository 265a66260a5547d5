"""Depth as a color image: bright is near."""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray, RgbImage

UNKNOWN_GRAY = 187
"""Gray level of unknown depth."""
DEFAULT_LIMITS = (1.0, 80.0)
_NEWEST_WEIGHT = 0.1


def color_of_depth(depth: DepthMap, limits: tuple[float, float]) -> RgbImage:
    """Colors of inverse depth: bright = near, gray = unknown.

    Args:
        depth: (h, w) in any unit.
        limits: depths of the brightest and of the darkest color.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    near, far = limits
    known = np.isfinite(depth) & (depth > 0)
    inverse = 1.0 / np.where(known, depth, np.float32(far))
    level = (inverse - 1 / far) / (1 / near - 1 / far)
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
    return (near, far) if near < far else (near * 0.99, near * 1.01)


class SteadyLimits:
    """Low-pass filtered limits for a stream of depth maps, so that its colors do not flicker."""

    def __init__(self) -> None:
        self._inverse: FloatArray | None = None

    def follow(self, depth: DepthMap) -> tuple[float, float]:
        """The limits for the next (h, w) depth map of the stream."""
        sample = depth[::4, ::4]
        known = sample[np.isfinite(sample) & (sample > 0)]
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
