"""The part of tf2_ros that the project uses, for machines that do not have it."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from sfm_ros.bags.transform_tree import TransformTree
from sfm_ros.ros.conversions import transform_message


class TransformException(Exception):  # noqa: N818 (its name in tf2_ros)
    """What a lookup raises."""


class Buffer:
    """Answers as tf2_ros.Buffer does; ``cleared`` counts the calls of :meth:`clear`."""

    def __init__(self, cache_time: Duration) -> None:
        self._cache_time = cache_time
        self._parents: dict[str, str] = {}
        self.cleared = 0
        self.clear()

    def clear(self) -> None:
        self.cleared += 1
        self._tree = TransformTree(self._cache_time.nanoseconds)

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        self._set(transform, is_static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        self._set(transform, is_static=True)

    def _set(self, transform: TransformStamped, is_static: bool) -> None:
        self._tree.add_message(transform, is_static)
        self._parents[transform.child_frame_id] = transform.header.frame_id

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        stamp_ns = time.nanoseconds or None
        T = self._tree.lookup(target, source, stamp_ns)
        if T is None:
            raise TransformException(f"no transform from {source} to {target}")
        is_static = self._tree.static_transform(target, source) is not None
        shown_ns = 0 if is_static and stamp_ns is None else stamp_ns or 1
        return transform_message(T, shown_ns, target, source)

    def all_frames_as_yaml(self) -> str:
        if not self._parents:
            return "[]"
        frames = self._parents.items()
        return "".join(f"{child}: \n  parent: '{parent}'\n" for child, parent in frames)


class TransformBroadcaster:
    """Publishes transforms on /tf."""

    topic, qos = "/tf", QoSProfile(depth=100)

    def __init__(self, node: Node) -> None:
        self.pub_tf = node.create_publisher(TFMessage, self.topic, self.qos)

    def sendTransform(self, transform: TransformStamped) -> None:
        self.pub_tf.publish(TFMessage(transforms=[transform]))


class StaticTransformBroadcaster(TransformBroadcaster):
    """Publishes transforms on /tf_static."""

    topic = "/tf_static"
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class TransformListener:
    """Fills a buffer from /tf and /tf_static, through a node that somebody else spins."""

    def __init__(self, buffer: Buffer, node: Node) -> None:
        self.buffer = buffer
        static = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf_sub = node.create_subscription(TFMessage, "/tf", self._on_moving, 100)
        self.tf_static_sub = node.create_subscription(
            TFMessage, "/tf_static", self._on_static, static
        )

    def _on_moving(self, message: Any) -> None:
        for transform in message.transforms:
            self.buffer.set_transform(transform, "default_authority")

    def _on_static(self, message: Any) -> None:
        for transform in message.transforms:
            self.buffer.set_transform_static(transform, "default_authority")
