"""The plane of the road in inverse depth, where it is a linear function of the pixel."""

from __future__ import annotations

import cv2
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
_ON_ROAD = 0.1
"""Relative difference of the inverse depth up to which a pixel is of the road."""
_IN_FRONT, _BELOW_CAMERA = 1.25, 0.01
"""A point is in front of the road below it if it is nearer by this factor; slope of its ray."""
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


def floats(rays: PixelRays, inv_depth: Map, state: Map, plane: Map) -> Mask:
    """Where a point would float above road that is seen below it.

    Nothing that stands does so below the height of the camera. A vehicle that comes toward the
    camera looks nearer than it is, and the road in front of its wheels remains in view.

    Args:
        rays: of the grid.
        inv_depth: (h, w) what is to be checked.
        state: (h, w) inverse depth of all pixels.
        plane: (h, w) that of the road, 0 above the horizon.
    """
    on_road = ((plane > 0) & (np.abs(state - plane) < _ON_ROAD * plane)).astype(np.uint8)
    solid = cv2.erode(on_road, np.ones((3, 3), np.uint8)) > 0
    road = np.where(solid, plane, np.float32(np.inf))
    farthest = np.minimum.accumulate(road[::-1], axis=0)[::-1]
    return (rays.y > _BELOW_CAMERA) & (inv_depth > _IN_FRONT * farthest)
