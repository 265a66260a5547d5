"""Depth that is consistent in time: each map is compared with the last one along the motion."""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.geometry import back_project

_MOST_CHANGE = 0.3
"""Of the logarithm of the depth: what changes by more was hidden, or moves by itself."""


class DepthSmoother:
    """Draws each depth map toward the last one, carried along by the motion.

    With weight w the error of a single prediction counts 1 - w, and decays with w per frame.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last map."""
        self._last: DepthMap | None = None

    def smooth(
        self, depth: DepthMap, K: FloatArray, T_prev_curr: FloatArray | None, weight: float
    ) -> DepthMap:
        """The map to publish.

        Args:
            depth: (h, w) in the unit of the motion, NaN if unknown.
            K: (3, 3) of its grid.
            T_prev_curr: (4, 4) motion since the last map, or None if it is unknown.
            weight: of the last map, 0 to below 1.
        """
        last = self._last
        if last is not None and weight > 0 and T_prev_curr is not None:
            if last.shape == depth.shape:
                change = log_change(depth, last, K, T_prev_curr)
                agrees = np.abs(change) < _MOST_CHANGE  # False for NaN too
                factor = np.exp(-weight * np.where(agrees, change, 0.0))
                depth = (depth * factor).astype(np.float32)
        self._last = depth if weight > 0 else None
        return depth


def log_change(
    depth: DepthMap, depth_before: DepthMap, K: FloatArray, T_prev_curr: FloatArray
) -> FloatArray:
    """(h, w) logarithm of the depth over that of the frame before; NaN where one is unknown.

    The points of the newer map are compared with the older one where that frame saw them.

    Args:
        depth, depth_before: (h, w) of two frames on one grid, in the unit of the motion; NaN or
            0 if unknown.
        K: (3, 3) of the grid.
        T_prev_curr: (4, 4) motion between them.
    """
    depth, depth_before = (np.where(d > 0, d, np.float32(np.nan)) for d in (depth, depth_before))
    R, t = T_prev_curr[:3, :3], T_prev_curr[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        points = back_project(depth, K).reshape(-1, 3) @ R.T + t
        u, v = ((points[:, :2] / points[:, 2:]) @ K[:2, :2].T + K[:2, 2]).T.astype(np.float32)
        before = cv2.remap(
            np.log(depth_before).astype(np.float32),
            u.reshape(depth.shape),
            v.reshape(depth.shape),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=float("nan"),  # type: ignore[arg-type]  # of one channel
        )
        change = np.log(points[:, 2]).reshape(depth.shape) - before
    return np.where(np.isfinite(change), change, np.nan)
