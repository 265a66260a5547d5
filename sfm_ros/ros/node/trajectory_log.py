"""The poses that were published, kept small."""

from __future__ import annotations

import threading

import numpy as np
from geometry_msgs.msg import Pose

from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import make_transform, matrix_from_quat_xyzw


class TrajectoryLog:
    """The newest poses, in memory that is taken once. Safe between threads.

    Args:
        length: how many; older ones are forgotten.
    """

    def __init__(self, length: int) -> None:
        self._lock = threading.Lock()
        # Filled, not merely reserved: a node's memory should not grow while it runs.
        self._stamps_ns = np.full(length, 0, dtype=np.int64)
        self._poses = np.full((length, 7), 0.0)
        self._count = 0

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._count = 0

    def add(self, stamp_ns: int, pose: Pose) -> None:
        """The newest pose."""
        p, q = pose.position, pose.orientation
        with self._lock:
            slot = self._count % len(self._stamps_ns)
            self._stamps_ns[slot] = stamp_ns
            self._poses[slot] = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
            self._count += 1

    def trajectory(self) -> tuple[Trajectory | None, int]:
        """What is kept, in order of time, or None for no pose; and how many were forgotten."""
        with self._lock:
            length, count = len(self._stamps_ns), self._count
            order = np.arange(max(0, count - length), count) % length
            stamps_ns, rows = self._stamps_ns[order], self._poses[order]
        if not count:
            return None, 0
        poses = [make_transform(matrix_from_quat_xyzw(row[3:]), row[:3]) for row in rows]
        return Trajectory(stamps_ns, np.stack(poses)), count - len(order)
