"""The uncertainty of the depth of a running node, and what it limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rig.camera_driver import Camera
from rig.fake_node import FORWARD, STAND
from sensor_msgs.msg import Image, PointCloud2

from sfm_ros.ros.conversions import stamp_to_ns


@pytest.fixture(scope="module")
def camera(probe: Probe, domain: int) -> Iterator[Camera]:
    """A node that measures depth."""
    parameters = ros_arguments(
        node__image_queue="every", node__extrinsics_wait_s=0.0, depth__mode="multiview"
    )
    program = Program([*FAKE_NODE, "{}", *parameters], domain)
    camera = Camera(probe, program)
    try:
        camera.connect()
        yield camera
    finally:
        program.kill()


def numbers(message: Image) -> np.ndarray:
    return np.frombuffer(message.data, "<f4").reshape(message.height, message.width)


def known_points(message: PointCloud2) -> int:
    points = np.frombuffer(message.data, "<f4").reshape(message.height, message.width, -1)
    return int(np.isfinite(points[..., 2]).sum())


def test_every_depth_has_its_uncertainty(camera: Camera) -> None:
    uncertainties = camera.probe.listen("/sfm_node/depth/uncertainty", Image)

    def pairs() -> list[tuple[Image, Image]]:
        camera.drive(FORWARD, FORWARD, STAND)
        depths = {stamp_to_ns(m.header.stamp): m for m in list(camera.depth)}
        stamped = ((stamp_to_ns(m.header.stamp), m) for m in list(uncertainties))
        return [(depths[stamp], m) for stamp, m in stamped if stamp in depths]

    depth, uncertainty = wait_until(pairs, "depth with its uncertainty")[-1]
    assert uncertainty.header == depth.header and uncertainty.encoding == "32FC1"
    assert numbers(uncertainty).shape == numbers(depth).shape == (32, 64)
    assert np.array_equal(np.isnan(numbers(uncertainty)), np.isnan(numbers(depth)))
    assert np.nanmin(numbers(uncertainty)) > 0


def test_uncertain_points_are_left_out(camera: Camera) -> None:
    clouds = camera.probe.listen("/sfm_node/points", PointCloud2)

    def newest(is_limited: bool) -> bool:
        stamp = camera.drive(FORWARD, FORWARD, STAND)
        found = [m for m in list(clouds) if m.header.stamp == stamp.header.stamp]
        return bool(found) and (known_points(found[-1]) == 0) is is_limited

    wait_until(lambda: newest(False), "points")
    assert camera.set_parameter("depth.max_uncertainty", 1e-6).successful
    wait_until(lambda: newest(True), "a cloud without uncertain points")
    assert numbers(camera.depth[-1]).max() > 0
    assert camera.set_parameter("depth.max_uncertainty", 0.0).successful
    wait_until(lambda: newest(False), "points")
