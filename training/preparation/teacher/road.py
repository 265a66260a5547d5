"""The road right ahead where it has no texture: the plane that is measured around it.

Optical flow cannot follow smooth asphalt, so that triangulation leaves it out, most of all on
motorways. A network that never learns what it is may see a wall in it.
"""

from __future__ import annotations

import numpy as np

from training.preparation.teacher.checks import contrast
from training.preparation.teacher.view import Gray, Map, Mask, View

_HALF_LANE_M, _HALF_ROAD_M = 1.5, 4.5
"""To either side of the camera: what is filled, and where the road is compared."""
_FARTHEST_M = 25.0
_SMOOTH = 5.0
"""Gray levels of standard deviation around a pixel, with less of which there is no texture."""
_LEAST_COMPARED, _AGREE, _MOST_OF = 200, 0.12, 0.85
"""Pixels whose depth is measured, and the part of them that must be on the road to so much."""
_OBSTACLE = 0.15
"""Part of a row of the lane that has texture and is not measured to be road: an obstacle may
stand there, and hide the road beyond."""


def fill_road(view: View, gray: Gray, depth_m: Map, own: Mask) -> Map:
    """(h, w) depth with the unknown road of the own lane filled, up to what may stand on it.

    Args:
        view: camera, and the plane of the road.
        gray: the image.
        depth_m: what is measured, 0 unknown; what is not positive is never compared.
        own: (h, w) the vehicle that carries the camera.
    """
    inv_road = view.road_inv_depth()
    near = inv_road > 1 / _FARTHEST_M
    across_m = np.abs(view.x) / np.maximum(inv_road, 1e-3)
    compared = near & (across_m < _HALF_ROAD_M) & (depth_m > 0)
    ratio = depth_m[compared] * inv_road[compared]
    if len(ratio) < _LEAST_COMPARED:
        return depth_m
    middle = float(np.median(ratio))
    if abs(middle - 1) > _AGREE or np.mean(np.abs(ratio / middle - 1) < _AGREE) < _MOST_OF:
        return depth_m
    lane = near & (across_m < _HALF_LANE_M) & ~own
    plane = middle / np.maximum(inv_road, 1e-3)
    is_road = (depth_m > 0) & (np.abs(depth_m / plane - 1) < _AGREE)
    has_texture = contrast(gray) >= _SMOOTH
    doubtful = (lane & ~is_road & (has_texture | (depth_m != 0))).sum(axis=1)
    is_blocked = doubtful > _OBSTACLE * np.maximum(lane.sum(axis=1), 1)
    free = np.cumsum(is_blocked[::-1])[::-1] == 0  # no blocked row from here to the bottom
    filled = lane & free[:, None] & ~has_texture & (depth_m == 0)
    return np.where(filled, plane, depth_m).astype(np.float32)
