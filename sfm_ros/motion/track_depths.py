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
_MIN_PARALLAX_PX = 4.0
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
        usable, older = _is_clear(view), _depth_in_older(view, pair)
        usable &= older > 0
        _, new, known = np.intersect1d(
            pair.ids[usable], self._ids, assume_unique=True, return_indices=True
        )
        if len(known) < _MIN_TRACKS:
            return None
        variance = self._variance[known] + (_SIGMA_PX / view.parallax[usable][new]) ** 2
        return _robust_mean(self._log_depth[known] - np.log(older[usable][new]), variance)

    def fuse(self, view: TwoView, pair: TrackedPair, length: float) -> None:
        """Advance the depths by a step of known length, and average in what it triangulates."""
        usable, older = _is_clear(view), _depth_in_older(view, pair)
        usable &= older > 0
        ids, log_depth = pair.ids[usable], np.log(length * view.depth[usable])
        variance = (_SIGMA_PX / view.parallax[usable]) ** 2 + _PROCESS
        _, new, known = np.intersect1d(ids, self._ids, assume_unique=True, return_indices=True)
        # A point of known depth in the older camera, moved into the newer one.
        moved = np.exp(self._log_depth[known]) * (pair.rays_prev[usable][new] @ view.R[:, 2])
        moved -= length * float(view.direction @ view.R[:, 2])
        alive = moved > 0
        new, known, moved = new[alive], known[alive], moved[alive]
        predicted, spread = np.log(moved), self._variance[known] + _PROCESS
        agrees = np.abs(predicted - log_depth[new]) < 3 * np.sqrt(spread + variance[new])
        new, predicted, spread = new[agrees], predicted[agrees], spread[agrees]
        gain = spread / (spread + variance[new])
        log_depth[new] = predicted + gain * (log_depth[new] - predicted)
        variance[new] = spread * (1 - gain)
        self._ids, self._log_depth, self._variance = ids, log_depth, variance


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
    usable = _is_clear(view)
    columns = np.rint(pair.rays_curr[:, 0] * camera.fx + camera.cx)
    rows = np.rint(pair.rays_curr[:, 1] * camera.fy + camera.cy)
    usable &= (columns >= 0) & (columns < camera.width) & (rows >= 0) & (rows < camera.height)
    predicted = depth[rows[usable].astype(int), columns[usable].astype(int)].astype(np.float64)
    known = np.isfinite(predicted) & (predicted > 0)
    if known.sum() < _MIN_TRACKS:
        return None
    return float(np.median(np.log(predicted[known] / view.depth[usable][known])))


def _is_clear(view: TwoView) -> npt.NDArray[np.bool_]:
    return view.inliers & (view.parallax > _MIN_PARALLAX_PX) & (view.depth > 0)


def _robust_mean(values: FloatArray, variance: FloatArray) -> tuple[float, float]:
    """Weighted mean, outliers down-weighted (Geman-McClure), and its standard deviation."""
    mean = float(np.median(values))
    for _ in range(10):
        w = 1 / (variance * (1 + (values - mean) ** 2 / (_KERNEL**2 * variance)) ** 2)
        mean = float(w @ values / w.sum())
    return mean, 1 / math.sqrt(float(w.sum()))
