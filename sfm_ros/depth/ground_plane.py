"""The plane of the road in inverse depth, where it is a linear function of the pixel."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.depth.propagation import Map, Mask, PixelRays

_LOWEST, _WIDTH = 0.08, 1.6
"""The road is searched this far below the optical axis, and this wide for its drop (slopes)."""
_START_HEIGHT_M = 1.6
_SCALES = (0.3, 0.15, 0.08, 0.05, 0.05)
"""Of the robust weight, relative, in the rounds of the fit."""
_MIN_POINTS, _MIN_SUPPORT = 80, 0.4
_AGREES = 0.08
"""Relative; a point that is off by more is not of the plane."""
_STIFF = np.diag([2.0, 0.02, 2.0])
"""Weight of the last plane (roll, height, pitch) against all points together."""
_MOST_TILT = 0.2
"""Slope of the plane against the camera's."""
_EVERY = 2
"""Rows and columns that are used."""


class GroundPlane:
    """Fits a plane to inverse depths below the horizon, frame by frame.

    A plane ``n . X = h`` has the inverse depth ``w = n . (x, y, 1) / h``: three coefficients,
    found by iteratively reweighted least squares with Geman-McClure weights.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the plane."""
        self._plane: FloatArray | None = None

    def update(self, rays: PixelRays, inv_depth: Map, known: Mask) -> None:
        """Fit to the known of (h, w) inverse depths; too few, or no plane, change nothing."""
        x, y, w = _points(rays, inv_depth, known)
        if len(w) < _MIN_POINTS:
            return
        last = np.array([0.0, 1 / _START_HEIGHT_M, 0.0]) if self._plane is None else self._plane
        A, plane = np.stack([x, y, np.ones_like(x)], axis=1).astype(np.float64), last
        for scale in _SCALES:
            expected = np.maximum(A @ plane, 1e-2)
            relative = (w - A @ plane) / expected
            weight = 1 / (expected * (1 + (relative / scale) ** 2)) ** 2
            stiff = _STIFF * weight.mean()
            weighted = A * weight[:, None]
            plane = np.linalg.solve(weighted.T @ A + stiff, weighted.T @ w + stiff @ last)
        off = np.abs(w - A @ plane) / np.maximum(A @ plane, 1e-2)
        is_level = np.hypot(plane[0], plane[2]) < _MOST_TILT * plane[1]
        if is_level and np.mean(off < _AGREES) > _MIN_SUPPORT:
            self._plane = plane

    def inv_depth(self, rays: PixelRays) -> Map | None:
        """(h, w) inverse depth of the plane, 0 above the horizon; None if it is unknown."""
        if self._plane is None:
            return None
        a, b, c = self._plane.astype(np.float32)
        return np.maximum(a * rays.x + b * rays.y + c, np.float32(0))


def _points(rays: PixelRays, inv_depth: Map, known: Mask) -> tuple[Map, Map, Map]:
    """Slopes and inverse depth of some points that may be road."""
    near = (rays.y > _LOWEST) & (np.abs(rays.x) < _WIDTH * rays.y) & known
    grid = (slice(None, None, _EVERY),) * 2
    used = near[grid]
    x, y = (np.broadcast_to(each, rays.shape)[grid][used] for each in (rays.x, rays.y))
    return x, y, inv_depth[grid][used]
