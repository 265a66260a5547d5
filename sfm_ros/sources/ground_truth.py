"""Assigns ground-truth poses to frames by time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.formats.trajectory import Trajectory, nearest_indices

MAX_POSE_DISTANCE_NS = 20_000_000
"""Poses further in time from a frame are not assigned to it; 0.2 m of travel at 10 m/s."""


def poses_at(ground_truth: Trajectory | None, stamps_ns: Sequence[int]) -> list[FloatArray | None]:
    """The pose (4, 4) nearest in time to each stamp; None if none is within the limit."""
    if ground_truth is None:
        return [None] * len(stamps_ns)
    frames_ns = np.array(stamps_ns, dtype=np.int64)
    nearest = nearest_indices(ground_truth.stamps_ns, frames_ns)
    is_near = np.abs(ground_truth.stamps_ns[nearest] - frames_ns) <= MAX_POSE_DISTANCE_NS
    return [
        ground_truth.poses[index] if near else None
        for index, near in zip(nearest, is_near, strict=True)
    ]
