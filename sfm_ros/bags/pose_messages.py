"""Poses in the messages of a bag."""

from __future__ import annotations

from typing import Any

from sfm_ros.bags.reader import Record
from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SourceError
from sfm_ros.formats.trajectory import format_stamp
from sfm_ros.geometry import rigid_motion

POSE_TYPES = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)


def stamp_of(record: Record) -> int:
    """The header's stamp in ns, or the time of recording where it was left zero."""
    stamp = record.message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec) or record.log_ns


def pose_of(record: Record) -> FloatArray:
    """(4, 4) pose in a message of one of `POSE_TYPES`, in the message's own axes.

    Raises:
        SourceError: a number is not finite, or the quaternion is zero.
    """
    pose: Any = record.message.pose
    pose = getattr(pose, "pose", pose)
    q, t = pose.orientation, pose.position
    quat_xyzw, position = [q.x, q.y, q.z, q.w], [t.x, t.y, t.z]
    T = rigid_motion(quat_xyzw, position)
    if T is None:
        raise SourceError(
            f"the pose at {format_stamp(stamp_of(record))} s on {record.topic} is position "
            f"{position}, quaternion {quat_xyzw}; expected finite numbers and a rotation"
        )
    return T
