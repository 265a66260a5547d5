"""The managed node, taken through its states."""

from __future__ import annotations

import signal
import sys
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
REAL = [sys.executable, "-m", "sfm_ros.ros.node.lifecycle"]


class Manager:
    """Sends a node its transitions and its images."""

    def __init__(self, probe: Probe, program: Program) -> None:
        self.probe, self.program = probe, program
        self.client = probe.node.create_client(ChangeState, "/sfm_node/change_state")
        assert self.client.wait_for_service(20)
        self.stamp = 0

    def send(self, transition: int) -> bool:
        """Whether the node went through a transition."""
        request = ChangeState.Request(transition=Transition(id=transition))
        future = self.client.call_async(request)
        wait_until(future.done, "the transition")
        return future.result().success

    def listeners(self) -> int:
        """How many subscribe to the images."""
        return self.probe.node.count_subscribers("/image")

    def drive(self, odometry: list, *levels: int) -> Any:
        """The odometry of the last of these images."""
        self.probe.publish("/camera_info", info_message())
        for level in levels:
            self.stamp += PERIOD_NS
            self.probe.publish("/image", image_message(level, self.stamp))

        def answer() -> Any:
            return next((m for m in odometry if stamp_to_ns(m.header.stamp) == self.stamp), None)

        return wait_until(answer, f"odometry; the node said:\n{self.program.said}")


def test_from_unconfigured_to_active_and_back(probe: Probe, start: Start) -> None:
    odometry = probe.listen("/sfm_node/odometry", Odometry)
    parameters = ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.0)
    program = start([*MANAGED, *parameters])
    manager = Manager(probe, program)
    publishers = probe.node.count_publishers
    assert not manager.listeners() and not publishers("/sfm_node/odometry")

    assert manager.send(Transition.TRANSITION_CONFIGURE)
    wait_until(lambda: publishers("/sfm_node/odometry"), "the node's topics")
    assert not manager.listeners()

    assert manager.send(Transition.TRANSITION_ACTIVATE)
    first = manager.drive(odometry, STAND, FORWARD, FORWARD)
    assert first.pose.pose.position.x == pytest.approx(1.0)

    assert manager.send(Transition.TRANSITION_DEACTIVATE)
    wait_until(lambda: not manager.listeners(), "the end of the subscription")
    assert manager.send(Transition.TRANSITION_ACTIVATE)
    wait_until(manager.listeners, "the subscription")
    manager.stamp += 20 * PERIOD_NS
    again = manager.drive(odometry, STAND, STAND, FORWARD)
    assert again.pose.pose.position.x == pytest.approx(1.5)  # the pose was kept

    assert manager.send(Transition.TRANSITION_DEACTIVATE)
    assert manager.send(Transition.TRANSITION_CLEANUP)
    wait_until(lambda: not publishers("/sfm_node/odometry"), "the end of the node's topics")
    assert manager.send(Transition.TRANSITION_CONFIGURE)
    assert manager.send(Transition.TRANSITION_ACTIVATE)
    wait_until(manager.listeners, "the subscription")
    anew = manager.drive(odometry, STAND, STAND, FORWARD)
    assert anew.pose.pose.position.x == pytest.approx(0.5)
    assert manager.send(Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert program.end(signal.SIGINT) == 0, program.said
    assert "Traceback" not in program.said


def test_a_model_that_is_missing_leaves_the_node_unconfigured(probe: Probe, start: Start) -> None:
    program = start([*REAL, *ros_arguments(model__bundle="/no/where")])
    manager = Manager(probe, program)
    assert not manager.send(Transition.TRANSITION_CONFIGURE)
    program.wait_for("cannot be configured: no model '/no/where'")
    assert program.end(signal.SIGTERM) == 0


def test_a_node_that_starts_itself_is_active_without_a_manager(probe: Probe, start: Start) -> None:
    odometry = probe.listen("/sfm_node/odometry", Odometry)
    parameters = ros_arguments(
        node__autostart=True, node__image_queue="every", node__extrinsics_wait_s=0.0
    )
    manager = Manager(probe, start([*MANAGED, *parameters]))
    wait_until(manager.listeners, "the subscription")
    assert manager.drive(odometry, STAND, FORWARD, FORWARD).pose.pose.position.x == (
        pytest.approx(1.0)
    )
    states = probe.listen("/sfm_node/status", DiagnosticStatus)
    assert manager.send(Transition.TRANSITION_DEACTIVATE)
    wait_until(lambda: not manager.listeners(), "the end of the subscription")
    wait_until(lambda: states and states[-1].message == "idle: inactive", "the status")
    assert states[-1].level == DiagnosticStatus.OK


def test_a_node_that_cannot_start_itself_waits_for_a_manager(probe: Probe, start: Start) -> None:
    program = start([*REAL, *ros_arguments(node__autostart=True, model__bundle="/no/where")])
    program.wait_for("cannot be configured: no model '/no/where'")
    manager = Manager(probe, program)
    assert not manager.send(Transition.TRANSITION_ACTIVATE)
    assert program.end(signal.SIGTERM) == 0


def test_a_signal_ends_a_node_that_loads_its_model(probe: Probe, start: Start) -> None:
    """A load of a minute: longer than a test waits."""
    program = start([*FAKE_NODE, '{"lifecycle": true, "load_s": 60}'])
    manager = Manager(probe, program)
    manager.client.call_async(
        ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
    )
    program.process.send_signal(signal.SIGINT)
    assert program.end(signal.SIGINT) == 0, program.said  # twice, as under a launch file
