"""Publishers and subscriptions: pairs that cannot connect, topics with no or two publishers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sfm_ros.doctor.finding import Finding, fail, ok, warn
from sfm_ros.doctor.observed import Camera, Endpoint
from sfm_ros.doctor.odometry_nodes import camera_topics


def check_pairs(endpoints: Sequence[Endpoint], topic: str) -> Iterator[Finding]:
    """Whether the endpoints of a topic can connect."""
    here = [endpoint for endpoint in endpoints if endpoint.topic == topic]
    publishers = [endpoint for endpoint in here if endpoint.is_publisher]
    subscriptions = [endpoint for endpoint in here if not endpoint.is_publisher]
    check = f"qos {topic}"
    kinds = sorted({endpoint.type_name for endpoint in here})
    if len(kinds) > 1:
        yield fail(
            check,
            f"it has {len(kinds)} types: {', '.join(kinds)}",
            "publisher and subscriber must agree: remap one, or set node.compressed",
        )
        return
    broken = [
        (publisher, subscription, why)
        for publisher in publishers
        for subscription in subscriptions
        for why in _mismatch(publisher, subscription)
    ]
    for publisher, subscription, (what, advice) in broken:
        yield fail(check, f"{publisher.node} -> {subscription.node} never connect: {what}", advice)
    if publishers and subscriptions and not broken:
        yield ok(check, f"{_sides(publishers)} -> {_sides(subscriptions)}")


def _mismatch(publisher: Endpoint, subscription: Endpoint) -> Iterator[tuple[str, str]]:
    """(what, advice) of each incompatible policy."""
    if (publisher.reliability, subscription.reliability) == ("best_effort", "reliable"):
        yield (
            "the publisher is best effort, the subscriber requests reliable",
            "make the subscriber best effort (this node: node.image_queue newest, or "
            f"qos_overrides.{subscription.topic}.subscription.reliability: best_effort; RViz: "
            "Reliability Policy) or the publisher reliable",
        )
    if (publisher.durability, subscription.durability) == ("volatile", "transient_local"):
        yield (
            "the publisher is volatile, the subscriber requests transient local",
            "make the publisher transient local (as /tf_static must be) or the subscriber "
            "volatile",
        )


def _sides(endpoints: Sequence[Endpoint]) -> str:
    return ", ".join(sorted({f"{e.node} ({e.reliability or 'unknown'})" for e in endpoints}))


def check_publishers(endpoints: Sequence[Endpoint], camera: Camera) -> Iterator[Finding]:
    """Whether exactly one node publishes the images, and at most one their calibration."""
    topic = camera.images.topic
    yield from check_single_publisher(endpoints, topic)
    yield from check_single_publisher(endpoints, camera.info_topic)
    publishers = [e for e in endpoints if e.is_publisher]
    if not any(e.topic == topic for e in publishers):
        others = ", ".join(camera_topics(publishers)) or "no topic"
        yield fail(
            f"publishers {topic}",
            f"it has no publisher; images are on {others}",
            "start the camera's driver, or remap image (image_topic:= in the launch files)",
        )


def check_single_publisher(endpoints: Sequence[Endpoint], topic: str) -> Iterator[Finding]:
    """Whether at most one node publishes a topic of images or calibrations."""
    names = [e.node for e in endpoints if e.topic == topic and e.is_publisher]
    if len(names) > 1:
        yield fail(
            f"publishers {topic}",
            f"{len(names)} of them: {', '.join(sorted(names))}",
            "with two cameras on one topic the stamps go back and forth: give each camera its "
            "namespace",
        )


def check_latched(
    endpoints: Sequence[Endpoint], topic: str, nodes: Sequence[str]
) -> Iterator[Finding]:
    """Whether odometry nodes receive a calibration that is published once and kept."""
    here = [endpoint for endpoint in endpoints if endpoint.topic == topic]
    publishers = [e.node for e in here if e.is_publisher and e.durability == "transient_local"]
    for endpoint in here:
        is_deaf = endpoint.durability == "volatile" and not endpoint.is_publisher
        if publishers and is_deaf and endpoint.node in nodes:
            option = f"qos_overrides.{topic}.subscription"
            yield warn(
                f"qos {topic}",
                f"{publishers[0]} publishes it transient local, perhaps only once: "
                f"{endpoint.node} does not request what was published before it started",
                f"if {endpoint.node} waits for the calibration, set {option}.durability: "
                f"transient_local and {option}.reliability: reliable",
            )


def check_names(nodes: Sequence[str]) -> list[Finding]:
    """Whether two nodes have the same full name."""
    duplicates = sorted({name for name in nodes if nodes.count(name) > 1})
    return [
        fail(
            "nodes",
            f"{nodes.count(name)} nodes are called {name}",
            "parameters and services reach only one of them: stop one, or start it with another "
            "name or namespace (--ros-args -r __node:=NAME, -r __ns:=/NAME)",
        )
        for name in duplicates
    ]


def check_static(endpoints: Sequence[Endpoint]) -> list[Finding]:
    """Whether static transforms are kept for subscribers that start later."""
    return [
        fail(
            f"qos {endpoint.topic}",
            f"{endpoint.node} publishes it as volatile",
            "a subscriber that starts later never receives it: publish it transient local (when "
            "playing a bag, sfm_bag_player does)",
        )
        for endpoint in endpoints
        if endpoint.topic.endswith("/tf_static")
        and endpoint.is_publisher
        and endpoint.durability == "volatile"
    ]
