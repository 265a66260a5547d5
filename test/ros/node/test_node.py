"""The node as a process: what it publishes on the middleware."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np
import pytest
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rig.camera import FRAME, HEIGHT, PERIOD_NS, WIDTH, image_message, info_message
from rig.camera_driver import Camera
from rig.fake_node import BROKEN, FORWARD, STAND, TURN_LEFT
from sensor_msgs.msg import PointCloud2

from sfm_ros.ros.compat import STATIC_TF_LISTENER_QOS
from sfm_ros.ros.conversions import stamp_to_ns


@pytest.fixture(scope="module")
def running(probe: Probe, domain: int) -> Iterator[Camera]:
    """One node for the whole module: every frame, in order, no extrinsics."""
    program = Program(
        [*FAKE_NODE, "{}", *ros_arguments(node__image_queue="every", node__extrinsics_wait_s=0.2)],
        domain,
    )
    camera = Camera(probe, program)
    try:
        camera.connect()
        yield camera
    finally:
        program.kill()


@pytest.fixture
def camera(running: Camera) -> Camera:
    """The node, calibrated and at the origin."""
    running.calibrate()
    running.restart()
    return running


def yaw(message: Odometry) -> float:
    q = message.pose.pose.orientation
    return math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y**2 + q.z**2))


def position(message: Odometry) -> list[float]:
    p = message.pose.pose.position
    return [p.x, p.y, p.z]


def test_one_meter_ahead_is_one_meter_of_odom_x(camera: Camera) -> None:
    odometry = camera.drive(STAND, FORWARD, FORWARD)
    assert position(odometry) == pytest.approx([1.0, 0.0, 0.0], abs=1e-9)
    assert yaw(odometry) == pytest.approx(0.0, abs=1e-9)
    assert odometry.header.frame_id == "odom"
    assert odometry.child_frame_id == "camera_body"


def test_velocity_is_in_axes_of_the_child_and_covariance_grows(camera: Camera) -> None:
    first = camera.drive(STAND, FORWARD, FORWARD)
    last = camera.drive(*[FORWARD] * 10)
    assert last.twist.twist.linear.x == pytest.approx(5.0)
    assert last.twist.twist.linear.y == pytest.approx(0.0, abs=1e-9)
    variances = [np.diag(np.reshape(m.pose.covariance, (6, 6))) for m in (first, last)]
    assert np.all(variances[0] > 0) and np.all(variances[1] > variances[0])
    assert np.all(np.diag(np.reshape(last.twist.covariance, (6, 6))) > 0)


def test_five_degrees_to_the_left_are_plus_five_of_yaw(camera: Camera) -> None:
    odometry = camera.drive(STAND, TURN_LEFT, TURN_LEFT)
    assert math.degrees(yaw(odometry)) == pytest.approx(5.0)
    assert math.degrees(odometry.twist.twist.angular.z) == pytest.approx(25.0)


def test_left_turn_then_ahead_moves_to_the_left(camera: Camera) -> None:
    """36 turns of 2.5 degrees lead to +y."""
    odometry = camera.drive(STAND, *[TURN_LEFT] * 36, FORWARD, FORWARD)
    assert position(odometry) == pytest.approx([0.0, 1.0, 0.0], abs=1e-9)


def test_tf_agrees_with_odometry(camera: Camera) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    moving = camera.probe.listen("/tf", tf2_msgs.TFMessage)
    fixed = camera.probe.listen("/tf_static", tf2_msgs.TFMessage, STATIC_TF_LISTENER_QOS)

    def is_connected() -> bool:  # its publishers are made with the first pose
        camera.drive(FORWARD, FORWARD, FORWARD)
        return bool(moving and fixed)

    wait_until(is_connected, "/tf and /tf_static")
    odometry = camera.drive(FORWARD)

    def sent() -> object:
        transforms = [message.transforms[0] for message in list(moving)]
        return next((t for t in transforms if t.header == odometry.header), None)

    transform = wait_until(sent, "the transform of that frame")
    translation = transform.transform.translation
    assert transform.child_frame_id == odometry.child_frame_id
    assert [translation.x, translation.y, translation.z] == pytest.approx(position(odometry))
    optical = fixed[0].transforms[0]
    assert (optical.header.frame_id, optical.child_frame_id) == ("camera_body", FRAME)
    q = optical.transform.rotation
    same_sign = [value * math.copysign(1, q.w) for value in (q.x, q.y, q.z, q.w)]
    assert same_sign == pytest.approx([-0.5, 0.5, -0.5, 0.5])  # REP 103


def test_depth_is_metric_and_has_its_own_calibration(camera: Camera) -> None:
    stamp = camera.show(STAND, STAND, STAND)
    depth, info = (camera.message_of(kept, stamp) for kept in (camera.depth, camera.depth_info))
    assert (depth.encoding, depth.width, depth.height, depth.step) == ("32FC1", 64, 32, 256)
    assert depth.header.frame_id == info.header.frame_id == FRAME
    assert (info.width, info.height) == (64, 32)
    assert info.k[0] == pytest.approx(40.0)  # half of the camera's focal length
    values = np.frombuffer(depth.data, np.float32).reshape(32, 64)
    row = 30
    expected = info.k[4] * 1.65 / (row - info.k[5])  # the fake engine's level road
    assert values[row] == pytest.approx(np.full(64, expected), rel=1e-5)
    assert list(info.p[:3]) == pytest.approx(list(info.k[:3]))


def test_cloud_and_path_are_published_for_subscribers(camera: Camera) -> None:
    clouds = camera.probe.listen("/sfm_node/points", PointCloud2)
    paths = camera.probe.listen("/sfm_node/path", PathMessage)
    camera.drive(STAND, FORWARD, FORWARD)

    def has_arrived() -> object:
        camera.drive(FORWARD)
        return clouds and paths

    wait_until(has_arrived, "a cloud and a path")
    cloud = clouds[-1]
    assert (cloud.width, cloud.height, cloud.point_step) == (64, 32, 16)
    points = np.frombuffer(cloud.data, np.float32).reshape(32, 64, 4)
    assert points[31, :, 1] == pytest.approx(np.full(64, 1.65), rel=1e-4)  # the road is flat
    assert paths[-1].poses[0].pose.position.x == pytest.approx(1.0)


BAD_IMAGES: dict[str, tuple[dict, str]] = {
    "unknown encoding": ({"encoding": "jpeg2000"}, "'jpeg2000', expected one of"),
    "short step": ({"step": 3 * WIDTH - 1}, f"step is {3 * WIDTH - 1} bytes.*takes {3 * WIDTH}"),
    "short data": ({"data": bytes(100)}, f"holds 100 bytes.*take {3 * WIDTH * HEIGHT}"),
    "other size": (
        {"height": HEIGHT // 2, "data": bytes(3 * WIDTH * HEIGHT // 2)},
        f"image is {WIDTH}x{HEIGHT // 2}.*for {WIDTH}x{HEIGHT}",
    ),
    "no pixels": ({"width": 0, "height": 0, "data": b""}, "0x0 pixels"),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_bad_image_is_dropped_and_logged(camera: Camera, name: str) -> None:
    fields, pattern = BAD_IMAGES[name]
    before = len(camera.program.output)
    camera.drive(STAND, FORWARD, FORWARD)
    bad = image_message(FORWARD, camera.now_ns + PERIOD_NS // 2)
    for field, value in fields.items():
        setattr(bad, field, value)

    def is_logged() -> bool:  # not at once if another one was logged a moment ago
        camera.probe.publish("/image", bad)
        found = re.search(f"image dropped: .*{pattern}", camera.program.output[before:])
        return found is not None

    camera.program.wait_until(is_logged, "the warning")
    assert camera.drive(FORWARD).pose.pose.position.x == pytest.approx(1.5)


@pytest.mark.parametrize("focal", [0.0, math.nan, math.inf], ids=["zero", "nan", "inf"])
def test_images_wait_out_an_unusable_calibration(camera: Camera, focal: float) -> None:
    before = len(camera.program.output)
    camera.calibrate(info_message(focal=focal))

    def is_logged() -> bool:
        camera.show(STAND)
        return "no usable calibration on /camera_info" in camera.program.output[before:]

    wait_until(is_logged, "the warning that names the topic")
    camera.wait_for_value("status", "waiting_for_calibration")
    camera.calibrate()
    camera.drive(STAND, FORWARD, FORWARD)

    def is_tracking() -> bool:
        camera.drive(STAND)
        return camera.values()["status"] == "tracking"

    wait_until(is_tracking, "the status")


def test_changed_calibration_holds_the_pose(camera: Camera) -> None:
    camera.drive(STAND, FORWARD, FORWARD)
    before = len(camera.program.output)
    camera.calibrate(info_message(focal=90.0))

    camera.wait_for_calibration_change(before)
    stamp = camera.show(STAND, STAND, FORWARD)
    assert camera.message_of(camera.depth_info, stamp).k[0] == pytest.approx(45.0)
    odometry = camera.message_of(camera.odometry, stamp)
    assert odometry.pose.pose.position.x == pytest.approx(1.5)
    before = len(camera.program.output)
    camera.calibrate()
    camera.wait_for_calibration_change(before)


def test_time_that_runs_back_restarts_the_odometry(camera: Camera) -> None:
    camera.drive(STAND, FORWARD, FORWARD)
    before = len(camera.program.output)
    camera.now_ns -= 5_000_000_001  # stamps that were not used before
    odometry = camera.drive(STAND, FORWARD, FORWARD)
    assert odometry.pose.pose.position.x == pytest.approx(1.0)
    assert camera.program.wait_for("time went back", since=before).count("time went back") == 1
    camera.now_ns += 10_000_000_000  # later tests continue after every stamp used so far


def test_no_pose_is_published_for_an_unknown_motion(camera: Camera) -> None:
    camera.drive(STAND, FORWARD, FORWARD)
    broken = camera.show(BROKEN)
    after = camera.drive(FORWARD, FORWARD, FORWARD)
    stamps = [stamp_to_ns(m.header.stamp) for m in camera.odometry]
    assert broken not in stamps
    assert after.pose.pose.position.x == pytest.approx(2.5)  # held, then continued


def test_second_image_of_a_stamp_is_counted(camera: Camera) -> None:
    before = int(camera.values()["duplicates"])
    camera.drive(STAND, FORWARD, FORWARD)
    camera.probe.publish("/image", image_message(FORWARD, camera.now_ns))
    assert camera.drive(FORWARD).pose.pose.position.x == pytest.approx(1.5)
    camera.wait_for_value("duplicates", str(before + 1))


def test_dropped_images_are_counted_and_the_last_problem_is_reported(camera: Camera) -> None:
    before = int(camera.values()["rejected"])
    camera.probe.publish("/image", image_message(STAND, camera.now_ns))
    for _ in range(3):
        bad = image_message(STAND, camera.now_ns)
        bad.encoding = "none"
        camera.probe.publish("/image", bad)
    camera.drive(STAND, FORWARD, FORWARD)
    values = camera.wait_for_value("rejected", str(before + 3))
    assert "encoding is 'none'" in values["last_trouble"]


def test_diagnostics_have_counts_engine_and_latency(camera: Camera) -> None:
    camera.drive(STAND, FORWARD, FORWARD)

    def settled() -> dict[str, str] | None:  # not while an image is being processed
        values = camera.values()
        accounted = int(values["processed"]) + int(values["rejected"])
        return values if int(values["received"]) == accounted > 0 else None

    values = wait_until(settled, "counts that add up")
    assert values["engine"] == "fake"
    assert values["image_topic"] == "/image"
    assert values["scale_source"] == "model"
    assert values["replaced"] == "0"
    for stage in ("total", "engine", "outside_engine"):
        p50, p99 = (float(values[f"latency_{stage}_p{p}_ms"]) for p in (50, 99))
        assert 0 <= p50 <= p99
