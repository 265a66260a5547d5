"""The message types of a camera's bag, as rosbags decodes them.

rosbags makes a class for each of some three hundred messages when it is asked for a distribution:
a tenth of a second, more than all else about opening a bag. The few messages a camera's bag is
read for are the same in every ROS 2 distribution, and are defined here; others have rosbags' own
definition, made when the first of them comes.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

_COMMON = {
    "std_msgs/msg/Header": "builtin_interfaces/msg/Time stamp, string frame_id",
    "geometry_msgs/msg/Point": "float64 x, float64 y, float64 z",
    "geometry_msgs/msg/Vector3": "float64 x, float64 y, float64 z",
    "geometry_msgs/msg/Quaternion": "float64 x, float64 y, float64 z, float64 w",
    "geometry_msgs/msg/Pose": (
        "geometry_msgs/msg/Point position, geometry_msgs/msg/Quaternion orientation"
    ),
    "geometry_msgs/msg/PoseStamped": "std_msgs/msg/Header header, geometry_msgs/msg/Pose pose",
    "geometry_msgs/msg/PoseWithCovariance": "geometry_msgs/msg/Pose pose, float64[36] covariance",
    "geometry_msgs/msg/Transform": (
        "geometry_msgs/msg/Vector3 translation, geometry_msgs/msg/Quaternion rotation"
    ),
    "geometry_msgs/msg/TransformStamped": (
        "std_msgs/msg/Header header, string child_frame_id, geometry_msgs/msg/Transform transform"
    ),
    "geometry_msgs/msg/Twist": (
        "geometry_msgs/msg/Vector3 linear, geometry_msgs/msg/Vector3 angular"
    ),
    "geometry_msgs/msg/TwistWithCovariance": (
        "geometry_msgs/msg/Twist twist, float64[36] covariance"
    ),
    "nav_msgs/msg/Odometry": (
        "std_msgs/msg/Header header, string child_frame_id, "
        "geometry_msgs/msg/PoseWithCovariance pose, geometry_msgs/msg/TwistWithCovariance twist"
    ),
    "sensor_msgs/msg/CameraInfo": (
        "std_msgs/msg/Header header, uint32 height, uint32 width, string distortion_model, "
        "float64[] d, float64[9] k, float64[9] r, float64[12] p, uint32 binning_x, "
        "uint32 binning_y, sensor_msgs/msg/RegionOfInterest roi"
    ),
    "sensor_msgs/msg/CompressedImage": "std_msgs/msg/Header header, string format, uint8[] data",
    "sensor_msgs/msg/Image": (
        "std_msgs/msg/Header header, uint32 height, uint32 width, string encoding, "
        "uint8 is_bigendian, uint32 step, uint8[] data"
    ),
    "sensor_msgs/msg/RegionOfInterest": (
        "uint32 x_offset, uint32 y_offset, uint32 height, uint32 width, bool do_rectify"
    ),
    "tf2_msgs/msg/TFMessage": "geometry_msgs/msg/TransformStamped[] transforms",
}
"""Type -> its fields, as a .msg file lists them."""


def store_for(message_type: str, is_ros1: bool) -> Typestore:
    """What decodes messages of a type.

    Args:
        message_type: as ``sensor_msgs/msg/Image``.
        is_ros1: as ROS 1 serializes it and ROS Noetic defines it.
    """
    if not is_ros1 and message_type in _COMMON:
        return _common_store()
    return _full_store(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_JAZZY)


@cache
def _full_store(distribution: Stores) -> Typestore:
    return get_typestore(distribution)


@lru_cache(maxsize=1)
def _common_store() -> Typestore:
    store = get_typestore(Stores.EMPTY)
    store.register({name: ([], _fields(fields)) for name, fields in _COMMON.items()})
    return store


def _fields(text: str) -> list[tuple[str, Any]]:
    """The fields of a message as rosbags lists them."""
    pairs = (entry.split() for entry in text.split(", "))
    return [(name, _type(kind)) for kind, name in pairs]


def _type(kind: str) -> tuple[Nodetype, Any]:
    if not kind.endswith("]"):
        return (Nodetype.NAME, kind) if "/" in kind else (Nodetype.BASE, (kind, 0))
    element, length = kind[:-1].split("[")
    if length:
        return Nodetype.ARRAY, (_type(element), int(length))
    return Nodetype.SEQUENCE, (_type(element), 0)
