"""Height of the camera over the road, in lengths of the last step, from triangulated tracks."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.motion.two_view import TwoView

_LOWEST = 0.09
"""Tangent of the angle below the road's horizon from which on a point may be road."""
_WIDTH = 1.6
"""Half width of the region of the road over the drop below the horizon."""
_MIN_PARALLAX_PX = 1.5
_MIN_POINTS = 12
_ABOVE = 0.008
"""By how much the most frequent height falls short: what is not road (grass, kerbs, wheels) lies
above it. Measured on rendered streets and on the first 200 frames of KITTI 03."""
_KERNEL = 0.035
"""Of the search for the most frequent height, on its logarithm."""
_PITCH_FRAMES = 30.0
_FORWARD = 0.95


class RoadPlane:
    """Finds the road in triangulated tracks; learns the camera's pitch from how it moves.

    A vehicle moves along the road, so that the mean direction of its motion lies in the road's
    plane; the camera is taken to have no roll.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the pitch."""
        self._pitch, self._weight = 0.0, 0.0

    @property
    def normal(self) -> FloatArray:
        """(3,) unit normal of the road in the camera, pointing down."""
        n = np.array([0.0, 1.0, -self._pitch])
        normal: FloatArray = n / np.linalg.norm(n)
        return normal

    def update_pitch(self, view: TwoView) -> None:
        """Learn from a motion ahead."""
        if view.direction[2] < _FORWARD or np.median(view.parallax) < 1.0:
            return
        self._weight = min(self._weight + 1.0, _PITCH_FRAMES)
        slope = float(view.direction[1] / view.direction[2])
        self._pitch += (slope - self._pitch) / self._weight

    def log_height(self, view: TwoView, rays: FloatArray) -> float | None:
        """Logarithm of the height over the road in lengths of the step; None if it is not seen.

        Args:
            view: motion of the tracks, with their depth.
            rays: (N, 3) rays of the newer frame.
        """
        drop = rays @ self.normal
        points = (
            view.inliers
            & (view.parallax > _MIN_PARALLAX_PX)
            & (view.depth > 0)
            & (drop > _LOWEST)
            & (np.abs(rays[:, 0]) < _WIDTH * drop)
        )
        if points.sum() < _MIN_POINTS:
            return None
        return _most_frequent(np.log(drop[points] * view.depth[points]))


def _most_frequent(heights: FloatArray) -> float | None:
    """Mode of the logarithms of the points' heights; None if too few points agree."""
    grid = np.linspace(heights.min(), heights.max(), 200)
    density = np.exp(-0.5 * ((grid[:, None] - heights) / _KERNEL) ** 2).sum(axis=1)
    mode = float(grid[int(np.argmax(density))])
    for _ in range(5):
        weights = np.exp(-0.5 * ((heights - mode) / _KERNEL) ** 2)
        mode = float(weights @ heights / weights.sum())
    return mode + _ABOVE if weights.sum() >= _MIN_POINTS / 2 else None
