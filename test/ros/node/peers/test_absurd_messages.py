"""Finite but absurd numbers of a peer: the node refuses them with the reason, and goes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rig.camera import FRAME, PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND
from rig.own_node import OwnNode
from tf2_msgs.msg import TFMessage

from sfm_ros.ros.conversions import T_BODY_OPTICAL, transform_message

ABSURD_M = (2e3, 1e9, 1e150, -1e308)


def assert_finite(odometry: list[Odometry]) -> None:
    for message in odometry:
        p, q = message.pose.pose.position, message.pose.pose.orientation
        numbers = [p.x, p.y, p.z, q.x, q.y, q.z, q.w]
        assert np.isfinite([*numbers, *message.pose.covariance, *message.twist.covariance]).all()
        assert max(map(abs, numbers)) < 1e4


def trouble(node: OwnNode) -> str:
    """The last one that has been reported; empty before the first status."""
    values = (e for s in node.states[-1:] for e in s.values)
    return next((e.value for e in values if e.key == "last_trouble"), "")


def camera_at(meters: float, stamp_ns: int, frame: str = FRAME) -> TransformStamped:
    message = transform_message(T_BODY_OPTICAL, stamp_ns, "base_link", frame)
    message.transform.translation.x = meters
    return message


@pytest.mark.parametrize("absurd_m", ABSURD_M)
def test_absurd_extrinsics_move_nothing(own_node: Callable[..., OwnNode], absurd_m: float) -> None:
    """The camera moves on the robot; from some moment on a peer publishes absurd samples."""
    space = f"/tf_{ABSURD_M.index(absurd_m)}"
    remaps = [word for name in ("tf", "tf_static") for word in ("-r", f"/{name}:={name}")]
    node = own_node(space, *remaps, node__extrinsics_wait_s=60.0)
    odometry = node.listen("sfm_node/odometry", Odometry)
    node.calibrate()
    stamp_ns = 0

    def publish(meters: float) -> None:
        nonlocal stamp_ns
        stamp_ns += PERIOD_NS
        message = TFMessage(transforms=[camera_at(meters, stamp_ns)])
        node.probe.publish(f"{space}/tf", message)

    def is_tracking() -> bool:
        publish(1.0)
        return len(odometry) > 5

    node.show_until(is_tracking, "odometry")

    def is_refused() -> bool:
        publish(absurd_m)
        return f"{absurd_m:g}" in trouble(node)

    node.show_until(is_refused, "the reason", FORWARD)
    assert "expected" in trouble(node)
    count = len(odometry)
    node.show_until(lambda: len(odometry) > count + 3, "odometry", STAND)
    assert_finite(odometry)
    assert node.program.process.poll() is None


def test_absurd_calibrations_are_refused(own_node: Callable[..., OwnNode]) -> None:
    node = own_node("/infos")
    odometry = node.listen("sfm_node/odometry", Odometry)
    for focal, reason in ((1e150, "fx=1e+150"), (1e9, "fx=1e+09"), (1e-2, "fx=0.01")):
        info = info_message(focal)

        def is_refused(info=info, reason=reason) -> bool:
            node.probe.publish("/infos/camera_info", info)
            return reason in trouble(node)

        node.show_until(is_refused, reason)
    assert not odometry
    node.calibrate()
    node.show_until(lambda: len(odometry) > 3, "odometry")
    assert_finite(odometry)


def test_frame_of_an_image_forges_no_line_of_the_log(own_node: Callable[..., OwnNode]) -> None:
    node = own_node("/names")
    node.calibrate()
    node.show_until(lambda: node.message() == "tracking", "tracking")
    evil = "\x1b[2J\n[INFO] [1.0] [sfm_node]: all is well" + "x" * 1_000_000
    node.probe.publish("/names/image", image_message(STAND, 10**15, evil))
    node.show_until(lambda: "frame_id" in trouble(node), "the reason")
    assert "\x1b[2J" not in node.program.output and "\n[INFO] [1.0]" not in node.program.output
    assert len(node.program.output) < 10_000
    node.show_until(lambda: node.message() == "tracking", "tracking again")
