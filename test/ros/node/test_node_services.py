"""What can be asked of a running node: services, live parameters, switches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.srv import DescribeParameters
from rclpy.qos import DurabilityPolicy, QoSProfile
from rig.camera import FRAME, PERIOD_NS, image_message, info_message
from rig.camera_driver import Camera
from rig.fake_node import FORWARD, STAND
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import SetBool, Trigger

from sfm_ros.formats.trajectory import read_tum
from sfm_ros.ros.conversions import stamp_to_ns

LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture(scope="module")
def running(
    probe: Probe, domain: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Camera]:
    """One node for the whole module; its odometry goes out inverted on TF."""
    file = tmp_path_factory.mktemp("run") / "trajectory.tum"
    parameters = ros_arguments(
        node__image_queue="every",
        node__extrinsics_wait_s=0.2,
        node__invert_tf="true",
        node__trajectory_file=str(file),
    )
    program = Program([*FAKE_NODE, "{}", *parameters], domain)
    camera = Camera(probe, program)
    camera.calibrate()
    yield camera
    program.kill()


@pytest.fixture
def camera(running: Camera) -> Camera:
    """The node, at the origin."""
    running.restart()
    return running


def test_the_trajectory_is_written_as_it_was_published(camera: Camera, tmp_path: Path) -> None:
    empty = camera.call(Trigger, "/sfm_node/save_trajectory")
    camera.show(STAND)  # the reset takes effect with this image
    camera.drive(STAND, FORWARD, FORWARD, FORWARD)
    answer = camera.call(Trigger, "/sfm_node/save_trajectory")
    assert answer.success and not empty.success
    file = Path(answer.message.split(" written to ")[1])
    poses = read_tum(file)
    assert poses.stamps_ns[-1] == camera.now_ns
    assert poses.positions[-3:].tolist() == [[0.5, 0, 0], [1.0, 0, 0], [1.5, 0, 0]]

    assert camera.set_parameter("node.trajectory_file", str(tmp_path / "no" / "where")).successful
    refused = camera.call(Trigger, "/sfm_node/save_trajectory")
    assert not refused.success and "No such file" in refused.message
    assert camera.set_parameter("node.trajectory_file", str(tmp_path / "second.tum")).successful
    assert camera.call(Trigger, "/sfm_node/save_trajectory").success
    assert len(read_tum(tmp_path / "second.tum")) == len(poses)


def test_after_a_reset_the_old_path_is_not_saved(camera: Camera) -> None:
    camera.drive(STAND, FORWARD, FORWARD)
    assert camera.call(Trigger, "/sfm_node/reset").success
    answer = camera.call(Trigger, "/sfm_node/save_trajectory")
    assert not answer.success and "no pose has been published yet" in answer.message


def test_a_home_nobody_has_is_refused_and_the_node_lives(camera: Camera) -> None:
    before = camera.values()["received"]
    name = "~nobody-of-this-name/t.tum"
    assert camera.set_parameter("node.trajectory_file", name).successful
    answer = camera.call(Trigger, "/sfm_node/save_trajectory")
    assert not answer.success and name in answer.message
    camera.show(STAND)
    wait_until(lambda: camera.values()["received"] != before, "the next image")


def test_a_pause_is_told_though_no_image_comes(camera: Camera) -> None:
    states = camera.probe.listen("/sfm_node/status", DiagnosticStatus, LATCHED)
    camera.drive(STAND, STAND, STAND)
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=True)).success
    wait_until(lambda: states and states[-1].message == "idle: paused", "the status")
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=False)).success
    wait_until(lambda: states[-1].message == "initializing", "the status")


def test_while_paused_images_are_passed_over_and_the_pose_stands(camera: Camera) -> None:
    states = camera.probe.listen("/sfm_node/status", DiagnosticStatus, LATCHED)
    camera.drive(STAND, STAND, FORWARD)
    count = len(camera.odometry)
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=True)).success
    camera.show(*[FORWARD] * 3)
    wait_until(lambda: states and states[-1].message == "idle: paused", "the status")
    assert states[-1].level == DiagnosticStatus.OK
    wait_until(lambda: int(camera.values()["count_paused"]) == 3, "the images to be passed over")
    assert len(camera.odometry) == count
    assert camera.call(SetBool, "/sfm_node/set_paused", SetBool.Request(data=False)).success
    camera.now_ns += 10 * PERIOD_NS
    odometry = camera.drive(STAND, FORWARD, FORWARD)
    assert odometry.pose.pose.position.x == pytest.approx(1.5)  # held over the gap


def test_status_is_told_at_every_change_with_its_reason(camera: Camera) -> None:
    states = camera.probe.listen("/sfm_node/status", DiagnosticStatus, LATCHED)
    camera.drive(STAND, STAND, FORWARD)
    # Sooner than the second that passes between two reports.
    camera.show(STAND)
    camera.probe.publish("/image", image_message(STAND, camera.now_ns))
    camera.show(STAND)

    def told(message: str) -> bool:
        return any(state.message == message for state in states)

    wait_until(lambda: told("tracking"), "tracking")
    wait_until(lambda: told("degraded: duplicate_stamp"), "the repeated stamp")
    values = {entry.key: entry.value for entry in states[-1].values}
    assert int(values["count_duplicate_stamp"]) >= 1
    assert states[-1].name == "/sfm_node: odometry"


def test_limits_may_change_while_the_node_runs(camera: Camera) -> None:
    camera.drive(STAND, STAND, FORWARD)
    assert camera.set_parameter("health.max_speed", 4.0).successful
    stamp = camera.show(FORWARD)  # half a meter in a tenth of a second: five a second
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
def test_a_value_that_does_not_fit_is_refused_with_the_reason(
    camera: Camera, name: str, value: Any, reason: str
) -> None:
    result = camera.set_parameter(name, value)
    assert not result.successful
    assert re.search(reason, result.reason), result.reason


def test_parameters_are_described(camera: Camera) -> None:
    names = ["health.max_speed", "node.image_queue"]
    request = DescribeParameters.Request(names=names)
    answer = camera.call(DescribeParameters, "/sfm_node/describe_parameters", request)
    speed, delivery = answer.descriptors
    assert "plausible" in speed.description and not speed.read_only
    assert speed.floating_point_range[0].from_value == 0.0
    assert delivery.read_only and delivery.additional_constraints == "one of: newest, every"


def test_a_switch_turns_an_output_off_and_on(camera: Camera) -> None:
    camera.drive(STAND, STAND, FORWARD)
    assert camera.set_parameter("node.publish_depth", False).successful
    silent = camera.show(STAND)
    camera.drive(STAND)
    assert camera.set_parameter("node.publish_depth", True).successful
    camera.answer(camera.depth, camera.show(STAND))
    assert silent not in [stamp_to_ns(m.header.stamp) for m in camera.depth]


def test_the_colors_of_depth_are_a_image_of_its_grid(camera: Camera) -> None:
    images = camera.probe.listen("/sfm_node/depth/image_color", Image)

    camera.drive(STAND, STAND, STAND)

    def arrived() -> bool:
        camera.drive(STAND)
        return bool(images)

    wait_until(arrived, "an image of the depth")
    image = images[-1]
    assert (image.encoding, image.width, image.height) == ("rgb8", 64, 32)
    assert image.step == 3 * 64 and image.header.frame_id == FRAME
    rows = np.frombuffer(image.data, np.uint8).reshape(32, 64, 3).mean(axis=(1, 2))
    assert rows[31] > rows[20] > rows[0]  # the road comes nearer, and brighter, downwards


def test_tf_is_sent_the_other_way_round_where_asked(camera: Camera) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    moving = camera.probe.listen("/tf", tf2_msgs.TFMessage)
    wait_until(lambda: camera.probe.node.count_publishers("/tf"), "a publisher of TF")
    camera.drive(STAND, STAND, FORWARD)
    stamp = stamp_to_ns(camera.drive(FORWARD).header.stamp)

    def sent() -> Any:
        transforms = [m.transforms[0] for m in list(moving)]
        return next((t for t in transforms if stamp_to_ns(t.header.stamp) == stamp), None)

    transform = wait_until(sent, "the transform")
    assert transform.header.frame_id == "camera_body"
    assert transform.child_frame_id == "odom"
    assert transform.transform.translation.x == pytest.approx(-1.0)  # the camera is 1 m ahead


def test_without_subscribers_images_may_be_left_alone(probe: Probe, domain: int) -> None:
    """Two nodes: one idles, one is asked for its odometry."""
    parameters = ros_arguments(
        node__image_queue="every",
        node__extrinsics_wait_s=0.0,
        node__publish_tf="false",
        node__idle_without_subscribers="true",
    )
    program = Program([*FAKE_NODE, "{}", *parameters, "-r", "__ns:=/idle"], domain)
    try:
        states = probe.listen("/idle/sfm_node/status", DiagnosticStatus, LATCHED)
        stamp = PERIOD_NS

        def is_idle() -> bool:
            nonlocal stamp
            stamp += PERIOD_NS
            probe.publish("/idle/image", image_message(STAND, stamp))
            return bool(states) and states[-1].message == "idle: no_subscribers"

        wait_until(is_idle, "the node to idle")
        for kind, topic in ((PathMessage, "path"), (PointCloud2, "points")):
            assert not probe.received[f"/idle/sfm_node/{topic}"], kind
        odometry = probe.listen("/idle/sfm_node/odometry", Odometry)
        probe.publish("/idle/camera_info", info_message())

        def answers() -> bool:
            is_idle()
            return bool(odometry)

        wait_until(answers, "odometry once it is asked for")
    finally:
        program.kill()


def test_a_listener_to_tf_under_another_name_is_a_subscriber(probe: Probe, domain: int) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    parameters = ros_arguments(
        node__image_queue="every",
        node__extrinsics_wait_s=0.0,
        node__idle_without_subscribers="true",
    )
    remaps = ["-r", "__ns:=/r1", "-r", "/tf:=tf"]
    program = Program([*FAKE_NODE, "{}", *parameters, *remaps], domain)
    try:
        transforms = probe.listen("/r1/tf", tf2_msgs.TFMessage)
        probe.publish("/r1/camera_info", info_message())
        stamp = 0

        def is_moved() -> bool:
            nonlocal stamp
            stamp += PERIOD_NS
            probe.publish("/r1/image", image_message(FORWARD, stamp))
            return bool(transforms)

        wait_until(is_moved, "a transform")
    finally:
        program.kill()


def test_the_compressed_topic_may_be_remapped_by_its_own_name(probe: Probe, domain: int) -> None:
    parameters = ros_arguments(node__compressed="true")
    remaps = ["-r", "__ns:=/r2", "-r", "/r2/image/compressed:=/cam/foo"]
    program = Program([*FAKE_NODE, "{}", *parameters, *remaps], domain)
    try:
        states = probe.listen("/r2/sfm_node/status", DiagnosticStatus, LATCHED)
        wait_until(lambda: states, "the status")
        values = {entry.key: entry.value for entry in states[-1].values}
        assert values["image_topic"] == "/cam/foo"
        assert probe.node.count_subscribers("/cam/foo") == 1
    finally:
        program.kill()
