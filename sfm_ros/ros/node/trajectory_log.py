"""The poses that were published, in memory of a fixed size."""

from __future__ import annotations

import threading

import numpy as np
from geometry_msgs.msg import Pose

from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import make_transform, matrix_from_quat_xyzw


class TrajectoryLog:
    """The newest poses, in memory that is allocated once. Safe between threads.

    Args:
        length: how many are kept; older ones are dropped.
    """

    def __init__(self, length: int) -> None:
        self._lock = threading.Lock()
        # Written, not only reserved, so that the node's memory does not grow while it runs.
        self._stamps_ns = np.full(length, 0, dtype=np.int64)
        self._poses = np.full((length, 7), 0.0)
        self._count = 0

    def clear(self) -> None:
        """Drop all poses."""
        with self._lock:
            self._count = 0

    def add(self, stamp_ns: int, pose: Pose) -> None:
        """Append the newest pose."""
        p, q = pose.position, pose.orientation
        with self._lock:
            slot = self._count % len(self._stamps_ns)
            self._stamps_ns[slot] = stamp_ns
            self._poses[slot] = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
            self._count += 1

    def trajectory(self) -> tuple[Trajectory | None, int]:
        """The poses that are kept, or None if there are none; and how many were dropped."""
        with self._lock:
            length, count = len(self._stamps_ns), self._count
            order = np.arange(max(0, count - length), count) % length
            stamps_ns, rows = self._stamps_ns[order], self._poses[order]
        if not count:
            return None, 0
        poses = [make_transform(matrix_from_quat_xyzw(row[3:]), row[:3]) for row in rows]
        return Trajectory(stamps_ns, np.stack(poses)), count - len(order)
