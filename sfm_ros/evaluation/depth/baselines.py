"""Depth baselines that use no image: a constant depth, and the median depth of each image row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap
from sfm_ros.evaluation.depth.metrics import Mask

CONSTANT, ROW_MEDIAN = "constant depth", "row median depth"
_BINS = 4096


class DepthBaselines:
    """Both baselines, fitted to the ground truth of a data set.

    The medians of the rows are those of histograms of log depth. Rows without ground truth take
    the median of the nearest row that has any. Images of slightly different heights are matched by
    relative height.

    Args:
        min_depth, max_depth: caps in meters.
    """

    def __init__(self, min_depth: float, max_depth: float) -> None:
        self._low, self._high = np.log(min_depth), np.log(max_depth)
        self._medians: list[float] = []
        self._counts: npt.NDArray[np.int64] = np.zeros((0, _BINS), dtype=np.int64)

    def add(self, ground_truth: DepthMap, valid: Mask) -> None:
        """Add the valid pixels of an image, (H, W) each."""
        if not np.any(valid):
            return
        self._medians.append(float(np.median(ground_truth[valid])))
        if not len(self._counts):
            self._counts = np.zeros((ground_truth.shape[0], _BINS), dtype=np.int64)
        rows = np.nonzero(valid)[0] * len(self._counts) // ground_truth.shape[0]
        depths = np.log(ground_truth[valid].astype(np.float64))
        fraction = (depths - self._low) / (self._high - self._low)
        bins = np.clip((fraction * _BINS).astype(np.int64), 0, _BINS - 1)
        flat = np.bincount(rows * _BINS + bins, minlength=self._counts.size)
        self._counts += flat.reshape(self._counts.shape)

    def predict(self, height: int, width: int) -> dict[str, DepthMap]:
        """Name -> (height, width) meters; NaN before any image was added."""
        constant, rows = np.nan, np.full(height, np.nan)
        if self._medians:
            constant, rows = np.median(self._medians), self._row_medians(height)
        return {
            CONSTANT: np.full((height, width), constant, dtype=np.float32),
            ROW_MEDIAN: np.repeat(rows.astype(np.float32)[:, None], width, axis=1),
        }

    def _row_medians(self, height: int) -> npt.NDArray[np.float64]:
        """(height,) meters."""
        below = np.cumsum(self._counts, axis=1)
        known = np.flatnonzero(below[:, -1])
        middle = np.argmax(2 * below[known] >= below[known, -1:], axis=1)
        bin_width = (self._high - self._low) / _BINS
        medians = np.exp(self._low + (middle + 0.5) * bin_width)
        rows = np.arange(height) * len(self._counts) // height
        return medians[np.abs(rows[:, None] - known[None]).argmin(axis=1)]
