"""Faults around the node: no calibration, subscribers that do not read, a second node, noise.

Each has a reason or a count in the status; the node continues and its poses stay right.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from rig.probe import Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.qos import HistoryPolicy, QoSProfile
from rig.camera import FOCAL, PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND
from rig.fault_rig import LATCHED, STEP_M, FaultRig, start_node
from rig.mutations import damaged_image, damaged_info
from sensor_msgs.msg import Image, PointCloud2

from sfm_ros.datatypes import Reason
from sfm_ros.ros.conversions import stamp_to_ns

Start = Callable[[list[str]], Program]
SLEEPER = """
import rclpy, signal
from rclpy.qos import HistoryPolicy, QoSProfile
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, PointCloud2
rclpy.init()
node = rclpy.create_node("sleeper")
qos = QoSProfile(history=HistoryPolicy.KEEP_ALL)
for kind, name in ((Odometry, "odometry"), (Image, "depth/image"), (PointCloud2, "points")):
    node.create_subscription(kind, "/sfm_node/" + name, print, qos)
print("subscribed", flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def shared(probe: Probe, domain: int) -> Iterator[FaultRig]:
    """One node for all."""
    rig = FaultRig(probe, start_node(domain))
    yield rig
    rig.program.kill()


@pytest.fixture
def rig(shared: FaultRig, domain: int) -> FaultRig:
    """A node that tracks, at x = 1 m."""
    if shared.program.process.poll() is not None:
        shared.program = start_node(domain)
    shared.begin()
    return shared


def test_calibration_that_arrives_late(probe: Probe, domain: int) -> None:
    """Without a calibration there is no pose at all, with it the first image is the origin."""
    program = start_node(domain, "-r", "__ns:=/late")
    try:
        states = probe.listen("/late/sfm_node/status", DiagnosticStatus, LATCHED)
        odometry = probe.listen("/late/sfm_node/odometry", Odometry)
        stamp = 0

        def show(level: int) -> int:
            nonlocal stamp
            stamp += PERIOD_NS
            probe.publish("/late/image", image_message(level, stamp))
            return stamp

        def count(name: str) -> int:
            values = {e.key: e.value for e in states[-1].values} if states else {}
            return int(values.get(name, 0))

        def have_arrived() -> bool:  # the first may be lost before they are connected
            show(FORWARD)
            time.sleep(0.1)
            return count("received") >= 5

        wait_until(have_arrived, "five images")
        expected = f"waiting_for_calibration: {Reason.NO_CALIBRATION.value}"
        wait_until(lambda: states and states[-1].message == expected, "the reason")
        assert not odometry

        # Those that waited are processed in order; the first does not move the camera.
        def are_processed() -> bool:
            probe.publish("/late/camera_info", info_message())
            return bool(odometry) and stamp_to_ns(odometry[-1].header.stamp) == stamp

        wait_until(are_processed, "poses")
        wait_until(lambda: count("received") == count("processed"), "the counts")
        moves = count("processed") - 1
        assert odometry[-1].pose.pose.position.x == pytest.approx(moves * STEP_M)

        def is_tracking() -> bool:  # with further images: after a silence it would not be reported
            show(STAND)
            time.sleep(0.1)
            return any(state.message == "tracking" for state in list(states))

        wait_until(is_tracking, "the end of the wait")
    finally:
        program.kill()


def drive_far(rig: FaultRig, images: int) -> None:
    """Every image is processed although a subscriber does not read."""
    before = len(rig.odometry)
    for _ in range(images // 10):
        rig.drive(*[FORWARD] * 10)
    assert len(rig.odometry) == before + images
    rig.end(1.0 + images * STEP_M)


def test_subscriber_that_never_reads(rig: FaultRig, domain: int) -> None:
    """Its quality of service keeps everything for it, and it never takes any."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    sleeper = rclpy.create_node("sleeper", context=context)
    try:
        qos = QoSProfile(history=HistoryPolicy.KEEP_ALL)
        for kind, name in (
            (Odometry, "odometry"),
            (Image, "depth/image"),
            (PointCloud2, "points"),
        ):
            sleeper.create_subscription(kind, f"/sfm_node/{name}", print, qos)
        wait_until(lambda: rig.probe.node.count_subscribers("/sfm_node/points"), "the sleeper")
        drive_far(rig, 100)
    finally:
        sleeper.destroy_node()
        context.try_shutdown()


def test_subscriber_whose_process_is_stopped(rig: FaultRig, start: Start) -> None:
    """It does not even acknowledge what it received."""
    sleeper = start([sys.executable, "-c", SLEEPER])
    sleeper.wait_for("subscribed")
    wait_until(lambda: rig.probe.node.count_subscribers("/sfm_node/points"), "the sleeper")
    sleeper.process.send_signal(signal.SIGSTOP)
    try:
        drive_far(rig, 100)
    finally:
        sleeper.process.send_signal(signal.SIGKILL)


def test_two_nodes_of_the_same_name(rig: FaultRig, domain: int) -> None:
    """The second has another camera; both log it, and the first continues as before."""
    before = len(rig.program.output)
    duplicate = start_node(domain, "-r", "image:=/elsewhere", "-r", "camera_info:=/elsewhere_info")
    try:
        duplicate.wait_for("2 nodes are called /sfm_node: both publish odometry")
        rig.program.wait_for("2 nodes are called /sfm_node: both publish odometry", before)
        wait_until(lambda: rig.status_values["nodes_of_this_name"] == "2", "the count")
        rig.drive(FORWARD, FORWARD)
    finally:
        assert duplicate.end(signal.SIGINT) == 0
    wait_until(lambda: rig.status_values["nodes_of_this_name"] == "1", "the end of the other")
    rig.end(2.0)


def test_damaged_messages(rig: FaultRig, capsys: pytest.CaptureFixture) -> None:
    """200 mutations of images and calibrations, then the node tracks again."""
    seed, rounds = 7, 100
    rng, first = np.random.default_rng(seed), len(rig.odometry)
    for index in range(rounds):
        rig.calibrate(damaged_info(rng))
        rig.now_ns += PERIOD_NS
        rig.send(damaged_image(rng, rig.now_ns))
        if index % 10 == 9:  # also among good ones: an unusable calibration blocks everything
            rig.settle(FOCAL)
    rig.assert_running()
    for message in rig.odometry[first:]:
        assert np.isfinite(message.pose.covariance).all()
        assert np.isfinite(message.pose.pose.position.x)
    refused = {reason.value: rig.count(reason) for reason in Reason if rig.count(reason)}
    with capsys.disabled():
        print(f"\n{2 * rounds} mutations through the node, seed {seed}: {refused}")
    rig.begin()
    rig.end(1.0)
