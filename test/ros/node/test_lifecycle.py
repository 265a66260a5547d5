"""The managed node and its states."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("lifecycle_msgs", reason="lifecycle_msgs is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from nav_msgs.msg import Odometry
from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND

from sfm_ros.ros.conversions import stamp_to_ns

Start = Callable[[list[str]], Program]
MANAGED = [*FAKE_NODE, '{"lifecycle": true}']
EVERY = {"node__image_queue": "every", "node__extrinsics_wait_s": 0.0}
REAL = [sys.executable, "-m", "sfm_ros.ros.node.lifecycle"]


class Manager:
    """Requests the transitions of a node, and shows it images."""

    def __init__(
        self, probe: Probe, start: Start, command: list[str], space: str, **options: Any
    ) -> None:
        """Start the node.

        Args:
            probe: publishes and receives.
            start: starts programs.
            command: of the node.
            space: its namespace, that of no other test: the middleware forgets slowly.
            options: its parameters.
        """
        self.probe, self.space = probe, space
        self.program = start([*command, *ros_arguments(**options), "-r", f"__ns:={space}"])
        self.client = probe.client(ChangeState, f"{space}/sfm_node/change_state")
        self.odometry = probe.listen(f"{space}/sfm_node/odometry", Odometry)
        self.stamp = 0

    def send(self, transition: int) -> bool:
        """Whether a transition succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self.client.call_async(request)
        self.program.wait_until(future.done, "the transition")
        return future.result().success

    def subscriptions(self) -> int:
        """How many there are to the images."""
        return self.probe.node.count_subscribers(f"{self.space}/image")

    def publishers(self) -> int:
        """How many there are of the odometry."""
        return self.probe.node.count_publishers(f"{self.space}/sfm_node/odometry")

    def drive(self, *levels: int) -> Any:
        """The odometry of the last of these images, after some standing ones."""
        begin = self.stamp

        def is_connected() -> bool:  # the node's publisher may be a new one
            self.probe.publish(f"{self.space}/camera_info", info_message())
            self._show(STAND)
            time.sleep(0.05)
            return any(stamp_to_ns(m.header.stamp) > begin for m in list(self.odometry))

        self.program.wait_until(is_connected, "odometry")
        for level in levels:
            self._show(level)

        def newest() -> Any:
            found = (m for m in list(self.odometry) if stamp_to_ns(m.header.stamp) == self.stamp)
            return next(found, None)

        return self.program.wait_until(newest, "the last odometry")

    def _show(self, level: int) -> None:
        self.stamp += PERIOD_NS
        self.probe.publish(f"{self.space}/image", image_message(level, self.stamp))


def test_from_unconfigured_to_active_and_back(probe: Probe, start: Start) -> None:
    manager = Manager(probe, start, MANAGED, "/back_and_forth", **EVERY)
    program = manager.program
    assert not manager.subscriptions() and not manager.publishers()

    assert manager.send(Transition.TRANSITION_CONFIGURE)
    wait_until(manager.publishers, "the node's topics")
    assert not manager.subscriptions()

    assert manager.send(Transition.TRANSITION_ACTIVATE)
    first = manager.drive(FORWARD, FORWARD)
    assert first.pose.pose.position.x == pytest.approx(1.0)

    assert manager.send(Transition.TRANSITION_DEACTIVATE)
    wait_until(lambda: not manager.subscriptions(), "the end of the subscription")
    assert manager.send(Transition.TRANSITION_ACTIVATE)
    wait_until(manager.subscriptions, "the subscription")
    manager.stamp += 20 * PERIOD_NS
    again = manager.drive(FORWARD)
    assert again.pose.pose.position.x == pytest.approx(1.5)  # the pose was kept

    assert manager.send(Transition.TRANSITION_DEACTIVATE)
    assert manager.send(Transition.TRANSITION_CLEANUP)
    wait_until(lambda: not manager.publishers(), "the end of the node's topics")
    assert manager.send(Transition.TRANSITION_CONFIGURE)
    assert manager.send(Transition.TRANSITION_ACTIVATE)
    wait_until(manager.subscriptions, "the subscription")
    restarted = manager.drive(FORWARD)
    assert restarted.pose.pose.position.x == pytest.approx(0.5)
    assert manager.send(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert program.end(signal.SIGINT) == 0, program.output
    assert "Traceback" not in program.output


def test_missing_model_leaves_the_node_unconfigured(probe: Probe, start: Start) -> None:
    manager = Manager(probe, start, REAL, "/missing", model__bundle="/no/where")
    assert not manager.send(Transition.TRANSITION_CONFIGURE)
    manager.program.wait_for("cannot be configured: no model '/no/where'")
    assert manager.program.end(signal.SIGTERM) == 0


def test_autostarted_node_is_active_without_a_manager(probe: Probe, start: Start) -> None:
    manager = Manager(probe, start, MANAGED, "/autostarted", node__autostart=True, **EVERY)
    wait_until(manager.subscriptions, "the subscription")
    moved = manager.drive(FORWARD, FORWARD)
    assert moved.pose.pose.position.x == pytest.approx(1.0)
    states = probe.listen("/autostarted/sfm_node/status", DiagnosticStatus)
    assert manager.send(Transition.TRANSITION_DEACTIVATE)
    wait_until(lambda: not manager.subscriptions(), "the end of the subscription")
    wait_until(lambda: states and states[-1].message == "idle: inactive", "the status")
    assert states[-1].level == DiagnosticStatus.OK


def test_failed_autostart_waits_for_a_manager(probe: Probe, start: Start) -> None:
    options = {"node__autostart": True, "model__bundle": "/no/where"}
    manager = Manager(probe, start, REAL, "/waiting", **options)
    manager.program.wait_for("cannot be configured: no model '/no/where'")
    assert not manager.send(Transition.TRANSITION_ACTIVATE)
    assert manager.program.end(signal.SIGTERM) == 0


def test_signal_ends_a_node_that_loads_its_model(probe: Probe, start: Start) -> None:
    """It loads for ten minutes: longer than a test waits."""
    command = [*FAKE_NODE, '{"lifecycle": true, "load_s": 600}']
    manager = Manager(probe, start, command, "/loading")
    program = manager.program
    manager.client.call_async(
        ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    )
    program.wait_for("loading")
    program.process.send_signal(signal.SIGINT)
    assert program.end(signal.SIGINT) == 0, program.output  # twice, as under a launch file
