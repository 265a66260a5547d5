"""Poses and speeds in the messages of a bag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sfm_ros.bags.reader import BagFile, Record
from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SourceError
from sfm_ros.formats.serialized import header_stamp
from sfm_ros.formats.trajectory import Stamps, Trajectory, format_stamp
from sfm_ros.geometry import MAX_POSITION_M, rigid_motion

POSE_TYPES = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)
SPEED_TYPES = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/TwistStamped",
    "geometry_msgs/msg/TwistWithCovarianceStamped",
)
MAX_SPEED_DISTANCE_NS = 200_000_000
"""A speed further away in time is not a frame's own: by then a car may brake by 2 m/s."""


def stamp_of(record: Record) -> int:
    """The header's stamp in ns, or the time of recording if it was left zero."""
    return header_stamp(record.message) or record.log_ns


def pose_of(record: Record) -> FloatArray:
    """(4, 4) pose in a message of one of `POSE_TYPES`, in the message's own axes.

    Raises:
        SourceError: see `rigid_motion`.
    """
    pose: Any = record.message.pose
    pose = getattr(pose, "pose", pose)
    q, t = pose.orientation, pose.position
    quat_xyzw, position = [q.x, q.y, q.z, q.w], [t.x, t.y, t.z]
    T = rigid_motion(quat_xyzw, position)
    if T is None:
        raise SourceError(
            f"the pose at {format_stamp(stamp_of(record))} s on {record.topic} is position "
            f"{position}, quaternion {quat_xyzw}; expected a rotation and finite "
            f"coordinates within {MAX_POSITION_M:g} m"
        )
    return T


def read_poses(bag: BagFile, topic: str) -> tuple[Trajectory, str]:
    """All poses on a topic of one of `POSE_TYPES`, in the messages' own axes; see `pose_of`.

    With them the ``child_frame_id`` of the last message, empty if it has none.
    """
    topic = bag.require(topic, POSE_TYPES)
    poses: dict[int, FloatArray] = {}
    child = ""
    for record in bag.records([topic]):
        child = str(getattr(record.message, "child_frame_id", ""))
        poses[stamp_of(record)] = pose_of(record)
    return Trajectory.of(poses), child


@dataclass(frozen=True, slots=True, eq=False)
class Speeds:
    """Measured speeds in order of time.

    Attributes:
        stamps_ns: (n,) int64, increasing.
        speeds_m_s: (n,) meters per second, >= 0.
    """

    stamps_ns: Stamps
    speeds_m_s: FloatArray

    def at(self, stamp_ns: int) -> float | None:
        """The speed at a time, interpolated between its neighbors; None if none is near."""
        index = int(np.searchsorted(self.stamps_ns, stamp_ns))
        near = self.stamps_ns[max(0, index - 1) : index + 1]
        if np.abs(near - stamp_ns).min() > MAX_SPEED_DISTANCE_NS:
            return None
        # Differences, because a float cannot hold a present-day stamp in nanoseconds.
        return float(np.interp(0.0, self.stamps_ns - stamp_ns, self.speeds_m_s))


def read_speeds(bag: BagFile, topic: str) -> Speeds:
    """The length of each velocity on a topic of one of `SPEED_TYPES`.

    Raises:
        SourceError: no such topic, or a velocity is not finite.
    """
    topic = bag.require(topic, SPEED_TYPES)
    speeds = {stamp_of(record): _speed_of(record) for record in bag.records([topic])}
    stamps = sorted(speeds)
    return Speeds(np.array(stamps, dtype=np.int64), np.array([speeds[s] for s in stamps]))


def _speed_of(record: Record) -> float:
    twist: Any = record.message.twist
    linear = getattr(twist, "twist", twist).linear
    speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
    if not np.isfinite(speed):
        raise SourceError(
            f"the velocity at {format_stamp(stamp_of(record))} s on {record.topic} is "
            f"{[linear.x, linear.y, linear.z]}, expected finite numbers"
        )
    return speed
