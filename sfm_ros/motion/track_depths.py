"""Depth of tracks over all frames that see them, and as the network predicts it.

Each track keeps the logarithm of its depth and the variance of it, in published units. A new pair
triangulates the same points in lengths of its step: the comparison gives that length. The tracks
thus carry the scale from frame to frame, with a drift far below that of a chain of ratios.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray
from sfm_ros.motion.tracker import TrackedPair
from sfm_ros.motion.two_view import TwoView

_SIGMA_PX = 0.2
"""Of the position of a keypoint across its epipolar line."""
_MIN_PARALLAX_PX = (4.0, 1.5, 0.6)
"""Tracks with less are left out, unless too few have more: the camera is slow."""
_NETWORK_PARALLAX_PX = 2.0
_PROCESS = 0.003**2
"""Variance that a depth gains per frame."""
_MIN_TRACKS = 15
_KERNEL = 3.0
"""Standard deviations beyond which a track loses weight."""


class TrackDepths:
    """Depths of the tracks of the newest frame."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the tracks."""
        self._ids = np.zeros(0, np.int64)
        self._log_depth, self._variance = np.zeros(0), np.zeros(0)

    def rescale(self, log_factor: float) -> None:
        """The scale was corrected."""
        self._log_depth = self._log_depth + log_factor

    def log_length(self, view: TwoView, pair: TrackedPair) -> tuple[float, float] | None:
        """Logarithm of the newest step's length and its deviation; None with too few tracks."""
        older = _depth_in_older(view, pair)
        new, known = pair.common(self._ids)
        for parallax in _MIN_PARALLAX_PX:
            clear = (_is_clear(view, parallax) & (older > 0))[new]
            if clear.sum() >= _MIN_TRACKS:
                new, known = new[clear], known[clear]
                variance = self._variance[known] + (_SIGMA_PX / view.parallax[new]) ** 2
                return _robust_mean(self._log_depth[known] - np.log(older[new]), variance)
        return None

    def fuse(self, view: TwoView, pair: TrackedPair, length: float) -> None:
        """Advance the depths by a step of known length, and average in what it triangulates."""
        predicted, spread = self._advanced(view, pair, length)
        seen = _is_clear(view, _MIN_PARALLAX_PX[0]) & (_depth_in_older(view, pair) > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            log_depth = np.where(seen, np.log(length * view.depth), np.nan)
            variance = np.where(seen, (_SIGMA_PX / view.parallax) ** 2 + _PROCESS, np.inf)
        both = seen & np.isfinite(predicted)
        both &= np.abs(predicted - log_depth) < 3 * np.sqrt(spread + variance)
        gain = spread[both] / (spread[both] + variance[both])
        log_depth[both] = predicted[both] + gain * (log_depth[both] - predicted[both])
        variance[both] = spread[both] * (1 - gain)
        only_known = ~seen & np.isfinite(predicted)
        log_depth[only_known], variance[only_known] = predicted[only_known], spread[only_known]
        kept = np.isfinite(log_depth)
        self._ids = pair.ids[kept]
        self._log_depth, self._variance = log_depth[kept], variance[kept]

    def _advanced(
        self, view: TwoView, pair: TrackedPair, length: float
    ) -> tuple[FloatArray, FloatArray]:
        """(N,) logarithms of the tracks' depth in the newer camera, NaN if unknown; variances."""
        new, known = pair.common(self._ids)
        # Points of known depth in the older camera, moved into the newer one.
        moved = np.exp(self._log_depth[known]) * (pair.rays_prev[new] @ view.R[:, 2])
        moved -= length * float(view.direction @ view.R[:, 2])
        alive = moved > 0
        log_depth, variance = np.full(len(pair), np.nan), np.full(len(pair), np.inf)
        log_depth[new[alive]] = np.log(moved[alive])
        variance[new[alive]] = self._variance[known][alive] + _PROCESS
        return log_depth, variance


def _depth_in_older(view: TwoView, pair: TrackedPair) -> FloatArray:
    """(N,) depth of the tracks in the older camera, lengths of the step."""
    depth: FloatArray = view.depth * (pair.rays_curr @ view.R[2]) + view.direction[2]
    return depth


def log_network_length(
    view: TwoView, pair: TrackedPair, depth: DepthMap, camera: CameraIntrinsics
) -> float | None:
    """Logarithm of the step's length in network units, by the predicted depth of the tracks.

    Args:
        view: motion of the tracks, with their depth.
        pair: the tracks.
        depth: (h, w) predicted depth of the newer frame.
        camera: pinhole camera of that grid.
    """
    usable = _is_clear(view, _NETWORK_PARALLAX_PX)
    columns = np.rint(pair.rays_curr[:, 0] * camera.fx + camera.cx)
    rows = np.rint(pair.rays_curr[:, 1] * camera.fy + camera.cy)
    usable &= (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    predicted = depth[rows[usable].astype(int), columns[usable].astype(int)].astype(np.float64)
    known = np.isfinite(predicted) & (predicted > 0)
    if known.sum() < _MIN_TRACKS:
        return None
    return float(np.median(np.log(predicted[known] / view.depth[usable][known])))


def _is_clear(view: TwoView, parallax_px: float) -> npt.NDArray[np.bool_]:
    return view.inliers & (view.parallax > parallax_px) & (view.depth > 0)


def _robust_mean(values: FloatArray, variance: FloatArray) -> tuple[float, float]:
    """Weighted mean, outliers down-weighted (Geman-McClure), and its standard deviation."""
    mean = float(np.median(values))
    for _ in range(10):
        w = 1 / (variance * (1 + (values - mean) ** 2 / (_KERNEL**2 * variance)) ** 2)
        mean = float(w @ values / w.sum())
    return mean, 1 / math.sqrt(float(w.sum()))
