"""Transforms looked up in what is published on /tf and /tf_static.

With tf2_ros, where a ROS installation brings it; else with the tree that reads bags.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time

from sfm_ros.bags.transform_tree import TransformTree
from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import UnsafeFileError
from sfm_ros.geometry import rigid_motion
from sfm_ros.ros import compat
from sfm_ros.ros.compat import STATIC_TF_LISTENER_QOS, TF, TF_QOS, TF_STATIC
from sfm_ros.safety.documents import parse_yaml

_HISTORY_NS = 10_000_000_000
"""How far back a transform can be looked up; tf2's own default."""


class Lookup(Protocol):
    """Looks transforms up in what /tf and /tf_static have published.

    Attributes:
        node: the node that subscribes to the two.
    """

    node: Node

    def find(self, target: str, source: str, stamp_ns: int | None = None) -> FloatArray | None:
        """(4, 4) T_target_source at a time, or the newest; None if it is not known (then)."""

    def is_static(self, target: str, source: str) -> bool:
        """Whether static transforms alone connect the frames."""

    def has_parent(self, frame: str) -> bool:
        """Whether there is a transform to ``frame``."""

    def ignore_moving(self) -> None:
        """Unsubscribe from /tf, which is busy on a robot: what is needed is static."""

    def close(self) -> None:
        """Unsubscribe from both."""


def make_lookup(node: Node, callback_group: Any = None) -> Lookup | None:
    """Subscribe to TF; None if tf2_msgs is not installed.

    Args:
        node: whose topic names, namespace and context are used.
        callback_group: of the subscriptions, if they are made on ``node``.
    """
    if compat.tf2_ros is not None:
        return BufferLookup(node)
    return None if compat.tf2_msgs is None else TreeLookup(node, callback_group)


class TreeLookup(Lookup):
    """A :class:`TransformTree` of what is published on /tf and /tf_static."""

    def __init__(self, node: Node, callback_group: Any = None) -> None:
        self.node = node
        self._lock = threading.Lock()  # executor threads add, the worker looks up
        self._tree = TransformTree(_HISTORY_NS)
        self._subscriptions = {
            topic: node.create_subscription(
                compat.tf2_msgs.TFMessage,
                topic,
                partial(self._add, topic == TF_STATIC),
                qos,
                callback_group=callback_group,
                # rclpy's executors fail on events of a subscription that is destroyed meanwhile.
                event_callbacks=compat.event_module().SubscriptionEventCallbacks(
                    use_default_callbacks=False
                ),
            )
            for topic, qos in ((TF, TF_QOS), (TF_STATIC, STATIC_TF_LISTENER_QOS))
        }

    def _add(self, is_static: bool, message: Any) -> None:
        with self._lock:
            for transform in message.transforms:
                self._tree.add_message(transform, is_static)

    def find(self, target: str, source: str, stamp_ns: int | None = None) -> FloatArray | None:
        with self._lock:
            return self._tree.lookup(target, source, stamp_ns)

    def is_static(self, target: str, source: str) -> bool:
        with self._lock:
            return self._tree.static_transform(target, source) is not None

    def has_parent(self, frame: str) -> bool:
        with self._lock:
            return self._tree.has_parent(frame)

    def ignore_moving(self) -> None:
        self._unsubscribe(TF)

    def close(self) -> None:
        for topic in list(self._subscriptions):
            self._unsubscribe(topic)

    def _unsubscribe(self, topic: str) -> None:
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            self.node.destroy_subscription(subscription)


class BufferLookup(Lookup):
    """tf2_ros's Buffer and TransformListener.

    They have a node and a thread of their own, as in nav2, so that they can be closed: on a node
    that an executor spins already, their subscriptions could not be destroyed safely.
    """

    def __init__(self, node: Node) -> None:
        self.node = _sibling(node, f"{node.get_name()}_tf")
        self._buffer = compat.tf2_ros.Buffer(Duration(nanoseconds=_HISTORY_NS))
        self._listener = compat.tf2_ros.TransformListener(self._buffer, self.node)
        self._last_ns = 0
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="sfm_tf", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            if self.node.context.ok():  # else it was shut down, at whatever point of the spinning
                raise

    def find(self, target: str, source: str, stamp_ns: int | None = None) -> FloatArray | None:
        if stamp_ns is not None:
            if stamp_ns < self._last_ns - _HISTORY_NS:
                self._buffer.clear()  # a bag that loops: what is new would be refused as too old
            self._last_ns = stamp_ns
        found = self._lookup(target, source, stamp_ns or 0)
        if found is None:
            return None
        q, t = found.transform.rotation, found.transform.translation
        return rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z])

    def _lookup(self, target: str, source: str, stamp_ns: int) -> TransformStamped | None:
        """The transform at a time; 0 asks for the newest."""
        try:
            return self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except compat.tf2_ros.TransformException:
            return None

    def is_static(self, target: str, source: str) -> bool:
        found = self._lookup(target, source, 0)
        # The newest of a chain without a moving transform has no stamp.
        return found is not None and found.header.stamp.sec == found.header.stamp.nanosec == 0

    def has_parent(self, frame: str) -> bool:
        try:
            return frame in (parse_yaml(self._buffer.all_frames_as_yaml()) or ())
        except UnsafeFileError:  # a frame whose name is no YAML, from anybody who publishes TF
            return False

    def ignore_moving(self) -> None:
        # Done by the thread that would otherwise wait for the topic.
        self._executor.create_task(self.node.destroy_subscription, self._listener.tf_sub)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()


def _sibling(node: Node, name: str) -> Node:
    """A node beside another: of its context and namespace, with the same names for TF's topics."""
    rules = {"__node": name, "__ns": node.get_namespace()}
    rules |= {topic: node.resolve_topic_name(topic) for topic in (TF, TF_STATIC)}
    remaps = [word for rule in rules.items() for word in ("-r", ":=".join(rule))]
    return Node(
        name,
        context=node.context,
        cli_args=["--ros-args", *remaps],
        parameter_overrides=[Parameter("use_sim_time", value=False)],
        enable_rosout=False,
        start_parameter_services=False,
    )
