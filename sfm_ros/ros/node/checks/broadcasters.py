"""Looks whether another node moves the frame that this node moves on TF."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from sfm_ros.errors import printable
from sfm_ros.ros import compat
from sfm_ros.ros.compat import STATIC_TF_LISTENER_QOS, TF, TF_QOS, TF_STATIC
from sfm_ros.ros.graph import listed, publishers_on
from sfm_ros.ros.node.transform_broadcaster import OdometryBroadcaster
from sfm_ros.ros.rate_limit import TimeBudget

_LISTEN_S, _PERIOD_S = 3.0, 30.0
_MOST_LOAD, _BURST_S = 0.05, 0.1
_LARGEST_MESSAGE = 1 << 18
"""Bytes; a larger one would take seconds to read."""


class OtherBroadcasters:
    """Listens to TF for some seconds after the first pose, and again from time to time.

    A frame has one parent on TF: with two broadcasters it jumps between two poses, or the tree
    falls apart. To listen all the time would cost a robot too much, see `ExtrinsicsLookup`.

    Args:
        node: subscribes.
        broadcaster: what this node sends.
        report: called once with what was found.
    """

    def __init__(
        self, node: Node, broadcaster: OdometryBroadcaster, report: Callable[[str], object]
    ) -> None:
        self._node, self._broadcaster, self._report = node, broadcaster, report
        self._group = MutuallyExclusiveCallbackGroup()
        self._subscriptions: list[Subscription] = []
        self._budget = TimeBudget(_MOST_LOAD, _BURST_S)
        self._due_s, self._found = 0.0, ""

    def check(self) -> None:
        """Listen when it is time, and report what was found; called once a second."""
        if self._found:
            self._report(self._found)
            self.close()
            self._found, self._due_s = "", float("inf")
        now = time.monotonic()
        if self._broadcaster.child is None or now < self._due_s:
            return
        if self._subscriptions:
            self.close()
            self._due_s = now + _PERIOD_S
        else:
            self._listen()
            self._due_s = now + _LISTEN_S

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _listen(self) -> None:
        for topic, qos in ((TF, TF_QOS), (TF_STATIC, STATIC_TF_LISTENER_QOS)):
            self._subscriptions.append(
                self._node.create_subscription(
                    compat.tf2_msgs.TFMessage,
                    topic,
                    partial(self._on_message, topic),
                    qos,
                    raw=True,
                    callback_group=self._group,
                    event_callbacks=compat.without_event_callbacks(),
                )
            )

    def _on_message(self, topic: str, data: Any) -> None:
        child = self._broadcaster.child
        if child is None or child.encode() not in data or len(data) > _LARGEST_MESSAGE:
            return
        if not self._found and self._budget.is_left():
            with self._budget:
                self._read(topic, data)

    def _read(self, topic: str, data: bytes) -> None:
        try:
            message = deserialize_message(data, compat.tf2_msgs.TFMessage)
        except Exception:  # rclpy's own have no common base class; the lookup of TF reports it
            return
        for transform in message.transforms:
            if self._is_foreign(transform):
                self._found = self._description(topic, transform)
                return

    def _is_foreign(self, transform: TransformStamped) -> bool:
        is_same = transform.child_frame_id == self._broadcaster.child
        return is_same and not self._broadcaster.has_sent(transform)

    def _description(self, topic: str, transform: TransformStamped) -> str:
        own = self._node.get_fully_qualified_name()
        names = {*publishers_on(self._node, self._node.resolve_topic_name(topic))} - {own}
        return (
            f"another node publishes the transform from '{printable(transform.header.frame_id)}' "
            f"to '{transform.child_frame_id}' too, and a frame has one parent on TF (on {topic} "
            f"publish: {listed(names) or 'no others now'}"
            "); keep one of them: publish_tf:=false in the launch file (node.publish_tf), or "
            "publish_tf:=inverted odom_frame:=visual_odom, which cannot clash"
        )
