"""Looks at a running system for a few seconds: the graph, and the messages of its cameras."""

from __future__ import annotations

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sfm_ros.doctor.bag import edges_of, take_info
from sfm_ros.doctor.observed import (
    CAMERA_INFO_TYPE,
    IMAGE_TYPES,
    Camera,
    Edge,
    Endpoint,
    Sample,
    Stream,
    info_topic_of,
)
from sfm_ros.formats.serialized import stamp_of_serialized
from sfm_ros.ros import compat
from sfm_ros.ros.conversions import stamp_to_ns

_QUIET_S, _PATIENCE_S = 3.0, 10.0
_ANSWER_S = 2.0
_ANYTHING = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# Only a reliable listener is sent what was published before it came.
_STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
_CHANGE_STATE = "lifecycle_msgs/srv/ChangeState"
_OUR_PARAMETER = "node.autostart"
_VALUE_FIELDS = {1: "bool_value", 2: "integer_value", 3: "double_value", 4: "string_value"}


class SystemWatch:
    """A node that listens to cameras and transforms, and asks the graph.

    Attributes:
        cameras: topic -> what was seen of it.
        edges: (parent, child, static) -> the newest transform.
        status: the newest diagnostics of each node that computes odometry, by its name.
        clock_ns: newest value of /clock, or None.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self.cameras: dict[str, Camera] = {}
        self.edges: dict[tuple[str, str, bool], Edge] = {}
        self.status: dict[str, DiagnosticStatus] = {}
        self.clock_ns: int | None = None
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        node.create_subscription(Clock, "/clock", self._on_clock, _ANYTHING)
        self._listen_to_transforms()

    def spin(self, seconds: float) -> None:
        """Listen for so long, or until the context ends."""
        deadline = time.monotonic() + seconds
        while self._node.context.ok() and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.05)

    def discover(self) -> None:
        """Wait until nothing new has been found for a while: on a busy machine that takes long."""
        began = changed = time.monotonic()
        known = -1
        while time.monotonic() - began < _PATIENCE_S:
            self.spin(0.2)
            found = len(self.endpoints())
            if found != known:
                known, changed = found, time.monotonic()
            if found and time.monotonic() - changed > _QUIET_S:
                return

    # ---- the graph ----------------------------------------------------------------------------

    def nodes(self) -> list[str]:
        """Full names of all nodes but this one, as often as they occur."""
        names = self._node.get_node_names_and_namespaces()
        full = [f"{space.rstrip('/')}/{name}" for name, space in names]
        return sorted(name for name in full if name != self._node.get_fully_qualified_name())

    def topics(self) -> dict[str, list[str]]:
        """Topic -> its types."""
        return dict(self._node.get_topic_names_and_types())

    def endpoints(self) -> list[Endpoint]:
        """Every publisher and subscription but those of this node."""
        found = []
        for topic in self.topics():
            for is_publisher, infos in (
                (True, self._node.get_publishers_info_by_topic(topic)),
                (False, self._node.get_subscriptions_info_by_topic(topic)),
            ):
                found += [_endpoint(topic, info, is_publisher) for info in infos]
        mine = self._node.get_fully_qualified_name()
        return [endpoint for endpoint in found if endpoint.node != mine]

    def parameters(self, node: str, names: list[str]) -> dict[str, Any]:
        """Values of a node's parameters; empty where it does not answer in time."""
        client = self._node.create_client(GetParameters, f"{node}/get_parameters")
        try:
            if not client.wait_for_service(timeout_sec=_ANSWER_S):
                return {}
            future = client.call_async(GetParameters.Request(names=names))
            self._executor.spin_until_future_complete(future, timeout_sec=_ANSWER_S)
            if not future.done() or future.result() is None:
                return {}
            return {
                name: getattr(value, _VALUE_FIELDS[value.type])
                for name, value in zip(names, future.result().values, strict=False)
                if value.type in _VALUE_FIELDS
            }
        finally:
            self._node.destroy_client(client)

    def idle_nodes(self) -> dict[str, bool]:
        """Managed odometry nodes that are not active, and whether they are configured.

        One that is not configured announces no topic: it is known by its parameters.
        """
        endpoints = self.endpoints()
        announced = {e.topic for e in endpoints if e.is_publisher}
        at_work = running_nodes(endpoints)
        idle = {}
        for node in self._managed_nodes():
            if node in at_work:
                continue
            is_configured = {f"{node}/odometry", f"{node}/depth/image"} <= announced
            if is_configured or self.parameters(node, [_OUR_PARAMETER]):
                idle[node] = is_configured
        return idle

    def _managed_nodes(self) -> list[str]:
        services = self._node.get_service_names_and_types()
        return sorted(
            name.removesuffix("/change_state")
            for name, types in services
            if _CHANGE_STATE in types
        )

    # ---- cameras ------------------------------------------------------------------------------

    def listen(self, image_topics: list[str], info_topic: str | None, seconds: float) -> None:
        """Listen for so long to these images and to their calibrations, to no others.

        Args:
            image_topics: names of topics of Image or CompressedImage.
            info_topic: topic of the calibration; by default the one beside each.
            seconds: how long.
        """
        types = self.topics()
        self.cameras.clear()
        subscriptions = []
        for topic in image_topics:
            kind = next((k for k in types.get(topic, []) if k in IMAGE_TYPES), IMAGE_TYPES[0])
            camera = Camera(
                images=Stream(topic=topic, type_name=kind),
                info_topic=info_topic or info_topic_of(topic),
            )
            camera.infos = Stream(topic=camera.info_topic, type_name=CAMERA_INFO_TYPE)
            self.cameras[topic] = camera
            subscriptions += self._listen_to(
                camera, Image if kind == IMAGE_TYPES[0] else CompressedImage
            )
        self.spin(seconds)
        for subscription in subscriptions:  # what comes while this asks others would seem late
            self._node.destroy_subscription(subscription)

    def _listen_to(self, camera: Camera, kind: type) -> list[Subscription]:
        def on_image(data: bytes) -> None:
            images = camera.images
            images.samples.append(
                Sample(stamp_ns=stamp_of_serialized(data, False), arrived_ns=self._now_ns())
            )
            images.payload = max(images.payload, len(data))
            if camera.image is None:
                camera.image = deserialize_message(data, kind)
                images.frame_ids.add(camera.image.header.frame_id)

        def on_info(message: CameraInfo) -> None:
            take_info(camera, message, self._now_ns())

        make = self._node.create_subscription
        return [
            make(kind, camera.images.topic, on_image, _ANYTHING, raw=True),
            make(CameraInfo, camera.info_topic, on_info, _ANYTHING),
        ]

    def _now_ns(self) -> int:
        return time.time_ns() if self.clock_ns is None else self.clock_ns

    # ---- the rest -----------------------------------------------------------------------------

    def _listen_to_transforms(self) -> None:
        messages = compat.transform_message_class()
        if messages is None:
            return
        for topic, qos in (("/tf", _ANYTHING), ("/tf_static", _STATIC)):
            self._node.create_subscription(messages, topic, self._on_transforms(topic), qos)

    def _on_transforms(self, topic: str) -> Any:
        is_static = topic == "/tf_static"

        def take(message: Any) -> None:
            for edge in edges_of(message, is_static):
                self.edges[edge.parent, edge.child, is_static] = edge

        return take

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(": odometry"):
                self.status[status.name.removesuffix(": odometry")] = status

    def _on_clock(self, message: Clock) -> None:
        self.clock_ns = stamp_to_ns(message.clock)


