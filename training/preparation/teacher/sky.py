"""The sky of an image, where it is certain: bright, smooth, open to the top, above the road."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.preparation.teacher.view import Gray, Map, Mask, View

_SMOOTH_PX, _SMOOTH = 5, 14
"""Window, and the largest range of gray levels in it."""
_LEAST_BRIGHT, _BRIGHT = 95, 0.7
"""Gray level, and fraction of the brightest parts above the horizon."""
_TOP_ROWS = 8
"""The uppermost rows of rectified images are often dark."""
_LEAST_AREA, _LEAST_DOUBTFUL_AREA = 0.004, 0.0003
"""Fraction of the image."""
_BELOW = 0.03
"""A region with more of its area below the horizon is a wall, a truck or the road."""
_MARGIN_PX = 5
_AHEAD = 0.2
"""A region reaches into the middle of the image, up to this part of its width to either side: at
the sides of a street stand walls."""
_NEAR_M, _MOST_NEAR = 35.0, 0.15
"""A region is not the sky if more of it than this fraction is measured to be nearer: a wall in the
sun may be as bright and smooth."""
_DOUBTFUL_M = 15.0
"""What is measured to be nearer, in what may be the sky, is kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Sky:
    """Where the sky is.

    Attributes:
        certain: (h, w) it is the sky.
        possible: (h, w) it may be; what is measured there, beyond the nearest meters, may be the
            depth of its surroundings.
    """

    certain: Mask
    possible: Mask


def find_sky(view: View, gray: Gray, depth_m: Map) -> Sky:
    """The sky in an image of the camera, whose measured depth is (h, w), 0 where unknown."""
    above = view.drop_below() < 0
    if not above.any():
        return Sky(np.zeros(gray.shape, bool), np.zeros(gray.shape, bool))
    kernel = np.ones((_SMOOTH_PX, _SMOOTH_PX), np.uint8)
    span = cv2.subtract(cv2.dilate(gray, kernel), cv2.erode(gray, kernel))
    brightest = float(np.percentile(gray[above], 95))
    bright = np.asarray(cv2.blur(gray, (3, 3))) > max(_LEAST_BRIGHT, _BRIGHT * brightest)
    candidates = (np.asarray(span) < _SMOOTH) & bright
    count, labels, stats, _ = cv2.connectedComponentsWithStats(candidates.astype(np.uint8))
    left, top, width, _, area = stats.T
    below = np.bincount(labels[~above], minlength=count)
    near = np.bincount(labels[(depth_m > 0) & (depth_m < _NEAR_M)], minlength=count)
    is_sky = (near < _MOST_NEAR * area) & (area > _LEAST_AREA * gray.size)
    is_sky &= (below < _BELOW * area) & (top < _TOP_ROWS)
    middle, reach = view.camera.cx, _AHEAD * view.camera.width
    is_sky &= (left < middle + reach) & (left + width > middle - reach)
    is_possible = (area > _LEAST_DOUBTFUL_AREA * gray.size) & (top < view.camera.height // 2)
    is_sky[0] = is_possible[0] = False
    certain = is_sky[labels] & above
    is_far = (depth_m == 0) | (depth_m > _DOUBTFUL_M)
    return Sky(certain, _grown(is_possible[labels]) & above & is_far & ~certain)


def _grown(mask: Mask) -> Mask:
    kernel = np.ones((_MARGIN_PX, _MARGIN_PX), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel)) > 0
