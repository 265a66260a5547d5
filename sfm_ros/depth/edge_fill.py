"""Spreads known values over an image without crossing its edges."""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.depth.filter_kernels import sum_along
from sfm_ros.depth.propagation import GrayImage, Map

_REACH, _EDGE_GRAY = 15.0, 15.0
"""Distance in pixels at half size, and difference in gray levels, over which values spread."""


def spread(gray: GrayImage, values: Map, weights: Map) -> tuple[Map, Map]:
    """Weighted sums around each pixel, of pixels that no edge of the image separates from it.

    The recursive form of the domain transform (Gastal & Oliveira, SIGGRAPH 2011, eq. 21: the
    feedback ``a^d``, with eq. 11 for the distance d), run in both directions on rows and columns
    of the image at half size, over sums instead of means so that unknown pixels do not count.

    Args:
        gray: (h, w) the image.
        values: (h, w), of any value where the weight is 0.
        weights: (h, w), 0 where the value is unknown.

    Returns:
        (h, w) sums of the weighted values and of the weights.
    """
    height, width = gray.shape
    half = (max(width // 2, 1), max(height // 2, 1))
    known = np.dstack([np.where(weights > 0, values * weights, 0), weights]).astype(np.float32)
    small = cv2.resize(gray, half, interpolation=cv2.INTER_AREA).astype(np.float32)
    sums = np.asarray(cv2.resize(known, half, interpolation=cv2.INTER_AREA), np.float32)
    sums = _along(sums.transpose(1, 0, 2), _feedback(small.T)).transpose(1, 0, 2)
    sums = _along(sums, _feedback(small))
    full = np.asarray(
        cv2.resize(sums, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )
    return full[..., 0], full[..., 1]


def _feedback(image: Map) -> Map:
    """(n - 1, m) what is handed on from each row to the next."""
    distance = 1 + _REACH / _EDGE_GRAY * np.abs(np.diff(image, axis=0))
    return np.exp(-np.sqrt(2) / _REACH * distance).astype(np.float32)


def _along(sums: Map, feedback: Map) -> Map:
    """(n, m, 2) sums over the first axis, from both sides."""
    total = np.empty(sums.shape, dtype=np.float32)
    sum_along(np.ascontiguousarray(sums), np.ascontiguousarray(feedback), total)
    return total
