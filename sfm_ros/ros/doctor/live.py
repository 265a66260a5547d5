"""Observes a running system for a few seconds: its graph, cameras, transforms and status."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from rclpy.task import Future
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sfm_ros.bags.camera import CAMERA_INFO, COMPRESSED_IMAGE, RAW_IMAGE, camera_info_beside
from sfm_ros.doctor.bag import add_image, add_info, edges_of
from sfm_ros.doctor.broadcasters import BroadcastCounts
from sfm_ros.doctor.observed import Camera, Edge, Endpoint, NodeStatus, Sample, Stream
from sfm_ros.doctor.odometry_nodes import running_nodes
from sfm_ros.formats.serialized import stamp_of_serialized
from sfm_ros.ros import compat
from sfm_ros.ros.conversions import stamp_to_ns
from sfm_ros.ros.graph import full_name

_QUIET_S, _PATIENCE_S = 3.0, 10.0
_ANSWER_S = 2.0
_TRIES = 2
_REPORT_PERIOD_S = 1.0
_BEST_EFFORT = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
_CHANGE_STATE = "lifecycle_msgs/srv/ChangeState"
_OUR_PARAMETER = "node.autostart"
_STATUS_SUFFIX = ": odometry"
_MOST_EDGES, _MOST_NODES = 5000, 1000
"""Of what others publish, as much is kept."""
_VALUE_FIELDS = {1: "bool_value", 2: "integer_value", 3: "double_value", 4: "string_value"}


class SystemWatch:
    """Subscribes to cameras and transforms, and reads the graph.

    Attributes:
        cameras: topic -> what was received of it.
        edges: (parent, child, static) -> the newest transform.
        broadcasts: counts of the moving transforms' messages.
        clock_ns: newest value of /clock, or None.

    Args:
        node: of this program.
        report: called with what is done now, in words.
    """

    def __init__(self, node: Node, report: Callable[[str], None]) -> None:
        self._node, self._report = node, report
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._status: dict[str, NodeStatus] = {}
        self.cameras: dict[str, Camera] = {}
        self.edges: dict[tuple[str, str, bool], Edge] = {}
        self.broadcasts = BroadcastCounts()
        self.clock_ns: int | None = None
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        node.create_subscription(Clock, "/clock", self._on_clock, _BEST_EFFORT)
        self._subscribe_to_transforms()

    def spin(self, seconds: float) -> None:
        """Receive messages for this long, or until the context ends."""
        deadline = time.monotonic() + seconds
        while self._node.context.ok() and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.05)

    def discover(self) -> None:
        """Wait until discovery finds nothing new for a while; long on a busy machine."""
        self._report(f"looking for nodes and topics, at most {_PATIENCE_S:.0f} s")
        started = changed = time.monotonic()
        known = -1
        while time.monotonic() - started < _PATIENCE_S:
            self.spin(0.2)
            found = len(self.endpoints())
            if found != known:
                known, changed = found, time.monotonic()
            if found and time.monotonic() - changed > _QUIET_S:
                return

    # ---- the graph ----------------------------------------------------------------------------

    def nodes(self) -> list[str]:
        """Full names of all other nodes, duplicates included."""
        names = self._node.get_node_names_and_namespaces()
        full = [f"{space.rstrip('/')}/{name}" for name, space in names]
        return sorted(name for name in full if name != self._node.get_fully_qualified_name())

    def topics(self) -> dict[str, list[str]]:
        """Topic -> its types."""
        return dict(self._node.get_topic_names_and_types())

    def endpoints(self) -> list[Endpoint]:
        """Every publisher and subscription of other nodes."""
        found = []
        for topic in self.topics():
            for is_publisher, infos in (
                (True, self._node.get_publishers_info_by_topic(topic)),
                (False, self._node.get_subscriptions_info_by_topic(topic)),
            ):
                found += [
                    Endpoint.of(full_name(i), topic, i.topic_type, is_publisher, i.qos_profile)
                    for i in infos
                ]
        own = self._node.get_fully_qualified_name()
        return [endpoint for endpoint in found if endpoint.node != own]

    def parameters(self, node: str, names: list[str]) -> dict[str, Any]:
        """Values of a node's parameters; empty if it does not answer in time."""
        client = self._node.create_client(GetParameters, f"{node}/get_parameters")
        try:
            if not client.wait_for_service(timeout_sec=_ANSWER_S):
                return {}
            asked: list[Future] = []
            while len(asked) < _TRIES and not any(future.done() for future in asked):
                # Again, for an answer is lost if the node has not discovered us yet.
                asked.append(client.call_async(GetParameters.Request(names=names)))
                self._executor.spin_until_future_complete(
                    asked[-1], timeout_sec=_ANSWER_S / _TRIES
                )
            answer = next((future.result() for future in asked if future.done()), None)
            if answer is None:
                return {}
            return {
                name: getattr(value, _VALUE_FIELDS[value.type])
                for name, value in zip(names, answer.values, strict=False)
                if value.type in _VALUE_FIELDS
            }
        finally:
            self._node.destroy_client(client)

    def idle_nodes(self) -> dict[str, bool]:
        """Managed odometry nodes that are not active -> whether they are configured.

        One that is not configured publishes no topic: its parameters identify it.
        """
        endpoints = self.endpoints()
        published = {e.topic for e in endpoints if e.is_publisher}
        running = running_nodes(endpoints)
        idle = {}
        for node in self._managed_nodes():
            if node in running:
                continue
            is_configured = {f"{node}/odometry", f"{node}/depth/image"} <= published
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

    def status_of(self, node: str) -> NodeStatus | None:
        """The newest diagnostics of an odometry node, with or without its namespace."""
        return self._status.get(node) or self._status.get(node.rpartition("/")[2])

    # ---- cameras ------------------------------------------------------------------------------

    def receive(self, image_topics: list[str], info_topic: str | None, seconds: float) -> None:
        """Receive only these images and their calibrations for this long.

        Args:
            image_topics: topics of Image or CompressedImage.
            info_topic: topic of the calibration; by default the one beside each.
            seconds: how long.
        """
        types = self.topics()
        self.cameras.clear()
        subscriptions = []
        for topic in image_topics:
            is_compressed = COMPRESSED_IMAGE in types.get(topic, [])
            kind = COMPRESSED_IMAGE if is_compressed else RAW_IMAGE
            camera = Camera(
                images=Stream(topic=topic, type_name=kind),
                info_topic=info_topic or camera_info_beside(topic),
            )
            camera.infos = Stream(topic=camera.info_topic, type_name=CAMERA_INFO)
            self.cameras[topic] = camera
            subscriptions += self._subscribe_to_camera(camera)
        self._listen(image_topics, seconds)
        for subscription in subscriptions:  # images that wait during later requests would seem old
            self._node.destroy_subscription(subscription)

    def _listen(self, image_topics: list[str], seconds: float) -> None:
        """Receive for this long, and report every second how many images arrived."""
        names = ", ".join(image_topics) or "transforms and diagnostics: no topic has images"
        self._report(f"listening for {seconds:g} s to {names}")
        started, end = time.monotonic(), time.monotonic() + seconds
        while self._node.context.ok() and (left := end - time.monotonic()) > 0:
            self.spin(min(left, _REPORT_PERIOD_S))
            count = sum(len(camera.images.samples) for camera in self.cameras.values())
            elapsed_s = min(time.monotonic() - started, seconds)
            self._report(f"{elapsed_s:.0f} of {seconds:g} s, {count} images")

    def _subscribe_to_camera(self, camera: Camera) -> list[Subscription]:
        images = camera.images
        message_class = Image if images.type_name == RAW_IMAGE else CompressedImage

        def on_image(data: bytes) -> None:
            sample = Sample(stamp_ns=stamp_of_serialized(data), arrived_ns=self._now_ns())
            add_image(camera, sample, len(data), lambda: deserialize_message(data, message_class))

        def on_info(message: CameraInfo) -> None:
            add_info(camera, message, self._now_ns())

        subscribe = self._node.create_subscription
        return [
            subscribe(message_class, images.topic, on_image, _BEST_EFFORT, raw=True),
            subscribe(CameraInfo, camera.info_topic, on_info, self._qos_of(camera.info_topic)),
        ]

    def _qos_of(self, topic: str) -> QoSProfile:
        """Receives what was published before, if every publisher keeps it."""
        publishers = self._node.get_publishers_info_by_topic(topic)
        kept = {p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers}
        return compat.STATIC_TF_LISTENER_QOS if kept == {True} else _BEST_EFFORT

    def _now_ns(self) -> int:
        return time.time_ns() if self.clock_ns is None else self.clock_ns

    # ---- transforms, status, clock ------------------------------------------------------------

    def _subscribe_to_transforms(self) -> None:
        message_class = compat.transform_message_class()
        if message_class is None:
            return
        for topic, is_static, qos in (
            (compat.TF, False, _BEST_EFFORT),
            # Only a reliable subscriber receives what was published before it started.
            (compat.TF_STATIC, True, compat.STATIC_TF_LISTENER_QOS),
        ):
            on_transforms = partial(self._on_transforms, is_static)
            self._node.create_subscription(message_class, topic, on_transforms, qos)

    def _on_transforms(self, is_static: bool, message: Any, about: Mapping[str, Any]) -> None:
        for key, edge in edges_of(message, is_static).items():
            if key not in self.edges and len(self.edges) >= _MOST_EDGES:
                continue
            self.edges[key] = edge
            if not is_static:
                number = about.get("publication_sequence_number")
                self.broadcasts.add(edge.parent, edge.child, number)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(_STATUS_SUFFIX) and len(self._status) < _MOST_NODES:
                self._status[status.name.removesuffix(_STATUS_SUFFIX)] = NodeStatus(
                    level=int.from_bytes(status.level, "little"),
                    message=status.message,
                    values={entry.key: entry.value for entry in status.values},
                )

    def _on_clock(self, message: Clock) -> None:
        self.clock_ns = stamp_to_ns(message.clock)
