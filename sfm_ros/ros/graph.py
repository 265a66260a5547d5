"""Names of the nodes at a topic."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from sfm_ros.errors import printable

_MOST_NAMES = 8


def full_name(info: TopicEndpointInfo) -> str:
    """Namespace and name of the node of a publisher or subscription."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def publishers_on(node: Node, topic: str) -> list[str]:
    """Full names of the nodes that publish on a topic, one for each publisher."""
    return [full_name(info) for info in node.get_publishers_info_by_topic(topic)]


def listed(names: Iterable[str]) -> str:
    """Some of the names, for a message; empty if there is none."""
    found = sorted(names)
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return ", ".join(map(printable, found[:_MOST_NAMES])) + more
