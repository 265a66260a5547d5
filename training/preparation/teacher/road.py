"""The road where it has no texture, in three lanes: the plane that is measured around it.

Optical flow cannot follow smooth asphalt, so that triangulation leaves it out, most of all on
motorways. A network that never learns what it is may see a wall in it.
"""

from __future__ import annotations

import numpy as np

from training.preparation.teacher.checks import contrast
from training.preparation.teacher.view import Gray, Map, Mask, View

_OWN_LANE_M = (-1.5, 1.5)
_NEXT_LANES_M = (-5.0, -1.5), (1.5, 5.0)
_HALF_ROAD_M = 4.5
"""To either side of the camera, where the road is compared."""
_FARTHEST_M = 25.0
_SMOOTH = 5.0
"""Gray levels of standard deviation around a pixel, with less of which there is no texture."""
_LEAST_COMPARED, _AGREE, _MOST_OF = 200, 0.12, 0.85
"""Pixels whose depth is measured, and the part of them that must be on the road to so much."""
_OBSTACLE = 0.15
"""Part of a row of the lane that has texture and is not measured to be road: an obstacle may
stand there, and hide the road beyond."""
_ALIKE = 15.0
"""Gray levels from the own lane, with more of which a pixel beside it may be a smooth vehicle."""


def fill_road(view: View, gray: Gray, depth_m: Map, own: Mask) -> Map:
    """(h, w) depth with the unknown road filled, in each lane up to what may stand on it.

    The lanes beside the own one are filled only as far as it, and where they are as bright.

    Args:
        view: camera, and the plane of the road.
        gray: the image.
        depth_m: what is measured, 0 unknown; what is not positive is never compared.
        own: (h, w) the vehicle that carries the camera.
    """
    inv_road = view.road_inv_depth()
    near = inv_road > 1 / _FARTHEST_M
    across_m = np.asarray(view.x / np.maximum(inv_road, 1e-3), dtype=np.float32)
    compared = near & (np.abs(across_m) < _HALF_ROAD_M) & (depth_m > 0)
    ratio = depth_m[compared] * inv_road[compared]
    if len(ratio) < _LEAST_COMPARED:
        return depth_m
    middle = float(np.median(ratio))
    if abs(middle - 1) > _AGREE or np.mean(np.abs(ratio / middle - 1) < _AGREE) < _MOST_OF:
        return depth_m
    plane = middle / np.maximum(inv_road, 1e-3)
    is_road = (depth_m > 0) & (np.abs(depth_m / plane - 1) < _AGREE)
    has_texture = contrast(gray) >= _SMOOTH
    doubtful = ~is_road & (has_texture | (depth_m != 0))
    lane = near & _between(across_m, _OWN_LANE_M) & ~own
    filled = free = _up_to_obstacles(lane, doubtful)
    unlike = ~is_road & ~_as_bright(gray, free & ~doubtful)
    for edges in _NEXT_LANES_M:
        lane = near & _between(across_m, edges) & ~own & free.any(axis=1, keepdims=True)
        filled = filled | (_up_to_obstacles(lane, doubtful | unlike) & ~unlike)
    filled = filled & ~has_texture & (depth_m == 0)
    return np.where(filled, plane, depth_m).astype(np.float32)


def _between(across_m: Map, edges: tuple[float, float]) -> Mask:
    return np.asarray((across_m >= edges[0]) & (across_m < edges[1]))


def _up_to_obstacles(lane: Mask, doubtful: Mask) -> Mask:
    """The rows of a lane with no blocked row from there to the bottom."""
    is_blocked = (lane & doubtful).sum(axis=1) > _OBSTACLE * np.maximum(lane.sum(axis=1), 1)
    free = np.cumsum(is_blocked[::-1])[::-1] == 0
    return lane & free[:, None]


def _as_bright(gray: Gray, lane: Mask) -> Mask:
    """What is as bright as the lane is in the same row."""
    level = np.where(lane, gray, 0).sum(axis=1) / np.maximum(lane.sum(axis=1), 1)
    return np.abs(gray - level[:, None]) < _ALIKE