def _endpoint(topic: str, info: Any, is_publisher: bool) -> Endpoint:
    qos = info.qos_profile
    return Endpoint(
        node=f"{info.node_namespace.rstrip('/')}/{info.node_name}",
        topic=topic,
        type_name=info.topic_type,
        is_publisher=is_publisher,
        reliability=qos.reliability.name.lower(),
        durability=qos.durability.name.lower(),
        depth=int(qos.depth),
    )


def running_nodes(endpoints: list[Endpoint]) -> list[str]:
    """Nodes that publish odometry under their own name and listen to images."""
    listeners = {e.node for e in endpoints if not e.is_publisher and e.type_name in IMAGE_TYPES}
    return sorted(listeners & _odometry_nodes(endpoints))


def camera_topics(endpoints: list[Endpoint]) -> list[str]:
    """Topics of images, but for those that an odometry node publishes itself."""
    own = tuple(f"{node}/depth" for node in _odometry_nodes(endpoints))
    topics = {e.topic for e in endpoints if e.type_name in IMAGE_TYPES}
    return sorted(topic for topic in topics if not topic.startswith(own))


def _odometry_nodes(endpoints: list[Endpoint]) -> set[str]:
    return {e.node for e in endpoints if e.is_publisher and e.topic == f"{e.node}/odometry"}
