"""Header stamps of ROS messages: of decoded ones, and of serialized ones without decoding them."""

from __future__ import annotations

import struct
from typing import Any

from sfm_ros.errors import SourceError
from sfm_ros.formats.time_units import NS

_HEADER_BYTES = 12


def header_stamp(message: Any) -> int:
    """The header's stamp in ns of a message decoded by rclpy or by rosbags."""
    stamp = message.header.stamp
    return int(stamp.sec) * NS + int(stamp.nanosec)


def stamp_of_serialized(data: bytes, is_ros1: bool = False) -> int:
    """Stamp in nanoseconds of a message that starts with a std_msgs/Header.

    ROS 1 starts with the sequence number, CDR (ROS 2) with four bytes that hold the byte order.
    Seconds and nanoseconds follow, four bytes each.

    Raises:
        SourceError: too few bytes.
    """
    if len(data) < _HEADER_BYTES:
        raise SourceError(f"a message of {len(data)} bytes has no header: the bag is damaged")
    little = is_ros1 or bool(data[1] & 1)
    sec, nanosec = struct.unpack_from("<iI" if little else ">iI", data, 4)
    return sec * NS + nanosec
