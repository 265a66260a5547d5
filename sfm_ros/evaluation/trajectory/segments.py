"""Drift over segments of 100 to 800 m, as defined by the KITTI odometry benchmark."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.formats.trajectory import Indices

SEGMENT_LENGTHS_M = (100, 200, 300, 400, 500, 600, 700, 800)
SEGMENT_STEP = 10
"""Frames between the starts of two segments."""


def segment_errors(
    poses: FloatArray, ground_truth: FloatArray, starts: Indices | None = None
) -> list[tuple[int, float, float]]:
    """Drift over each segment of the KITTI odometry benchmark (Geiger et al. 2012).

    A segment starts at every tenth pose and ends at the first pose whose ground-truth distance
    from there exceeds 100, 200, ... 800 m.

    Args:
        poses, ground_truth: (N, 4, 4) poses at the same stamps.
        starts: indices at which segments start; by default every tenth.

    Returns:
        (length m, t_err percent, r_err degrees per 100 m) of each segment; empty for short paths.
    """
    distance = distance_travelled(ground_truth)
    inverse_poses, inverse_ground_truth = np.linalg.inv(poses), np.linalg.inv(ground_truth)
    found = []
    for first in range(0, len(ground_truth), SEGMENT_STEP) if starts is None else starts:
        for length in SEGMENT_LENGTHS_M:
            last = int(np.searchsorted(distance, distance[first] + length, side="right"))
            if last == len(ground_truth):
                break
            gt_motion = inverse_ground_truth[first] @ ground_truth[last]
            error = np.linalg.inv(inverse_poses[first] @ poses[last]) @ gt_motion
            t_err = float(np.linalg.norm(error[:3, 3])) / length * 100
            r_err = float(np.rad2deg(trace_angles(error[None])[0])) / length * 100
            found.append((length, t_err, r_err))
    return found


def distance_travelled(poses: FloatArray) -> FloatArray:
    """(N,) path length from the first of (N, 4, 4) poses to each of them."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def by_length(segments: list[tuple[int, float, float]]) -> dict[int, tuple[float, float]]:
    """Length in meters -> mean t_err and r_err of the segments of that length."""
    result = {}
    for length in sorted({segment[0] for segment in segments}):
        rows = np.array([segment[1:] for segment in segments if segment[0] == length])
        result[length] = (float(rows[:, 0].mean()), float(rows[:, 1].mean()))
    return result


def trace_angles(transforms: FloatArray) -> FloatArray:
    """(N,) rotation angles in radians from the trace, as in the benchmark's own program."""
    traces = np.trace(transforms[:, :3, :3], axis1=1, axis2=2)
    return np.arccos(np.clip((traces - 1) / 2, -1.0, 1.0))
