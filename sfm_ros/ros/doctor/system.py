"""All checks of a running system: cameras, transforms, odometry nodes and middleware."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from sfm_ros.bags.camera import CAMERA_INFO, IMAGE_TYPES
from sfm_ros.config import SfmConfig, config_from_dict, config_to_dict
from sfm_ros.doctor.broadcasters import check_broadcasters
from sfm_ros.doctor.examine import examine_camera, examine_model
from sfm_ros.doctor.finding import Finding, Level
from sfm_ros.doctor.frames import check_tree
from sfm_ros.doctor.middleware import DEFAULT_SEGMENT, SEGMENT_CHECK, check_environment
from sfm_ros.doctor.observed import Endpoint
from sfm_ros.doctor.odometry_nodes import (
    camera_topics,
    check_absent,
    check_clock,
    check_idle,
    check_status,
    running_nodes,
)
from sfm_ros.doctor.qos import (
    check_latched,
    check_names,
    check_pairs,
    check_publishers,
    check_static,
)
from sfm_ros.errors import ConfigError
from sfm_ros.ros.doctor.live import SystemWatch
from sfm_ros.ros.process.dds_profile import SHIPPED
from sfm_ros.ros.process.refusals import RefusalError, one_line_errors

_PARAMETERS = (
    "model.bundle",
    "model.engine",
    "model.precision",
    "model.threads",
    "node.base_frame",
    "window.max_gap_s",
)
_SIM_TIME = "use_sim_time"
_SHARED_TOPICS = {"/rosout", "/parameter_events", "/clock", "/diagnostics"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemOptions:
    """What to examine.

    Attributes:
        image_topic: only this camera; None for all.
        camera_info_topic: its calibration; None for the topic beside the images.
        node: only this odometry node; None for all.
        seconds: how long to receive images.
        config: of the node.
        ask_node: take the configuration from a node's parameters, if there is a node.
        load_engine: run the networks once.
    """

    image_topic: str | None
    camera_info_topic: str | None
    node: str | None
    seconds: float
    config: SfmConfig
    ask_node: bool
    load_engine: bool


def examine_system(
    options: SystemOptions, ros_arguments: list[str], report: Callable[[str], None]
) -> list[Finding]:
    """Every finding about the running system; ``report`` is called with what is done now.

    Raises:
        RefusalError: ROS does not start with these arguments, or a name is not valid in ROS.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    node = _make_node(ros_arguments)
    try:
        options = _with_full_names(options, node)
        examination = _Examination(options, SystemWatch(node, report))
        if options.load_engine:
            report("loading the model and timing its networks")
        return examination.findings()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _make_node(ros_arguments: list[str]) -> Node:
    arguments = f" with {ros_arguments}" if ros_arguments else ""
    try:
        with one_line_errors(f"ROS does not start{arguments}: "):
            rclpy.init(args=["sfm_doctor", *ros_arguments])
            return rclpy.create_node("sfm_doctor")
    except RefusalError:
        rclpy.try_shutdown()
        raise


def _with_full_names(options: SystemOptions, node: Node) -> SystemOptions:
    """The options with full names, as the graph has them."""
    full: dict[str, Any] = {}
    for key, is_topic in (("image_topic", True), ("camera_info_topic", True), ("node", False)):
        name = getattr(options, key)
        if name is None:
            continue
        with one_line_errors(f"'{name}' is not a valid name in ROS: "):
            full[key] = node.resolve_topic_name(name, only_expand=not is_topic)
    return replace(options, **full)


