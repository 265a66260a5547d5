"""What both kinds of node do: images in, depth and odometry out. Wiring only.

The plain node builds and starts it at once, the managed node step by step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sfm_ros.datatypes import Reason, TrackingStatus
from sfm_ros.depth.stage import compile_ahead
from sfm_ros.engines.base import Engine
from sfm_ros.engines.switching import SwitchingEngine
from sfm_ros.errors import printable
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import compat
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.checks.broadcasters import OtherBroadcasters
from sfm_ros.ros.node.checks.camera import CameraCheck
from sfm_ros.ros.node.extrinsics import ExtrinsicsLookup
from sfm_ros.ros.node.mailbox import Mailbox
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.node.publishers import Outputs
from sfm_ros.ros.node.run_statistics import RunStatistics
from sfm_ros.ros.node.services import Services
from sfm_ros.ros.node.speed import SpeedInput
from sfm_ros.ros.node.status import StatusPublisher
from sfm_ros.ros.node.worker import WARNING_PERIOD_S, Pipeline, Waiting, Worker
from sfm_ros.ros.process.refusals import one_line_errors
from sfm_ros.ros.rate_limit import RateLimit
from sfm_ros.ros.tf_lookup import MOST_LOAD, UNLIMITED, make_lookup

_QOS_OVERRIDES = (
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
)


class NodeCore:
    """Publishers, services, subscriptions and the worker behind a node.

    A subscription's callback only hands the message over; a worker thread converts it, calls
    ``VisualOdometry.step`` and publishes.

    Args:
        node, parameters: the node they belong to, and its options.
        engine: the networks; ``close`` closes them.
        on_failure: called once with the reason if the node cannot continue.
    """

    def __init__(
        self, node: Node, parameters: Parameters, engine: Engine, on_failure: Callable[[str], None]
    ) -> None:
        self._node = node
        self._parameters = parameters
        self._engine = engine
        self._is_paused = False
        self._rate_limit = RateLimit()
        self._statistics = RunStatistics()
        self._subscriptions: list[Subscription] = []
        self._speeds = SpeedInput()
        self._mailbox: Mailbox[Waiting] = Mailbox(parameters.config.node.image_queue)
        self._statistics.has_waiting = lambda: len(self._mailbox) > 0
        self._others = MutuallyExclusiveCallbackGroup()
        self._image_topic, info_topic = self._topics()
        rectified = parameters.config.preprocess.input
        self._calibration = CalibrationCache(info_topic, self._image_topic, rectified)
        # Closed with this, the newest first. Each destroys only what it has created: the node may
        # have entities of other owners.
        self._parts = ExitStack()
        self._parts.enter_context(closing(engine))
        try:
            self._build(on_failure)
        except BaseException:
            self._parts.close()
            raise

    def _build(self, on_failure: Callable[[str], None]) -> None:
        node, parameters = self._node, self._parameters
        own = self._parts.enter_context
        self._outputs = own(closing(Outputs(node, parameters.config)))
        uses_networks = parameters.config.odometry.mode != "geometric"
        spec, height_m = self._engine.spec, parameters.config.scale.camera_height
        assumption = spec.assumption(height_m) if uses_networks else ""
        for text in filter(None, (spec.terms, assumption)):
            node.get_logger().info(printable(text))
        if isinstance(self._engine, SwitchingEngine) and uses_networks:
            self._engine.start(self._note_engine)
        is_live = parameters.config.node.image_queue == "newest"
        if not is_live:  # the first image would wait for the compiler, and the ones behind it
            compile_ahead(parameters.config, node.get_logger().info)
        self._odometry = VisualOdometry(self._engine, parameters.config, is_live=is_live)
        others = OtherBroadcasters(node, self._outputs.broadcaster, self._warn)
        camera = CameraCheck(
            node,
            self._statistics,
            self._image_topic,
            takes_every=not is_live,
        )
        checks = (camera.check, own(closing(others)).check)
        status = StatusPublisher(
            node, parameters, self._statistics, self._facts, checks, self._others
        )
        own(closing(status))
        self._extrinsics = own(closing(self._make_extrinsics()))
        pipeline = Pipeline(
            calibration=self._calibration,
            odometry=self._odometry,
            extrinsics=self._extrinsics,
            outputs=self._outputs,
            speeds=self._speeds,
        )
        self._worker = Worker(node, parameters, pipeline, self._statistics, on_failure)
        trajectory = self._outputs.trajectory
        callbacks = self._reset, self._set_paused
        own(closing(Services(node, parameters, trajectory, *callbacks, self._others)))

    def _warn(self, problem: str) -> None:
        self._statistics.report(problem)
        self._node.get_logger().warning(problem)

    def _note_engine(self, line: str, is_problem: bool) -> None:
        if is_problem:
            self._warn(line)
        else:
            self._node.get_logger().info(line)

    def start(self) -> None:
        """Subscribe and process what arrives."""
        self._mailbox = Mailbox(self._parameters.config.node.image_queue)
        self._pause_or_resume()
        self._worker.start(self._mailbox)
        self._subscribe_to_camera()
        if self._parameters.config.scale.external:
            self._subscribe_to_speed()

    def stop(self) -> None:
        """Unsubscribe and end the worker; ``start`` continues from the same pose."""
        self._mailbox.close()  # else a callback may wait for room in it
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._worker.stop()
        self._statistics.hold(TrackingStatus.IDLE, Reason.INACTIVE)

    def close(self) -> None:
        """Stop, and destroy everything that was created: the node is as it was before."""
        self._statistics.on_change = lambda: None  # the middleware may be shut down already
        self.stop()
        self._parts.close()

    def _topics(self) -> tuple[str, str]:
        images = self._node.resolve_topic_name("image")
        if self._parameters.config.node.compressed:
            # As image_transport names it, after remapping; this name may be remapped as well.
            images = self._node.resolve_topic_name(f"{images}/compressed")
        return images, self._node.resolve_topic_name("camera_info")

    def _make_extrinsics(self) -> ExtrinsicsLookup:
        options = self._parameters.config.node
        if compat.transform_message_class() is None:
            self._node.get_logger().warning(
                "tf2_msgs is not installed: no TF is published and no extrinsics are looked up; "
                "install it with: pip install ./third_party/tf2_msgs"
            )
        most_load = UNLIMITED if options.image_queue == "every" else MOST_LOAD
        # Not the group of the services: TF may be flooded.
        group = MutuallyExclusiveCallbackGroup()
        return ExtrinsicsLookup(
            lambda: make_lookup(self._node, group, self._refuse_transform, most_load),
            options.base_frame,
            options.extrinsics_wait_s,
            self._node.get_logger().info,
            options.ground_frame,
            self._refuse_transform,
        )

    def _refuse_transform(self, reason: str) -> None:
        self._statistics.report(reason)
        self._node.get_logger().warning(reason, throttle_duration_sec=WARNING_PERIOD_S)

    def _subscribe_to_camera(self) -> None:
        options = self._parameters.config.node
        every = options.image_queue == "every"
        self._subscribe(
            CameraInfo,
            self._calibration.topic,
            self._calibration.take,
            QoSProfile(depth=10) if every else _best_effort(2),
            callback_group=self._others,
        )
        self._subscribe(
            CompressedImage if options.compressed else Image,
            self._image_topic,
            self._on_image,
            image_qos(options.image_queue),
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=compat.lost_message_events(self._statistics.set_lost_in_transport),
        )

    def _subscribe_to_speed(self) -> None:
        topics = {
            "speed/odometry": (Odometry, self._speeds.take_odometry),
            "speed/twist": (TwistStamped, self._speeds.take_twist),
        }
        for name, (kind, take) in topics.items():
            topic = self._node.resolve_topic_name(name)
            self._subscribe(kind, topic, take, _best_effort(50), callback_group=self._others)

    def _subscribe(
        self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile, **more: Any
    ) -> None:
        overridable = QoSOverridingOptions(policy_kinds=_QOS_OVERRIDES)
        parameters = f"the parameters qos_overrides.{topic}.subscription.*"
        with one_line_errors(f"cannot subscribe to {topic} with {parameters}: "):
            subscription = self._node.create_subscription(
                kind, topic, callback, qos, qos_overriding_options=overridable, **more
            )
        self._subscriptions.append(subscription)

    def _on_image(self, message: Image | CompressedImage) -> None:
        now_ns = time.monotonic_ns()
        self._statistics.image_received()
        reason = self._reason_to_idle()
        if reason is not None:
            self._statistics.transition(TrackingStatus.IDLE, reason, counter="skipped")
        elif self._is_too_soon(now_ns):
            self._statistics.count("skipped")
        else:
            self._mailbox.put((message, now_ns))

    def _reason_to_idle(self) -> Reason | None:
        if self._is_paused:
            return Reason.PAUSED
        options = self._parameters.config.node
        if not options.idle_without_subscribers or self._outputs.have_subscribers():
            return None
        tf_is_used = options.publish_tf and self._tf_has_other_subscribers()
        return None if tf_is_used else Reason.NO_SUBSCRIBERS

    def _tf_has_other_subscribers(self) -> bool:
        topic = self._node.resolve_topic_name(compat.TF)
        lookup = self._extrinsics.lookup
        nodes = {self._node} if lookup is None else {self._node, lookup.node}
        own = sum(s.topic_name == topic for node in nodes for s in node.subscriptions)
        return self._node.count_subscribers(topic) > own

    def _is_too_soon(self, now_ns: int) -> bool:
        options = self._parameters.config.node
        is_live = options.image_queue == "newest"
        return is_live and not self._rate_limit.admits(now_ns * 1e-9, options.max_rate_hz)

    def _reset(self) -> None:
        self._worker.reset()
        self._outputs.trajectory.clear()  # what is saved from now on starts at the new origin

    def _set_paused(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        if self._subscriptions:
            self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        if self._is_paused:
            self._statistics.hold(TrackingStatus.IDLE, Reason.PAUSED)
        else:
            self._statistics.resume()

    def _facts(self) -> dict[str, str]:
        engine, camera = self._engine, self._calibration.camera
        return {
            "engine": engine.name,
            "engine_precision": engine.precision,
            "engine_progress": "",
            "engine_refused": "",
            **(engine.facts() if isinstance(engine, SwitchingEngine) else {}),
            "model": engine.spec.name,
            "depth": self._odometry.depth_method,
            "replaced": str(self._mailbox.replaced),
            "waited_for_room": str(self._mailbox.waited),
            "image_topic": self._image_topic,
            "camera_info_topic": self._calibration.topic,
            "calibration": "" if camera is None else printable(camera.text),
        }


def image_qos(image_queue: str) -> QoSProfile:
    """The quality of service that the node requests for the images.

    For an evaluation it is reliable and without a limit: what does not fit the mailbox waits in
    the middleware. Else best effort, which matches every publisher, and deep enough to outlast a
    third of a second without processor time: the mailbox keeps the newest and counts the others.
    """
    if image_queue == "every":
        return QoSProfile(history=HistoryPolicy.KEEP_ALL)
    return _best_effort(10)


def _best_effort(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
