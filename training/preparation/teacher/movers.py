"""What moves by itself: no static point explains it in several images, or it lies under the road.

A vehicle ahead at the same speed has no flow: by the motion of the camera it is at infinity. Its
lower part then lies under the road, which static things never do. Its upper part, in front of the
sky or the far street, cannot be recognized by itself; it is taken from the place where the lower
part stands on the road, up to the height of a truck.
"""

from __future__ import annotations

import cv2
import numpy as np

from training.preparation.teacher.consensus import Consensus
from training.preparation.teacher.view import Mask, View

_OPENED_PX, _GROWN_PX = 5, 9
_LEAST_AREA = 0.0015
"""Fraction of the image; smaller regions are errors of the flow."""
_TALL_M = 3.5
_REACHES_UP = 0.35
"""How near to the horizon a region comes that is a vehicle: part of the way up from its foot."""
_BEHIND = 1.25
"""Depth over that of the foot, from which on something above it is not a part of the vehicle."""
_NEAREST_DROP = 0.02


def find_movers(view: View, consensus: Consensus, usable: Mask) -> Mask:
    """(h, w) where something moves.

    Args:
        view: camera of the image.
        consensus: what its pairs show.
        usable: (h, w) where flow is to be trusted: the image has texture, and does not show the
            vehicle that carries the camera.
    """
    seeds = (consensus.is_below | consensus.is_contradicted) & usable
    kernel = np.ones((_OPENED_PX, _OPENED_PX), np.uint8)
    opened = np.asarray(cv2.morphologyEx(seeds.astype(np.uint8), cv2.MORPH_OPEN, kernel))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    is_large = stats[:, cv2.CC_STAT_AREA] > _LEAST_AREA * seeds.size
    is_large[0] = False
    found = is_large[labels]
    behind = np.zeros_like(found)
    drop = view.drop_below()
    for left, top, width, height, _ in stats[is_large].tolist():
        foot, middle = top + height - 1, left + width // 2
        _add_upper_part(view, consensus, drop, (left, top, width, foot, middle), behind)
    grown = cv2.dilate(found.astype(np.uint8), np.ones((_GROWN_PX, _GROWN_PX), np.uint8))
    return (np.asarray(grown) > 0) | behind


def _add_upper_part(
    view: View,
    consensus: Consensus,
    drop: np.ndarray,
    region: tuple[int, int, int, int, int],
    result: Mask,
) -> None:
    """Mark what is above a region that stands on the road, unless it is near enough to be static.

    Args:
        view: camera of the image.
        consensus: what its pairs show.
        drop: (h, w) see `View.drop_below`.
        region: left and top of it, its width, the row and column of its foot.
        result: (h, w) in which it is marked.
    """
    left, top, width, foot, middle = region
    if drop[foot, middle] < _NEAREST_DROP or drop[top, middle] > _REACHES_UP * drop[foot, middle]:
        return
    distance = view.height_m / float(drop[foot, middle])
    highest = max(0, foot - round(view.camera.fy * _TALL_M / distance))
    part = slice(highest, foot + 1), slice(left, left + width)
    depth = consensus.depth_m[part]
    result[part] |= (depth == 0) | (depth > _BEHIND * distance)
