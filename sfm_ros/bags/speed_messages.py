"""Speeds in the messages of a bag."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfm_ros.bags.pose_messages import stamp_of
from sfm_ros.bags.reader import Record
from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SourceError
from sfm_ros.formats.trajectory import format_stamp

SPEED_TYPES = (
    "nav_msgs/msg/Odometry",
    "geometry_msgs/msg/TwistStamped",
    "geometry_msgs/msg/TwistWithCovarianceStamped",
)
MAX_DISTANCE_NS = 200_000_000
"""A speed further away in time is not taken for a frame's own: by then a car may brake 2 m/s."""


@dataclass(frozen=True, slots=True, eq=False)
class Speeds:
    """Measured speeds in order of time.

    Attributes:
        stamps_ns: (n,) int64, ascending.
        speeds_m_s: (n,) meters per second, >= 0.
    """

    stamps_ns: np.ndarray
    speeds_m_s: FloatArray

    def at(self, stamp_ns: int) -> float | None:
        """The speed at a moment, between its two neighbors; None where none is near."""
        place = int(np.searchsorted(self.stamps_ns, stamp_ns))
        near = self.stamps_ns[max(0, place - 1) : place + 1]
        if np.abs(near - stamp_ns).min() > MAX_DISTANCE_NS:
            return None
        # Differences: a stamp of today has no room for nanoseconds in a float.
        return float(np.interp(0.0, self.stamps_ns - stamp_ns, self.speeds_m_s))


def read_speeds(records: Iterable[Record]) -> Speeds:
    """The length of the velocity in messages of `SPEED_TYPES`.

    Raises:
        SourceError: a velocity is not finite.
    """
    found: dict[int, float] = {}
    for record in records:
        twist: Any = record.message.twist
        linear = getattr(twist, "twist", twist).linear
        speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
        if not np.isfinite(speed):
            raise SourceError(
                f"the velocity at {format_stamp(stamp_of(record))} s on {record.topic} is "
                f"{[linear.x, linear.y, linear.z]}, expected finite numbers"
            )
        found[stamp_of(record)] = speed
    stamps = sorted(found)
    return Speeds(np.array(stamps, dtype=np.int64), np.array([found[stamp] for stamp in stamps]))