class _Examination:
    """Observes the system when made; the checks follow in `findings`."""

    def __init__(self, options: SystemOptions, watch: SystemWatch) -> None:
        self._options, self._watch = options, watch
        watch.discover()
        self._running = self._receive()
        self._idle = {
            name: is_configured
            for name, is_configured in watch.idle_nodes().items()
            if options.node in (None, name)
        }
        self._nodes = [*self._running, *self._idle]
        names = [*_PARAMETERS, _SIM_TIME]
        self._parameters = watch.parameters(self._nodes[0], names) if self._nodes else {}
        self._endpoints = watch.endpoints()

    def _receive(self) -> list[str]:
        """Receive images; returns the running odometry nodes.

        On a busy machine a node may be discovered only meanwhile: then its cameras follow.
        """
        running = self._receive_once()
        if set(self._find_running(self._watch.endpoints())) <= set(running):
            return running
        return self._receive_once()

    def _receive_once(self) -> list[str]:
        endpoints = self._watch.endpoints()
        running = self._find_running(endpoints)
        images, calibration = self._camera_topics(endpoints, running)
        self._watch.receive(images, calibration, self._options.seconds)
        return running

    def _find_running(self, endpoints: list[Endpoint]) -> list[str]:
        return [n for n in running_nodes(endpoints) if self._options.node in (None, n)]

    def _camera_topics(
        self, endpoints: list[Endpoint], running: list[str]
    ) -> tuple[list[str], str | None]:
        """Image topics, and the topic of the calibration if it is not the one beside them."""
        calibration = self._options.camera_info_topic
        if self._options.image_topic is not None:
            return [self._options.image_topic], calibration
        received = [e for e in endpoints if e.node in running and not e.is_publisher]
        images = sorted({e.topic for e in received if e.type_name in IMAGE_TYPES})
        infos = sorted({e.topic for e in received if e.type_name == CAMERA_INFO})
        if len(images) == 1 and len(infos) == 1:
            return images, calibration or infos[0]
        return images or camera_topics(endpoints), calibration

    def findings(self) -> list[Finding]:
        """Every finding, in the order in which a person would look."""
        cameras = list(self._watch.cameras.values())
        edges = list(self._watch.edges.values())
        clock = "the system clock" if self._watch.clock_ns is None else "/clock"
        config = self._configuration()
        model_findings, spec = examine_model(config, self._options.load_engine)
        findings = [*check_names(self._watch.nodes()), *self._check_nodes()]
        environment = self._check_environment()
        loss = _cause_of_loss(environment)
        for camera in cameras:
            cause = loss if camera.images.payload > DEFAULT_SEGMENT else None
            findings += check_publishers(self._endpoints, camera)
            findings += check_latched(self._endpoints, camera.info_topic, self._nodes)
            findings += examine_camera(camera, edges, config, spec, clock, cause)
        for topic in self._topics_to_pair():
            findings += check_pairs(self._endpoints, topic)
        findings += [*check_static(self._endpoints), *check_tree(edges)]
        findings += check_broadcasters(self._watch.broadcasts.shared(), self._endpoints)
        findings += model_findings
        # What explains the missing frames is in their finding.
        is_joined = loss is not None and any(loss.found in each.found for each in findings)
        return [*findings, *(e for e in environment if not (is_joined and e is loss))]

    def _check_environment(self) -> list[Finding]:
        cameras = self._watch.cameras.values()
        largest = max((camera.images.payload for camera in cameras), default=0)
        rmw = get_rmw_implementation_identifier()
        return list(check_environment(rmw, os.environ, largest, SHIPPED))

    def _configuration(self) -> SfmConfig:
        if not self._options.ask_node:
            return self._options.config
        return _with_parameters(self._options.config, self._parameters)

    def _check_nodes(self) -> list[Finding]:
        if not self._nodes:
            return [check_absent(self._options.node, self._endpoints)]
        watch = self._watch
        uses_sim_time = self._parameters.get(_SIM_TIME)
        return [
            *(check_status(name, watch.status_of(name)) for name in self._running),
            *(check_idle(name, is_configured) for name, is_configured in self._idle.items()),
            *check_clock(self._nodes[0], uses_sim_time, watch.clock_ns is not None),
        ]

    def _topics_to_pair(self) -> list[str]:
        """The topics of the odometry nodes, of the cameras and of TF."""
        topics = {e.topic for e in self._endpoints if e.node in self._nodes}
        for camera in self._watch.cameras.values():
            topics |= {camera.images.topic, camera.info_topic}
        return sorted((topics | {"/tf", "/tf_static"}) - _SHARED_TOPICS)


def _cause_of_loss(environment: Sequence[Finding]) -> Finding | None:
    """What is wrong with the shared memory through which large images come."""
    wrong = (e for e in environment if e.check == SEGMENT_CHECK and e.level is not Level.OK)
    return next(wrong, None)


def _with_parameters(config: SfmConfig, parameters: Mapping[str, Any]) -> SfmConfig:
    """A configuration with the values of a node's parameters."""
    values = config_to_dict(config)
    for name in _PARAMETERS:
        if name in parameters:
            block, _, key = name.partition(".")
            values[block][key] = parameters[name]
    try:
        return config_from_dict(values)
    except ConfigError:
        return config  # a node of another version
