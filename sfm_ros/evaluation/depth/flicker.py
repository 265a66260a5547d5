"""Temporal consistency of depth: how far two consecutive maps differ along the motion."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray, OdometryEstimate
from sfm_ros.depth.smoothing import log_change

_EVERY = 5
"""Pairs of frames that are compared: every n-th."""
_LEAST = 0.1
"""Fraction of the pixels that must be seen by both frames."""


class DepthFlicker:
    """Mean of |log depth - log depth of the frame before, moved along the motion|.

    0.05 means that a surface jumps by 5 % from frame to frame. Surfaces that one frame hides from
    the other are included: the exact depth of rendered streets has 0.02 to 0.04.
    """

    def __init__(self) -> None:
        self._last: OdometryEstimate | None = None
        self._frames = 0
        self._means: list[float] = []
        self._medians: list[float] = []

    def add(self, estimate: OdometryEstimate) -> None:
        """Take the next estimate; those without depth or motion are not compared."""
        last, self._last = self._last, estimate
        self._frames += 1
        if self._frames % _EVERY or last is None or last.depth is None:
            return
        T, camera = estimate.T_prev_curr, estimate.depth_intrinsics
        follows = estimate.stamp_ns - estimate.dt_ns == last.stamp_ns
        if T is None or estimate.depth is None or camera is None or not follows:
            return
        changes = depth_changes(estimate.depth, last.depth, camera.K, T)
        if changes is not None:
            self._means.append(float(changes.mean()))
            self._medians.append(float(np.median(changes)))

    @property
    def mean(self) -> float | None:
        """Over the compared pairs; None if there is none."""
        return float(np.mean(self._means)) if self._means else None

    @property
    def median(self) -> float | None:
        """Mean over the compared pairs of the median over their pixels; None if there is none."""
        return float(np.mean(self._medians)) if self._medians else None


def depth_changes(
    depth: DepthMap, depth_before: DepthMap, K: FloatArray, T_prev_curr: FloatArray
) -> FloatArray | None:
    """(n,) size of `log_change` at the pixels that both frames see; None if too few."""
    change = np.abs(log_change(depth, depth_before, K, T_prev_curr))
    known = np.isfinite(change)
    return change[known] if known.mean() > _LEAST else None
