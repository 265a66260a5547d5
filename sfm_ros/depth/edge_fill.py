"""Spreads known values over an image without crossing its edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.depth.filter_kernels import sum_along
from sfm_ros.depth.maps import GrayImage, Map

_REACH, _EDGE_GRAY = 15.0, 15.0
"""Distance in pixels at half size, and difference in gray levels, over which values spread."""


def spread(gray: GrayImage, maps: Sequence[Map]) -> list[Map]:
    """Weighted sums around each pixel, of pixels that no edge of the image separates from it.

    The recursive form of the domain transform (Gastal & Oliveira, SIGGRAPH 2011, eq. 21: the
    feedback ``a^d``, with eq. 11 for the distance d), run in both directions on rows and columns
    of the image at half size, over sums instead of means so that unknown pixels do not count.

    Args:
        gray: (h, w) the image.
        maps: (h, w) each, 0 where they are unknown.

    Returns:
        (h, w) sums for each map.
    """
    height, width = gray.shape
    half = (max(width // 2, 1), max(height // 2, 1))
    small = cv2.resize(gray, half, interpolation=cv2.INTER_AREA).astype(np.float32)
    on_rows, on_columns = _feedback(cv2.transpose(small)), _feedback(small)
    found = []
    for each in maps:
        sums = cv2.resize(each, half, interpolation=cv2.INTER_AREA)
        sums = cv2.transpose(_along(cv2.transpose(sums), on_rows))
        sums = _along(sums, on_columns)
        full = cv2.resize(sums, (width, height), interpolation=cv2.INTER_LINEAR)
        found.append(np.asarray(full, dtype=np.float32))
    return found


def _feedback(image: npt.NDArray) -> Map:
    """(n - 1, m) what is handed on from each row to the next."""
    distance = 1 + np.float32(_REACH / _EDGE_GRAY) * np.abs(np.diff(image, axis=0))
    return np.exp(np.float32(-np.sqrt(2) / _REACH) * distance).astype(np.float32, copy=False)


def _along(sums: npt.NDArray, feedback: Map) -> Map:
    """(n, m) sums over the first axis, from both sides."""
    total = np.empty(sums.shape, dtype=np.float32)
    sum_along(sums, feedback, total)
    return total
