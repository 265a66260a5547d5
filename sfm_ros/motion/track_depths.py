"""Depth of tracks over three frames, and depth of tracks as the network predicts it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray
from sfm_ros.motion.tracker import TrackedPair
from sfm_ros.motion.two_view import TwoView

_MIN_PARALLAX_PX = 2.0
_MOST_PARALLAX_PX = 20.0
_MIN_TRACKS = 15
_KERNEL = 0.05


class TrackDepths:
    """Remembers the depth of the last pair's tracks and compares it with the next."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last pair."""
        self._ids = np.zeros(0, np.int64)
        self._depth = np.zeros(0)
        self._parallax = np.zeros(0)

    def log_ratio(self, view: TwoView, pair: TrackedPair) -> tuple[float, float] | None:
        """Logarithm of the newest step's length over the last one's, and its deviation.

        None if too few tracks are seen in the three frames.
        """
        usable = _is_clear(view)
        older = (pair.rays_curr * view.depth[:, None]) @ view.R.T + view.direction
        depth_prev = older[:, 2]
        usable &= depth_prev > 0
        _, new, last = np.intersect1d(
            pair.ids[usable], self._ids, assume_unique=True, return_indices=True
        )
        ratio = None
        if len(last) >= _MIN_TRACKS:
            ratios = np.log(self._depth[last] / depth_prev[usable][new])
            parallax = np.minimum(view.parallax[usable][new], self._parallax[last])
            ratio = _robust_mean(ratios, np.minimum(parallax, _MOST_PARALLAX_PX) ** 2)
        self._ids = pair.ids[usable]
        self._depth, self._parallax = view.depth[usable], view.parallax[usable]
        return ratio


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


def _robust_mean(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """Mean by iterated weights (Geman-McClure), and its standard deviation."""
    mean = float(np.median(values))
    for _ in range(10):
        w = weights / (1 + ((values - mean) / _KERNEL) ** 2) ** 2
        mean = float(w @ values / w.sum())
    spread = math.sqrt(float(w @ (values - mean) ** 2 / w.sum()))
    return mean, spread / math.sqrt(len(values) / 4)
