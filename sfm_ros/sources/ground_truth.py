"""Which ground-truth pose belongs to a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.formats.trajectory import Trajectory, nearest_indices

MAX_POSE_DISTANCE_NS = 20_000_000
"""A pose further from the frame in time is not taken for its own: at 10 m/s that is 0.2 m."""


def poses_at(ground_truth: Trajectory | None, stamps_ns: Sequence[int]) -> list[FloatArray | None]:
    """For each stamp the pose nearest in time, or None where none is near."""
    if ground_truth is None:
        return [None] * len(stamps_ns)
    wanted = np.array(stamps_ns, dtype=np.int64)
    nearest = nearest_indices(ground_truth.stamps_ns, wanted)
    is_near = np.abs(ground_truth.stamps_ns[nearest] - wanted) <= MAX_POSE_DISTANCE_NS
    return [
        ground_truth.poses[index] if near else None
        for index, near in zip(nearest, is_near, strict=True)
    ]
