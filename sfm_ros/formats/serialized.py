"""Header stamps of serialized ROS messages, read without deserializing them."""

from __future__ import annotations

import struct

from sfm_ros.errors import SourceError

_HEADER_BYTES = 12


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
    return sec * 1_000_000_000 + nanosec
