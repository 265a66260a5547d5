"""Depth baselines that use no image: a constant depth, and the median depth of each image row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap
from sfm_ros.evaluation.depth.metrics import Mask

CONSTANT, ROW_MEDIAN = "constant depth", "row median depth"


class DepthBaselines:
    """Both baselines, fitted to the ground truth of a data set.

    Args:
        min_depth, max_depth: caps in meters.
    """

    def __init__(self, min_depth: float, max_depth: float) -> None:
        self._medians: list[float] = []
        self._rows = RowMedians(min_depth, max_depth)

    def add(self, ground_truth: DepthMap, valid: Mask) -> None:
        """Add the valid pixels of an image, (H, W) each."""
        if np.any(valid):
            self._medians.append(float(np.median(ground_truth[valid])))
            self._rows.add(ground_truth, valid)

    def predict(self, height: int, width: int) -> dict[str, DepthMap]:
        """Name -> (height, width) meters; NaN before any image was added."""
        constant = np.median(self._medians) if self._medians else np.nan
        return {
            CONSTANT: np.full((height, width), constant, dtype=np.float32),
            ROW_MEDIAN: self._rows.depth(height, width),
        }


class RowMedians:
    """Median depth of each image row over a data set, from histograms of log depth.

    Rows without ground truth take the median of the nearest row that has any. Images of slightly
    different heights are matched by relative height.
    """

    _BINS = 4096

    def __init__(self, min_depth: float, max_depth: float) -> None:
        self._low, self._high = np.log(min_depth), np.log(max_depth)
        self._counts: npt.NDArray[np.int64] | None = None

    def add(self, ground_truth: DepthMap, valid: Mask) -> None:
        """Count the valid pixels of an image."""
        if self._counts is None:
            self._counts = np.zeros((ground_truth.shape[0], self._BINS), dtype=np.int64)
        height = len(self._counts)
        rows = np.nonzero(valid)[0] * height // ground_truth.shape[0]
        depths = np.log(ground_truth[valid].astype(np.float64))
        fraction = (depths - self._low) / (self._high - self._low)
        bins = np.clip((fraction * self._BINS).astype(np.int64), 0, self._BINS - 1)
        flat = np.bincount(rows * self._BINS + bins, minlength=self._counts.size)
        self._counts += flat.reshape(self._counts.shape)

    def depth(self, height: int, width: int) -> DepthMap:
        """(height, width) meters; NaN if nothing was counted."""
        if self._counts is None:
            return np.full((height, width), np.nan, dtype=np.float32)
        below = np.cumsum(self._counts, axis=1)
        known = np.flatnonzero(below[:, -1])
        middle = np.argmax(2 * below[known] >= below[known, -1:], axis=1)
        bin_width = (self._high - self._low) / self._BINS
        medians = np.exp(self._low + (middle + 0.5) * bin_width)
        rows = np.arange(height) * len(self._counts) // height
        nearest = np.abs(rows[:, None] - known[None]).argmin(axis=1)
        return np.repeat(medians[nearest].astype(np.float32)[:, None], width, axis=1)
