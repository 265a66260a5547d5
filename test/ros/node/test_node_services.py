"""Services of a running node, parameters that change, and switches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import DescribeParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from rig.camera import FRAME, PERIOD_NS, image_message
from rig.camera_driver import Camera
from rig.fake_node import FORWARD, STAND
from rig.own_node import OwnNode
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from sfm_ros.formats.trajectory_files import read_trajectory
from sfm_ros.ros.conversions import stamp_to_ns

LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def running(
    probe: Probe, domain: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Camera]:
    """One node for the whole module; its odometry is inverted on TF."""
    file = tmp_path_factory.mktemp("run") / "trajectory.tum"
    parameters = ros_arguments(
        node__image_queue="every",
        node__extrinsics_wait_s=0.2,
        node__invert_tf="true",
        node__trajectory_file=str(file),
    )
    program = Program([*FAKE_NODE, "{}", *parameters], domain)
    camera = Camera(probe, program)
    try:
        camera.connect()
        yield camera
    finally:
        program.kill()


@pytest.fixture
def camera(running: Camera) -> Camera:
    """The node, at the origin."""
    running.restart()
    return running


@pytest.fixture
def states(camera: Camera) -> list[DiagnosticStatus]:
    """Every status from now on."""
    return camera.probe.listen("/sfm_node/status", DiagnosticStatus, LATCHED)


def wait_for_state(states: list[DiagnosticStatus], message: str) -> DiagnosticStatus:
    """The first status with this message."""
    return wait_until(
        lambda: next((state for state in list(states) if state.message == message), None),
        f"the status {message}",
    )


def test_trajectory_is_written_as_it_was_published(camera: Camera) -> None:
    camera.show(STAND)  # the reset takes effect with this image
    camera.drive(STAND, FORWARD, FORWARD, FORWARD)
    response = camera.call(Trigger, "/sfm_node/save_trajectory")
    assert response.success
    file = Path(response.message.split(" written to ")[1])
    poses = read_trajectory(file)
    assert poses.stamps_ns[-1] == camera.now_ns
    assert poses.positions[-3:].tolist() == [[0.5, 0, 0], [1.0, 0, 0], [1.5, 0, 0]]

    assert camera.set_parameter("node.trajectory_file", "second.tum").successful
    assert camera.call(Trigger, "/sfm_node/save_trajectory").success
    assert len(read_trajectory(file.with_name("second.tum"))) == len(poses)


def test_path_before_a_reset_is_not_saved(camera: Camera) -> None:
    camera.drive(STAND, FORWARD, FORWARD)
    assert camera.call(Trigger, "/sfm_node/reset").success
    response = camera.call(Trigger, "/sfm_node/save_trajectory")
    assert not response.success and "no pose has been published yet" in response.message


def test_pause_is_reported_without_an_image(
    camera: Camera, states: list[DiagnosticStatus]
) -> None:
    camera.drive(STAND, STAND, STAND)
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=True)).success
    assert wait_for_state(states, "idle: paused").level == DiagnosticStatus.OK
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=False)).success
    wait_for_state(states, "initializing")


def test_images_are_skipped_and_the_pose_is_held_while_paused(camera: Camera) -> None:
    before = int(camera.values().get("count_paused", 0))
    camera.drive(STAND, STAND, FORWARD)
    count = len(camera.odometry)
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=True)).success
    camera.show(*[FORWARD] * 3)

    def are_skipped() -> bool:
        values = camera.values()
        return values["status"] == "idle" and int(values.get("count_paused", 0)) == before + 3

    wait_until(are_skipped, "the images to be skipped")
    assert len(camera.odometry) == count
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=False)).success
    camera.now_ns += 10 * PERIOD_NS
    odometry = camera.drive(STAND, FORWARD, FORWARD)
    assert odometry.pose.pose.position.x == pytest.approx(1.5)  # held over the gap


def test_status_is_published_at_every_change_with_its_reason(
    camera: Camera, states: list[DiagnosticStatus]
) -> None:
    def repeats_a_stamp() -> DiagnosticStatus | None:
        # Within less than the second between two periodic statuses.
        camera.show(STAND)
        camera.probe.publish("/image", image_message(STAND, camera.now_ns))
        camera.drive(STAND)
        found = (state for state in list(states) if state.message == "degraded: duplicate_stamp")
        return next(found, None)

    def is_tracking() -> bool:
        camera.drive(STAND)
        return any(state.message == "tracking" for state in list(states))

    camera.drive(STAND, STAND, FORWARD)
    wait_until(is_tracking, "tracking")
    state = wait_until(repeats_a_stamp, "the repeated stamp")
    values = {entry.key: entry.value for entry in state.values}
    assert int(values["count_duplicate_stamp"]) >= 1
    assert state.name == "/sfm_node: odometry"


def test_limits_change_while_the_node_runs(camera: Camera) -> None:
    camera.drive(STAND, STAND, FORWARD)
    assert camera.set_parameter("health.max_speed", 4.0).successful
    stamp = camera.show(FORWARD)  # half a meter in a tenth of a second: five per second
    assert camera.drive(STAND).pose.pose.position.x == pytest.approx(0.5)
    assert stamp not in [stamp_to_ns(m.header.stamp) for m in camera.odometry]
    assert camera.set_parameter("health.max_speed", 70.0).successful
    assert camera.drive(FORWARD).pose.pose.position.x == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("health.max_speed", -1.0, "health.max_speed out of range"),
        ("health.max_speed", "fast", "'health.max_speed' is 'fast' .*expected float"),
        ("node.publish_tf", 3, "'node.publish_tf' is 3 .*expected bool"),
        ("node.odom_frame", "map", "read-only parameter: node.odom_frame"),
        ("node.nonsense", 1, "undeclared"),
    ],
)
def test_invalid_value_is_refused_with_the_reason(
    camera: Camera, name: str, value: Any, reason: str
) -> None:
    result = camera.set_parameter(name, value)
    assert not result.successful
    assert re.search(reason, result.reason), result.reason


def test_parameters_are_described(camera: Camera) -> None:
    names = ["health.max_speed", "node.image_queue"]
    request = DescribeParameters.Request(names=names)
    response = camera.call(DescribeParameters, "/sfm_node/describe_parameters", request)
    speed, queue = response.descriptors
    assert "plausible" in speed.description and not speed.read_only
    assert speed.floating_point_range[0].from_value == 0.0
    assert queue.read_only and queue.additional_constraints == "one of: newest, every"


def test_switch_turns_an_output_off_and_on(camera: Camera) -> None:
    camera.drive(STAND, STAND, FORWARD)
    assert camera.set_parameter("node.publish_depth", False).successful
    silent = camera.show(STAND)
    camera.drive(STAND)
    assert camera.set_parameter("node.publish_depth", True).successful
    camera.message_of(camera.depth, camera.show(STAND))
    assert silent not in [stamp_to_ns(m.header.stamp) for m in camera.depth]


def test_depth_colors_are_an_image_of_its_grid(camera: Camera) -> None:
    images = camera.probe.listen("/sfm_node/depth/image_color", Image)

    def has_arrived() -> bool:
        camera.drive(STAND, STAND, STAND)
        return bool(images)

    wait_until(has_arrived, "an image of the depth")
    image = images[-1]
    assert (image.encoding, image.width, image.height) == ("rgb8", 64, 32)
    assert image.step == 3 * 64 and image.header.frame_id == FRAME
    rows = np.frombuffer(image.data, np.uint8).reshape(32, 64, 3).mean(axis=(1, 2))
    assert rows[31] > rows[20] > rows[0]  # the road is nearer, and brighter, at the bottom


def test_tf_is_inverted_if_requested(camera: Camera) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    moving = camera.probe.listen("/tf", tf2_msgs.TFMessage)
    camera.drive(STAND, STAND, FORWARD)

    def has_arrived() -> bool:
        camera.drive(STAND)
        return bool(moving)

    wait_until(has_arrived, "a transform")
    stamp = stamp_to_ns(camera.drive(FORWARD).header.stamp)

    def sent() -> Any:
        transforms = [m.transforms[0] for m in list(moving)]
        return next((t for t in transforms if stamp_to_ns(t.header.stamp) == stamp), None)

    transform = wait_until(sent, "the transform")
    assert transform.header.frame_id == "camera_body"
    assert transform.child_frame_id == "odom"
    assert transform.transform.translation.x == pytest.approx(-1.0)  # the camera is 1 m ahead


# ---- nodes of their own -----------------------------------------------------------------------


def test_images_are_skipped_without_subscribers(own_node: Callable[..., OwnNode]) -> None:
    node = own_node("/idle", node__publish_tf="false", node__idle_without_subscribers="true")
    node.show_until(lambda: node.message() == "idle: no_subscribers", "the node to idle")
    assert next(v.value for v in node.states[-1].values if v.key == "processed") == "0"
    odometry = node.listen("sfm_node/odometry", Odometry)
    node.calibrate()
    node.show_until(lambda: odometry, "odometry for a subscriber")


def test_subscription_to_a_remapped_tf_counts(own_node: Callable[..., OwnNode]) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    node = own_node("/r1", "-r", "/tf:=tf", node__idle_without_subscribers="true")
    transforms = node.listen("tf", tf2_msgs.TFMessage)
    node.calibrate()
    node.show_until(lambda: transforms, "a transform", FORWARD)


def test_compressed_topic_is_remapped_by_its_own_name(own_node: Callable[..., OwnNode]) -> None:
    remap = "-r", "/r2/image/compressed:=/cam/foo"
    node = own_node("/r2", *remap, node__compressed="true")
    wait_until(lambda: node.states, "the status")
    values = {entry.key: entry.value for entry in node.states[-1].values}
    assert values["image_topic"] == "/cam/foo"
    wait_until(lambda: node.probe.node.count_subscribers("/cam/foo") == 1, "the subscription")
