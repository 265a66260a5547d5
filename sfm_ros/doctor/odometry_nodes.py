"""The odometry nodes of a system: which are running, their status and the clock they use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sfm_ros.bags.camera import IMAGE_TYPES
from sfm_ros.doctor.finding import Finding, fail, ok, warn
from sfm_ros.doctor.observed import Endpoint, NodeStatus
from sfm_ros.reasons import advice_for

_LEVEL_OK, _LEVEL_WARN = 0, 1


def running_nodes(endpoints: Sequence[Endpoint]) -> list[str]:
    """Nodes that publish odometry under their own name and subscribe to images."""
    subscribers = {e.node for e in endpoints if not e.is_publisher and e.type_name in IMAGE_TYPES}
    return sorted(subscribers & _odometry_publishers(endpoints))


def camera_topics(endpoints: Sequence[Endpoint]) -> list[str]:
    """Image topics, except those that an odometry node publishes itself."""
    own = tuple(f"{node}/depth" for node in _odometry_publishers(endpoints))
    topics = {e.topic for e in endpoints if e.type_name in IMAGE_TYPES}
    return sorted(topic for topic in topics if not topic.startswith(own))


def _odometry_publishers(endpoints: Sequence[Endpoint]) -> set[str]:
    return {e.node for e in endpoints if e.is_publisher and e.topic == f"{e.node}/odometry"}


def check_absent(name: str | None, endpoints: Sequence[Endpoint]) -> Finding:
    """No odometry node was found, or not the one of this name: with the images there are."""
    missing = name or "an odometry node of this package"
    topics = camera_topics([endpoint for endpoint in endpoints if endpoint.is_publisher])
    if not topics:
        found = f"{missing} is not running, and no topic has images"
        advice = "start the camera's driver, or play a bag; is ROS_DOMAIN_ID the same there?"
        return warn("node", found, advice)
    found = f"{missing} is not running; images are on {', '.join(topics)}"
    return warn("node", found, f"ros2 launch sfm_ros camera.launch.py image_topic:={topics[0]}")


def check_status(name: str, status: NodeStatus | None) -> Finding:
    """The status of a running node, from its diagnostics."""
    check = f"node {name}"
    if status is None:
        return warn(check, "no diagnostics arrived", "is it paused or very busy?")
    if status.level == _LEVEL_OK:
        return ok(check, status.message)
    trouble = status.values.get("last_trouble", "")
    found = status.message + (f"; {trouble}" if trouble else "")
    make = warn if status.level == _LEVEL_WARN else fail
    return make(check, found, advice_for(status.values.get("reasons", "")))


def check_idle(name: str, is_configured: bool) -> Finding:
    """A managed node that is not active."""
    state = "active" if is_configured else "configured"
    activate = f"ros2 lifecycle set {name} activate"
    advice = activate if is_configured else f"ros2 lifecycle set {name} configure, then {activate}"
    return warn(f"node {name}", f"a managed node that is not {state}", advice)


def check_clock(name: str, uses_sim_time: bool | None, has_clock: bool) -> Iterator[Finding]:
    """Whether a node and the system agree on the source of time.

    Args:
        name: of the node.
        uses_sim_time: its parameter ``use_sim_time``; None if it did not answer.
        has_clock: /clock is published.
    """
    check = f"time {name}"
    if uses_sim_time and not has_clock:
        found = "use_sim_time is set, but /clock is not published"
        yield fail(check, found, "play the bag with --clock, or set use_sim_time to false")
    elif uses_sim_time is False and has_clock:
        found = "/clock is published, but the node uses the system's time"
        yield warn(check, found, "set use_sim_time to true on every node")
