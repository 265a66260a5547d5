"""What was seen of a system, whether it runs or lies in a bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sfm_ros.datatypes import FloatArray

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TF_TYPES = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """When a message says it was made and when it came.

    Attributes:
        stamp_ns: of its header.
        arrived_ns: on the clock that stamps are compared with: ROS time, or that of the recorder.
    """

    stamp_ns: int
    arrived_ns: int


@dataclass(kw_only=True, slots=True)
class Stream:
    """The messages of one topic.

    Attributes:
        topic, type_name: as ROS names them.
        samples: stamp and arrival of each message, in order of arrival.
        frame_ids: every frame id that was seen.
        payload: bytes of the largest message.
    """

    topic: str
    type_name: str
    samples: list[Sample] = field(default_factory=list)
    frame_ids: set[str] = field(default_factory=set)
    payload: int = 0


@dataclass(kw_only=True, slots=True)
class Camera:
    """A topic of images with the calibration beside it.

    Attributes:
        images: the stream of images.
        infos: the stream of calibrations; None where no such topic exists.
        image: one image message (fields of sensor_msgs/Image or CompressedImage), or None.
        calibrations: CameraInfo messages of different content, the first few of them.
        info_topic: where the calibration was looked for.
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
        node: full name of the node it belongs to.
        topic, type_name: as ROS names them.
        is_publisher: else it is a subscription.
        reliability: ``reliable`` or ``best_effort``; empty where unknown.
        durability: ``volatile`` or ``transient_local``; empty where unknown.
        depth: messages kept; 0 where unknown.
    """

    node: str
    topic: str
    type_name: str
    is_publisher: bool
    reliability: str
    durability: str
    depth: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Edge:
    """One transform that was published: (4, 4) T_parent_child, as the message names its frames."""

    parent: str
    child: str
    is_static: bool
    T_parent_child: FloatArray


def base_topic(topic: str) -> str:
    """The topic an image transport's topic belongs to."""
    for transport in ("/compressed", "/raw"):
        topic = topic.removesuffix(transport)
    return topic


def info_topic_of(image_topic: str) -> str:
    """Where image_transport expects the calibration of an image topic."""
    return f"{base_topic(image_topic).rpartition('/')[0]}/camera_info"
