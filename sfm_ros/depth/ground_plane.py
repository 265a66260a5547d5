"""The plane of the road in inverse depth, where it is a linear function of the pixel."""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.depth.kernels import as_float32
from sfm_ros.depth.maps import Map, Mask
from sfm_ros.depth.propagation import PixelRays
from sfm_ros.depth.road_kernels import find_floating, mark_road, pick_points, sum_weighted

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
_LEAST = 1e-2
"""Inverse depth of the plane that an error is divided by."""
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
        points = _points(rays, inv_depth, known)
        if points.shape[1] < _MIN_POINTS:
            return
        last = np.array([0.0, 1 / _START_HEIGHT_M, 0.0]) if self._plane is None else self._plane
        plane, sums = last, np.empty((3, 4))
        for scale in _SCALES:
            sum_weighted(points, plane, scale, _LEAST, sums)
            stiff = _STIFF * (sums[2, 2] / points.shape[1])
            plane = np.linalg.solve(sums[:, :3] + stiff, sums[:, 3] + stiff @ last)
        x, y, w = points
        expected = plane[0] * x + plane[1] * y + plane[2]
        off = np.abs(w - expected) / np.maximum(expected, _LEAST)
        is_level = np.hypot(plane[0], plane[2]) < _MOST_TILT * plane[1]
        if is_level and np.mean(off < _AGREES) > _MIN_SUPPORT:
            self._plane = plane

    def inv_depth(self, rays: PixelRays) -> Map | None:
        """(h, w) inverse depth of the plane, 0 above the horizon; None if it is unknown."""
        if self._plane is None:
            return None
        a, b, c = self._plane.astype(np.float32)
        return np.maximum(a * rays.x + b * rays.y + c, np.float32(0))


def _points(rays: PixelRays, inv_depth: Map, known: Mask) -> Map:
    """(3, n) slopes and inverse depth of some points that may be road."""
    points = np.empty((3, inv_depth[::_EVERY, ::_EVERY].size), dtype=np.float32)
    limits = as_float32((_LOWEST, _WIDTH))
    return points[:, : pick_points(rays.x, rays.y, inv_depth, known, limits, _EVERY, points)]


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
    on_road, floating = np.empty(plane.shape, np.uint8), np.empty(plane.shape, np.bool_)
    mark_road(state, plane, np.float32(_ON_ROAD), on_road)
    solid = cv2.erode(on_road, np.ones((3, 3), np.uint8))
    find_floating(
        inv_depth, plane, solid, rays.y, as_float32((_IN_FRONT, _BELOW_CAMERA)), floating
    )
    return floating
