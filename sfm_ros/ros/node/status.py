"""The node's word on itself: ~/status and /diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.node.run_statistics import RunReport

_PERIOD_S = 1.0


class StatusPublisher:
    """Publishes the report once a second on /diagnostics, and on ~/status at each change too.

    Args:
        node: the node.
        parameters: its options.
        report: what there is to say.
        extra: further values, looked up each time.
        callback_group: of the timer.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        report: RunReport,
        extra: Callable[[], dict[str, str]],
        callback_group: Any,
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._report = report
        self._extra = extra
        self._is_silent = False
        self._duplicates = 1
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = node.create_publisher(DiagnosticStatus, "~/status", latched)
        # Not on simulated time: a paused bag is worth a report too.
        self._timer = node.create_timer(
            _PERIOD_S,
            self._on_time,
            callback_group=callback_group,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def publish_change(self) -> None:
        """The status is another one now."""
        if self._parameters.config.node.publish_status and self._status.get_subscription_count():
            self._status.publish(self._make())

    def _on_time(self) -> None:
        self._check_for_duplicate_nodes()
        self._look_for_silence()
        status = self._make()
        if self._parameters.config.node.publish_status:
            self._status.publish(status)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _make(self) -> DiagnosticStatus:
        extra = {**self._extra(), "nodes_of_this_name": str(self._duplicates)}
        name = self._node.get_fully_qualified_name()
        return self._report.diagnostic(f"{name}: odometry", extra)

    def _check_for_duplicate_nodes(self) -> None:
        """Two nodes of one name answer each other's calls and publish on the same topics."""
        mine = (self._node.get_name(), self._node.get_namespace())
        duplicates = self._node.get_node_names_and_namespaces().count(mine)
        if duplicates > max(1, self._duplicates):
            self._node.get_logger().error(
                f"{duplicates} nodes are called {self._node.get_fully_qualified_name()}: both publish "
                "odometry and TF; end one, or start it in another namespace (-r __ns:=/NAME)"
            )
        self._duplicates = max(1, duplicates)

    def _look_for_silence(self) -> None:
        silent_s = self._report.silent_for_s()
        if silent_s is not None and not self._is_silent:
            topic = self._extra()["image_topic"]
            count = self._node.count_publishers(topic)
            self._node.get_logger().warning(
                f"no image on {topic} for {silent_s:.1f} s; {count} publish there"
            )
        self._is_silent = silent_s is not None
