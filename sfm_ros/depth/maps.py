"""Operations on maps (h, w) that numpy takes several times as long for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sfm_ros.depth.kernels import compiled

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
GrayImage = npt.NDArray[np.uint8]

_EVERY = 2
"""Rows and columns that are enough for a median."""


def new_maps(count: int, shape: tuple[int, ...]) -> tuple[Map, ...]:
    """Maps to be set."""
    return tuple(np.empty(shape, dtype=np.float32) for _ in range(count))


def select(mask: Mask, values: Map, others: Map) -> Map:
    """The values where the mask is True, else the others; `numpy.where` guesses at each pixel."""
    (result,) = new_maps(1, values.shape)
    _select(mask, values, others, result)
    return result


def sample(values: Map, known: Mask) -> Map:
    """(n,) some of the values that are known, enough for a median."""
    # One longer, since each value is written before it is counted.
    packed = np.empty(values[::_EVERY, ::_EVERY].size + 1, dtype=np.float32)
    return packed[: _pack(values, known, _EVERY, packed)]


def median(values: Map) -> float:
    """Median of (n,) finite values, n > 0; `numpy.median` looks for NaN, too."""
    middle = values.size // 2
    ordered = np.partition(values, middle)
    high = ordered[middle]
    low = high if values.size % 2 else ordered[:middle].max()
    return float((low + high) / 2)


@compiled
def _select(mask, values, others, result):  # type: ignore[no-untyped-def]
    height, width = mask.shape
    for y in range(height):
        for x in range(width):
            value, other = values[y, x], others[y, x]
            result[y, x] = value if mask[y, x] else other


@compiled
def _pack(values, known, every, packed):  # type: ignore[no-untyped-def]
    """Put what is known of every n-th row and column into ``packed``; returns how much it is."""
    count = 0
    for y in range(0, values.shape[0], every):
        for x in range(0, values.shape[1], every):
            packed[count] = values[y, x]
            count += known[y, x]
    return count
