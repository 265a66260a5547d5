"""What every kind of node does: images in, depth and odometry out. Wiring only.

The plain node makes and starts it at once, the lifecycle node step by step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from sfm_ros.datatypes import Reason
from sfm_ros.engines.base import Engine
from sfm_ros.errors import ConfigError
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import compat
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import ExtrinsicsLookup
from sfm_ros.ros.node.mailbox import Mailbox
from sfm_ros.ros.node.owned_node import Owned
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.node.publishers import Outputs
from sfm_ros.ros.node.rate_limit import RateLimit
from sfm_ros.ros.node.run_statistics import RunReport
from sfm_ros.ros.node.services import Services
from sfm_ros.ros.node.status import StatusPublisher
from sfm_ros.ros.node.worker import Waiting, Worker

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
        node: the node they belong to.
        parameters: its options.
        engine: the networks; ``close`` closes them.
        on_failure: called once with the reason where the node cannot go on.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        engine: Engine,
        on_failure: Callable[[str], None],
    ) -> None:
        self._owned = Owned(node)
        self._node = cast(Node, self._owned)
        self._parameters = parameters
        self._engine = engine
        self._paused = False
        self._rate_limit = RateLimit()
        self._report = RunReport()
        self._calibration = CalibrationCache()
        self._subscriptions: list[Subscription] = []
        self._mailbox: Mailbox[Waiting] = Mailbox(parameters.config.node.image_queue)
        self._others = MutuallyExclusiveCallbackGroup()
        self._image_topic, self._info_topic = self._topics()
        try:
            self._make_parts(on_failure)
        except BaseException:
            self._owned.close()
            engine.close()
            raise

    def _make_parts(self, on_failure: Callable[[str], None]) -> None:
        node, parameters = self._node, self._parameters
        self._outputs = Outputs(node, parameters.config)
        self._status = StatusPublisher(node, parameters, self._report, self._facts, self._others)
        self._worker = Worker(
            node,
            parameters,
            VisualOdometry(self._engine, parameters.config),
            self._calibration,
            self._make_extrinsics(),
            self._outputs,
            self._report,
            self._info_topic,
            self._status.publish_change,
            on_failure,
        )
        self._services = Services(
            node,
            parameters,
            self._outputs.trajectory,
            self._reset,
            self._set_paused,
            self._others,
        )

    def start(self) -> None:
        """Subscribe and work on what comes."""
        self._mailbox = Mailbox(self._parameters.config.node.image_queue)
        self._tell_the_report()
        self._worker.start(self._mailbox)
        self._subscribe()

    def stop(self) -> None:
        """Unsubscribe and end the worker; ``start`` goes on from the same pose."""
        self._mailbox.close()  # else a callback may wait for room in it
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._worker.stop()
        self._report.rest(Reason.INACTIVE)

    def close(self) -> None:
        """Stop, and release everything that was made: the node is as it was before."""
        self.stop()
        self._owned.close()
        self._engine.close()

    def _topics(self) -> tuple[str, str]:
        images = self._node.resolve_topic_name("image")
        if self._parameters.config.node.compressed:
            # As image_transport names it, after remapping; this name may be remapped as well.
            images = self._node.resolve_topic_name(f"{images}/compressed")
        return images, self._node.resolve_topic_name("camera_info")

    def _make_extrinsics(self) -> ExtrinsicsLookup:
        options = self._parameters.config.node
        if not compat.has_tf():
            self._node.get_logger().warning(
                "tf2_msgs is not installed: no TF is published and no extrinsics is looked up; "
                "install it with: pip install ./third_party/tf2_msgs"
            )
        return ExtrinsicsLookup(
            lambda: compat.make_lookup(self._node, self._others),
            options.base_frame,
            options.extrinsics_wait_s,
            self._node.get_logger().info,
        )

    def _subscribe(self) -> None:
        options = self._parameters.config.node
        every = options.image_queue == "every"
        self._listen(
            CameraInfo,
            self._info_topic,
            self._calibration.take,
            QoSProfile(depth=10) if every else _best_effort(2),
            callback_group=self._others,
        )
        self._listen(
            CompressedImage if options.compressed else Image,
            self._image_topic,
            self._on_image,
            image_qos(options.image_queue),
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=compat.lost_message_events(self._report.lost_in_transport),
        )

    def _listen(
        self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile, **more: Any
    ) -> None:
        overridable = QoSOverridingOptions(policy_kinds=_QOS_OVERRIDES)
        try:
            subscription = self._node.create_subscription(
                kind, topic, callback, qos, qos_overriding_options=overridable, **more
            )
        except (RuntimeError, InvalidParameterTypeException) as error:
            raise ConfigError(
                f"cannot subscribe to {topic} with the parameters qos_overrides.{topic}"
                f".subscription.*: {error}"
            ) from error
        self._subscriptions.append(subscription)

    def _on_image(self, message: Image | CompressedImage) -> None:
        now_ns = time.monotonic_ns()
        self._report.image_arrived()
        idle = self._reason_to_idle()
        if idle is not None:
            if self._report.idle(idle):
                self._status.publish_change()
        elif self._is_too_soon(now_ns):
            self._report.skipped()
        else:
            self._mailbox.put((message, now_ns))

    def _reason_to_idle(self) -> Reason | None:
        if self._paused:
            return Reason.PAUSED
        options = self._parameters.config.node
        if not options.idle_without_subscribers or self._outputs.have_subscribers():
            return None
        tf_is_used = options.publish_tf and self._hears_tf_besides_us()
        return None if tf_is_used else Reason.NO_SUBSCRIBERS

    def _hears_tf_besides_us(self) -> bool:
        topic = self._node.resolve_topic_name("/tf")
        ours = sum(s.topic_name == topic for s in self._node.subscriptions)
        return self._node.count_subscribers(topic) > ours

    def _is_too_soon(self, now_ns: int) -> bool:
        options = self._parameters.config.node
        is_live = options.image_queue == "newest"
        return is_live and not self._rate_limit.admits(now_ns * 1e-9, options.max_rate_hz)

    def _reset(self) -> None:
        self._worker.reset()
        self._outputs.trajectory.clear()  # what is saved from now on is of the new beginning

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        if self._subscriptions and self._tell_the_report():
            self._status.publish_change()

    def _tell_the_report(self) -> bool:
        """What is to be done with images from now on; True where that is news."""
        return self._report.rest(Reason.PAUSED) if self._paused else self._report.begin()

    def _facts(self) -> dict[str, str]:
        return {
            "engine": self._engine.name,
            "model": self._engine.spec.name,
            "replaced": str(self._mailbox.replaced),
            "waited_for_room": str(self._mailbox.waited),
            "image_topic": self._image_topic,
            "camera_info_topic": self._info_topic,
        }


def image_qos(image_queue: str) -> QoSProfile:
    """What the node asks for of the images.

    For an evaluation reliable and without a limit: what does not fit the mailbox waits in the
    middleware. Else best effort, which fits every publisher, and enough of them to outlast a third
    of a second without a processor: the mailbox keeps the newest, and counts the others.
    """
    if image_queue == "every":
        return QoSProfile(history=HistoryPolicy.KEEP_ALL)
    return _best_effort(10)


def _best_effort(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
