"""The table of topics and services agrees with a running node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticArray
from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND

from sfm_ros.bags.camera import CAMERA_INFO, camera_info_beside
from sfm_ros.ros import compat
from sfm_ros.ros.node.interface import DIAGNOSTICS, PUBLICATIONS, SERVICES, SUBSCRIPTIONS, Topic

NAME = "/front/sfm_node"
EVERY_NODE_HAS = ("/rosout", "/parameter_events")
_Row = tuple[str, str, str, str]


def expected(topics: tuple[Topic, ...]) -> set[_Row]:
    return {
        (full(topic.name), topic.type_name, topic.reliability, topic.durability)
        for topic in topics
        if topic.type_name.split("/")[0] != "tf2_msgs" or compat.transform_message_class()
    }


def full(name: str) -> str:
    if name.startswith("~"):
        return NAME + name[1:]
    return name if name.startswith("/") else f"/front/{name}"


def found(probe: Probe, of_topic: Callable[[str], list[Any]]) -> set[_Row]:
    rows = set()
    for topic, _ in probe.node.get_topic_names_and_types():
        for info in of_topic(topic):
            node = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            if node == NAME and topic not in EVERY_NODE_HAS:
                qos = info.qos_profile
                words = (qos.reliability.name.lower(), qos.durability.name.lower())
                rows.add((topic, info.topic_type, *words))
    return rows


def offered(probe: Probe) -> dict[str, str]:
    """Type of each service of the node, but for those that every node has."""
    found = probe.node.get_service_names_and_types_by_node("sfm_node", "/front")
    own = {name: types[0] for name, types in found if "parameter" not in name}
    own.pop(f"{NAME}/get_type_description", None)
    return own


def test_running_node_agrees_with_the_table(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    parameters = ros_arguments(node__extrinsics_wait_s=0.3)
    program = start([*FAKE_NODE, "{}", *parameters, "-r", "__ns:=/front"])
    received = probe.listen("/diagnostics", DiagnosticArray)
    publications = expected(PUBLICATIONS)
    at_start = expected(tuple(topic for topic in SUBSCRIPTIONS if topic.at_start))

    def published() -> set[_Row]:
        return found(probe, probe.node.get_publishers_info_by_topic)

    def subscribed() -> set[_Row]:
        return found(probe, probe.node.get_subscriptions_info_by_topic)

    wait_until(lambda: at_start <= subscribed(), "the node")
    assert subscribed() <= expected(SUBSCRIPTIONS)
    stamp_ns = 10**12

    def all_published() -> bool:
        nonlocal stamp_ns
        stamp_ns += PERIOD_NS
        probe.publish("/front/camera_info", info_message())  # best effort: the first may be lost
        level = STAND if stamp_ns // PERIOD_NS % 2 else FORWARD
        probe.publish("/front/image", image_message(level, stamp_ns))
        return published() >= publications

    program.wait_until(all_published, "every topic")
    assert published() == publications
    services = {full(service.name): service.type_name for service in SERVICES}
    wait_until(lambda: offered(probe) == services, lambda: f"{services}; it has {offered(probe)}")
    check_keys(wait_until(lambda: latest(received), "diagnostics with latencies"))


def test_calibration_of_depth_is_where_image_transport_looks_for_it() -> None:
    published = {full(topic.name): topic.type_name for topic in PUBLICATIONS}
    images = [name for name, type_name in published.items() if type_name.endswith("/Image")]
    assert len(images) == 3
    assert {published.get(camera_info_beside(name)) for name in images} == {CAMERA_INFO}
    assert camera_info_beside("/sfm_node/depth/image") == "/sfm_node/depth/camera_info"


def latest(received: list[DiagnosticArray]) -> list[str]:
    """Keys of the newest diagnostics, once they hold latencies."""
    keys = [value.key for value in received[-1].status[0].values] if received else []
    return keys if any(key.startswith("latency_") for key in keys) else []


def check_keys(keys: list[str]) -> None:
    known = {k.strip() for entry in DIAGNOSTICS for k in entry.split(",")}
    patterns = {k.split("*")[0] for k in known if "*" in k}

    def is_known(key: str) -> bool:
        return key in known or key.startswith((*patterns, "stamp_to_publish_ms_"))

    assert [key for key in keys if not is_known(key)] == []
    plain = {key for key in known if "*" not in key and not key.startswith(("_", "stamp_"))}
    assert plain <= set(keys)
