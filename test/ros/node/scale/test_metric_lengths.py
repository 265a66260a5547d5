"""What makes lengths metric over the middleware: the camera's height on TF, a measured speed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rig.probe import Probe, wait_until
from streets import HEIGHT_M, braking_street

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from nav_msgs.msg import Odometry
from rclpy.executors import MultiThreadedExecutor
from rig.camera import FRAME, PERIOD_NS
from rig.fault_rig import LATCHED

from sfm_ros.config import config_from_dict
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.geometry import make_transform
from sfm_ros.ros.compat import STATIC_TF_QOS
from sfm_ros.ros.conversions import (
    T_BODY_OPTICAL,
    header,
    info_from_intrinsics,
    rgb_to_image,
    transform_message,
)
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.node import SfmNode
from sfm_ros.ros.node.speed import SpeedInput

FRAMES = 12
FIRST_NS = 100 * PERIOD_NS
"""The street's first stamp is 0, which stands for none."""


class Vehicle:
    """A node that sees the street of `braking_street`, and what it publishes."""

    def __init__(self, probe: Probe, executor: MultiThreadedExecutor, space: str, **scale: Any):
        remaps = [word for name in ("tf", "tf_static") for word in ("-r", f"/{name}:={name}")]
        wait_s = 60.0 if not scale else 0.0
        config = config_from_dict(
            {
                "odometry": {"mode": "geometric"},
                "scale": scale,
                "node": {"image_queue": "every", "extrinsics_wait_s": wait_s},
            }
        )
        self.node = SfmNode(
            FakeEngine(fake_spec(metric=False)),
            config,
            namespace=space,
            context=executor.context,
            cli_args=["--ros-args", *remaps],
        )
        executor.add_node(self.node)
        self.probe, self.space = probe, space
        self.odometry = probe.listen(f"{space}/sfm_node/odometry", Odometry)
        self.states = probe.listen(f"{space}/sfm_node/status", DiagnosticStatus, LATCHED)
        wait_until(self._is_connected, "the subscription to the odometry")

    def _is_connected(self) -> bool:
        topic = f"{self.space}/sfm_node/odometry"
        (publisher,) = (p for p in self.node.publishers if p.topic_name == topic)
        return publisher.get_subscription_count() > 0

    def publish(self, name: str, message: Any, qos: Any = None) -> None:
        self.probe.publish(f"{self.space}/{name}", message, qos)

    def drive(self, start_ns: int) -> None:
        """Show the first frames of the street."""
        for index in range(FRAMES):
            frame = braking_street().render(index).frame
            at = header(start_ns + index * PERIOD_NS, FRAME)
            self.publish("camera_info", info_from_intrinsics(frame.intrinsics, at))
            self.publish("image", rgb_to_image(frame.rgb, at))

    def values(self) -> dict[str, str]:
        return {v.key: v.value for v in self.states[-1].values} if self.states else {}


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_lengths_follow_the_height_on_tf(
    factor: float, probe: Probe, executor: MultiThreadedExecutor
) -> None:
    """TF has the camera on base_link, and that above the ground."""
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    vehicle = Vehicle(probe, executor, f"/height{factor:.0f}")
    above_axle = make_transform(np.eye(3), [0.5, 0.0, factor * HEIGHT_M - 0.3]) @ T_BODY_OPTICAL
    axle = make_transform(np.eye(3), [0.0, 0.0, -0.3])
    transforms = [
        transform_message(above_axle, 0, "base_link", FRAME),
        transform_message(axle, 0, "base_link", "base_footprint"),
    ]
    vehicle.publish("tf_static", tf2_msgs.TFMessage(transforms=transforms), STATIC_TF_QOS)
    vehicle.drive(FIRST_NS)
    wait_until(lambda: len(vehicle.odometry) >= FRAMES - 2, vehicle.values)
    ends = [braking_street().render(index).T_world_camera for index in (0, FRAMES - 1)]
    distance = np.linalg.norm(ends[1][:3, 3] - ends[0][:3, 3])
    assert vehicle.odometry[-1].pose.pose.position.x == pytest.approx(factor * distance, rel=0.15)
    wait_until(lambda: vehicle.values().get("scale_source") == "camera_height", "the source")
    values = vehicle.values()
    assert float(values["scale_age_s"]) == 0 and 0 < float(values["scale_sigma"]) < 0.3


def odometry_of(speed: float, stamp_ns: int) -> Odometry:
    message = Odometry(header=header(stamp_ns, "odom"), child_frame_id="base_link")
    message.twist.twist.linear.x = speed
    return message


def twist_of(speed: float, stamp_ns: int) -> TwistStamped:
    twist = Twist(linear=Vector3(x=speed))
    return TwistStamped(header=header(stamp_ns, "base_link"), twist=twist)


@pytest.mark.parametrize(("topic", "make"), [("odometry", odometry_of), ("twist", twist_of)])
def test_lengths_follow_a_measured_speed(
    topic: str,
    make: Callable[[float, int], Any],
    probe: Probe,
    executor: MultiThreadedExecutor,
) -> None:
    """It states 20 m/s: other lengths than the street's, and than the unit without any source."""
    vehicle = Vehicle(probe, executor, f"/speed_{topic}", external=True)
    start_ns = FIRST_NS

    def has_speed() -> bool:
        nonlocal start_ns
        for index in range(FRAMES):  # the messages of the first pass may come after the images
            vehicle.publish(f"speed/{topic}", make(20.0, start_ns + index * PERIOD_NS))
        vehicle.drive(start_ns)
        start_ns += 10 * FRAMES * PERIOD_NS
        newest = vehicle.odometry[-1].twist.twist.linear.x if vehicle.odometry else 0.0
        return newest == pytest.approx(20.0, rel=0.05)

    wait_until(has_speed, lambda: f"20 m/s; {vehicle.values()}")
    wait_until(lambda: vehicle.values().get("scale_source") == "external", "the source")


@pytest.mark.parametrize(("frame", "expected"), [("base", 2.5), ("other", 2.0)])
def test_speed_is_that_of_the_camera_on_the_body(frame: str, expected: float) -> None:
    """1.5 m in front of the axle it moves sideways while the vehicle turns."""
    camera = Extrinsics(
        child="base",
        optical_frame="eye",
        T_body_camera=make_transform(np.eye(3), [1.5, 0.0, 1.0]) @ T_BODY_OPTICAL,
        is_known=True,
    )
    speeds, message = SpeedInput(), twist_of(2.0, 5)
    message.header.frame_id = frame
    message.twist.angular.z = 1.0
    speeds.take_twist(message)
    ((stamp_ns, speed),) = speeds.speeds(camera)
    assert (stamp_ns, speed) == (5, pytest.approx(expected))
    assert not list(speeds.speeds(camera))
