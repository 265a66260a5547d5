"""The checks in a node's process: they are wired, and see the real graph and the real TF."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rig.probe import Probe, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rig.own_node import OwnNode
from sensor_msgs.msg import Image

from sfm_ros.geometry import make_transform
from sfm_ros.ros.conversions import transform_message


def test_node_without_a_camera_names_the_topics_there_are(
    probe: Probe, own_node: Callable[..., OwnNode]
) -> None:
    probe.node.create_publisher(Image, "/elsewhere/image_raw", 1)
    node = own_node("/blind", node__image_queue="newest")
    node.program.wait_for(r"no image on /blind/image for \d+ s; nobody publishes there")
    node.program.wait_for(r"Topics of images: .*/elsewhere/image_raw \(/probe\)")


def test_another_broadcaster_of_the_same_frame_is_logged(
    probe: Probe, own_node: Callable[..., OwnNode]
) -> None:
    """Of the transform that the node sends itself nothing is logged."""
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    node = own_node("/shared", *("-r", "/tf:=tf", "-r", "/tf_static:=tf_static"))
    moving = node.listen("tf", tf2_msgs.TFMessage)
    node.calibrate()
    node.show_until(lambda: len(moving) > 30, "the node's own transforms")
    child = moving[0].transforms[0].child_frame_id
    assert "another node publishes" not in node.program.output
    wheels = transform_message(make_transform([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [5, 0, 0]), 0,
                               "map", child)  # fmt: skip

    def is_logged() -> bool:
        probe.publish("/shared/tf", tf2_msgs.TFMessage(transforms=[wheels]))
        return "another node publishes" in node.program.output

    node.show_until(is_logged, "the warning")
    line = node.program.wait_for(f"the transform from 'map' to '{child}' too")
    assert "publish_tf:=inverted" in line
    wait_until(lambda: probe.node.count_subscribers("/shared/tf") == 1, "the end of listening")
