"""What was observed of a running system or read from a bag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sfm_ros.datatypes import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The times of one message.

    Attributes:
        stamp_ns: of its header.
        arrived_ns: on the clock that stamps are compared with: ROS time, or the recorder's.
    """

    stamp_ns: int
    arrived_ns: int


@dataclass(kw_only=True, slots=True)
class Stream:
    """The messages of one topic.

    Attributes:
        topic, type_name: as in ROS.
        samples: stamp and arrival of each message, in order of arrival.
        frame_ids: every frame id in the headers.
        payload: bytes of the largest message.
    """

    topic: str
    type_name: str
    samples: list[Sample] = field(default_factory=list)
    frame_ids: set[str] = field(default_factory=set)
    payload: int = 0


@dataclass(kw_only=True, slots=True)
class Camera:
    """An image topic and the calibration beside it.

    Attributes:
        images: the stream of images.
        info_topic: where the calibration is expected.
        infos: the stream of calibrations; None if there is no such topic.
        image: one image message (fields of sensor_msgs/Image or CompressedImage), or None.
        calibrations: the first few CameraInfo messages that differ.
    """

    images: Stream
    info_topic: str
    infos: Stream | None = None
    image: Any = None
    calibrations: list[Any] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A publisher or subscription.

    Attributes:
        node: full name of its node.
        topic, type_name: as in ROS.
        is_publisher: else it is a subscription.
        reliability: ``reliable`` or ``best_effort``; empty if unknown.
        durability: ``volatile`` or ``transient_local``; empty if unknown.
    """

    node: str
    topic: str
    type_name: str
    is_publisher: bool
    reliability: str
    durability: str

    @staticmethod
    def of(node: str, topic: str, type_name: str, is_publisher: bool, qos: Any) -> Endpoint:
        """With the quality of service as rclpy or a bag describes it."""
        return Endpoint(
            node=node,
            topic=topic,
            type_name=type_name,
            is_publisher=is_publisher,
            reliability=qos.reliability.name.lower(),
            durability=qos.durability.name.lower(),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Edge:
    """One published transform: (4, 4) T_parent_child, frames named as in the message."""

    parent: str
    child: str
    is_static: bool
    T_parent_child: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeStatus:
    """The newest diagnostics of an odometry node.

    Attributes:
        level: 0 OK, 1 WARN, 2 ERROR, as in diagnostic_msgs.
        message: one line for people.
        values: details by name.
    """

    level: int
    message: str
    values: Mapping[str, str]
