"""The vehicle's measured speed, on its way from the middleware to the odometry."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry

from sfm_ros.ros.conversions import stamp_to_ns
from sfm_ros.ros.node.extrinsics import Extrinsics

_MOST = 1000
"""Messages that wait while no image is processed; the oldest go first."""


class SpeedInput:
    """Keeps messages that executor threads deliver until the worker takes their speeds."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str, Twist]] = deque(maxlen=_MOST)

    def take_odometry(self, message: Odometry) -> None:
        """Receive a message on speed/odometry; its pose is not used."""
        self._put(message, message.child_frame_id, message.twist.twist)

    def take_twist(self, message: TwistStamped) -> None:
        """Receive a message on speed/twist."""
        self._put(message, message.header.frame_id, message.twist)

    def _put(self, message: Odometry | TwistStamped, frame: str, twist: Twist) -> None:
        self._waiting.append((stamp_to_ns(message.header.stamp), frame, twist))

    def speeds(self, extrinsics: Extrinsics | None) -> Iterator[tuple[int, float]]:
        """Take what has arrived: stamps in nanoseconds, and speeds of the camera in m/s.

        Args:
            extrinsics: where the camera is on the body; None if that is not known yet.
        """
        while self._waiting:
            stamp_ns, frame, twist = self._waiting.popleft()
            is_body = extrinsics is not None and extrinsics.is_known and extrinsics.child == frame
            yield stamp_ns, speed_of_camera(twist, extrinsics if is_body else None)


def speed_of_camera(twist: Twist, extrinsics: Extrinsics | None) -> float:
    """|v + w x p| in m/s, p being the camera's place on the body; |v| without extrinsics.

    A camera in front of the axle moves while the vehicle turns in place.
    """
    v, w = (np.array([axis.x, axis.y, axis.z]) for axis in (twist.linear, twist.angular))
    if extrinsics is not None:
        v = v + np.cross(w, extrinsics.T_body_camera[:3, 3])
    return float(np.linalg.norm(v))
