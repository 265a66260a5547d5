"""Publishes the node's status: ~/status and /diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.node.run_statistics import RunStatistics

_PERIOD_S = 1.0
_WARNING_PERIOD_S = 10.0
_MANY_SUBSCRIPTIONS = 50


class StatusPublisher:
    """Publishes the statistics once per second, and on ~/status at each change of state too.

    Args:
        node, parameters: the node and its options.
        statistics: what is published.
        extra: gives further values of the status.
        checks: further checks, done once a second.
        callback_group: of the timer.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        statistics: RunStatistics,
        extra: Callable[[], dict[str, str]],
        checks: Sequence[Callable[[], object]],
        callback_group: Any,
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._statistics = statistics
        self._extra = extra
        self._checks = checks
        self._nodes_of_this_name = 1
        self._refused_before = 0
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._status = node.create_publisher(DiagnosticStatus, "~/status", latched)
        # Not on simulated time: while a bag is paused the status is still of interest.
        self._timer = node.create_timer(
            _PERIOD_S,
            self._on_time,
            callback_group=callback_group,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        statistics.on_change = self._on_change

    def close(self) -> None:
        """Destroy the timer and the publishers."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._status)
        self._node.destroy_publisher(self._diagnostics)

    def _on_change(self) -> None:
        if self._parameters.config.node.publish_status and self._status.get_subscription_count():
            self._status.publish(self._make())

    def _on_time(self) -> None:
        self._check_for_duplicate_nodes()
        for check in self._checks:
            check()
        self._check_for_floods()
        status = self._make()
        if self._parameters.config.node.publish_status:
            self._status.publish(status)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    def _make(self) -> DiagnosticStatus:
        extra = {**self._extra(), "nodes_of_this_name": str(self._nodes_of_this_name)}
        name = self._node.get_fully_qualified_name()
        return self._statistics.diagnostic(f"{name}: odometry", extra)

    def _check_for_duplicate_nodes(self) -> None:
        """Two nodes of one name answer each other's calls and publish on the same topics."""
        own = (self._node.get_name(), self._node.get_namespace())
        count = max(1, self._node.get_node_names_and_namespaces().count(own))
        if count > self._nodes_of_this_name:
            self._node.get_logger().error(
                f"{count} nodes are called {self._node.get_fully_qualified_name()}: both publish "
                "odometry and TF; end one, or start it in another namespace (-r __ns:=/NAME)"
            )
        self._nodes_of_this_name = count

    def _check_for_floods(self) -> None:
        """Report what peers do to the node that costs it time, and that no image reports."""
        refused = self._parameters.refused - self._refused_before
        self._refused_before += refused
        if refused:
            self._report(
                f"{refused} changes of parameters within a second are refused: which node sets "
                "them? (ros2 topic echo /parameter_events)"
            )
        for publisher in self._node.publishers:
            count = publisher.get_subscription_count()
            if count > _MANY_SUBSCRIPTIONS:
                self._report(
                    f"{count} subscriptions to {publisher.topic_name}: each costs time and memory "
                    "(ros2 topic info -v)"
                )

    def _report(self, problem: str) -> None:
        self._statistics.report(problem)
        self._node.get_logger().warning(problem, throttle_duration_sec=_WARNING_PERIOD_S)
