"""The ROS node: wiring only. The algorithm is :mod:`sfm_ros.odometry`."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_srvs.srv import Trigger

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import OdometryEstimate, Reason, TrackingStatus
from sfm_ros.engines.base import Engine
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import CalibrationError, EngineError, ImageError, SfmRosError
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import compat, conversions
from sfm_ros.ros.calibration import CalibrationCache
from sfm_ros.ros.mailbox import Mailbox
from sfm_ros.ros.mounting import MountingFinder
from sfm_ros.ros.outputs import Outputs
from sfm_ros.ros.parameters import read_config
from sfm_ros.ros.process_tuning import tune_process
from sfm_ros.ros.run_report import RunReport
from sfm_ros.ros.throttle import LogThrottle

_CALIBRATION_POLL_S = 0.2
_TAKE_POLL_S = 0.2


class SfmNode(Node):
    """Subscribes to a camera, publishes depth and odometry.

    A subscription's callback only hands the message over; a worker thread converts it, calls
    ``VisualOdometry.step`` and publishes. Parameters are the options of ``sfm_ros.config``.

    Args:
        engine: the networks; by default those the parameters name.
        config: defaults of the parameters.
        arguments: passed on to ``rclpy.node.Node``.

    Raises:
        SfmRosError: a parameter or the model is wrong; nothing has been subscribed to.
    """

    def __init__(
        self, engine: Engine | None = None, config: SfmConfig | None = None, **arguments: Any
    ) -> None:
        super().__init__("sfm_node", **arguments)
        self.config = read_config(self, config)
        self.failure: str | None = None
        self._engine = engine or create_engine(self.config.model)
        self._odometry = VisualOdometry(self._engine, self.config)
        self._report = RunReport()
        self._calibration = CalibrationCache()
        self._mailbox: Mailbox[tuple[Any, int]] = Mailbox(self.config.node.delivery)
        self._reset_wanted = threading.Event()
        self._outputs = Outputs(self, self.config)
        self._say_trouble = LogThrottle(self.get_logger().warning)
        self._last_status: TrackingStatus | None = None
        self._others = MutuallyExclusiveCallbackGroup()
        self._mounting = self._make_mounting()
        self._worker = threading.Thread(target=self._work, name="sfm_worker")
        self._subscribe()
        self._start_reporting()
        self._worker.start()

    def stop(self) -> None:
        """End the worker and release the engine; the node can then be destroyed."""
        self._mailbox.close()
        self._mounting.stop()
        self._worker.join()
        self._engine.close()

    # ---- wiring -------------------------------------------------------------------------------

    def _make_mounting(self) -> MountingFinder:
        lookup = compat.make_lookup(self, self._others)
        if lookup is None:
            self.get_logger().warning(
                "tf2_msgs is not installed: no TF is published and no mounting is looked up; "
                "install it with: pip install ./ros/tf2_msgs"
            )
        return MountingFinder(
            lookup,
            compat.make_static_broadcaster(self) if self.config.node.publish_tf else None,
            self.config.node.base_frame,
            self.config.node.mounting_wait_s,
            self.get_logger().info,
        )

    def _subscribe(self) -> None:
        every = self.config.node.delivery == "every"
        best_effort = QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT)
        # Reliable and without a limit of its own: a full mailbox holds the sender back.
        reliable = QoSProfile(history=HistoryPolicy.KEEP_ALL)
        topic = self.resolve_topic_name("image")
        if self.config.node.compressed:
            topic += "/compressed"  # as image_transport names it, after remapping
        overridable = QoSOverridingOptions(
            policy_kinds=[
                QoSPolicyKind.RELIABILITY,
                QoSPolicyKind.DURABILITY,
                QoSPolicyKind.HISTORY,
                QoSPolicyKind.DEPTH,
            ]
        )
        self._image_subscription = self.create_subscription(
            CompressedImage if self.config.node.compressed else Image,
            topic,
            self._on_image,
            reliable if every else best_effort,
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=compat.lost_message_events(self._report.lost_in_transport),
            qos_overriding_options=overridable,
        )
        self._info_subscription = self.create_subscription(
            CameraInfo,
            "camera_info",
            self._calibration.take,
            QoSProfile(depth=10) if every else best_effort,
            callback_group=self._others,
            qos_overriding_options=overridable,
        )

    def _start_reporting(self) -> None:
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._reset_service = self.create_service(
            Trigger, "~/reset", self._on_reset, callback_group=self._others
        )
        # Not on simulated time: a paused bag is worth a report too.
        self._timer = self.create_timer(
            1.0,
            self._publish_diagnostics,
            callback_group=self._others,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    # ---- callbacks ----------------------------------------------------------------------------

    def _on_image(self, message: Image | CompressedImage) -> None:
        self._report.count("received")
        self._mailbox.put((message, time.monotonic_ns()))

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_wanted.set()
        response.success = True
        response.message = "the next image stands at the origin"
        return response

    def _publish_diagnostics(self) -> None:
        extra = {
            "engine": self._engine.name,
            "model": self._engine.spec.name,
            "replaced": str(self._mailbox.replaced),
            "waited_for_room": str(self._mailbox.waited),
            "image_topic": self._image_subscription.topic_name,
            "camera_info_topic": self._info_subscription.topic_name,
        }
        status = self._report.diagnostic(f"{self.get_name()}: odometry", extra)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)

    # ---- worker -------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._mailbox.closed:
                self._work_once()
        except EngineError as error:
            self._fail(f"the engine '{self._engine.name}' failed: {error}")
        except Exception:  # a worker that dies unseen would leave a node that looks alive
            if self.context.ok():
                self._fail(f"the worker failed:\n{traceback.format_exc()}")

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.context.try_shutdown()

    def _work_once(self) -> None:
        try:
            intrinsics = self._calibration.wait(_CALIBRATION_POLL_S)
        except CalibrationError as error:
            self._wait_for_calibration(str(error))
            return
        if intrinsics is None:
            self._wait_for_calibration("none has been received")
            return
        item = self._mailbox.get(_TAKE_POLL_S)
        if item is None:
            return
        if self._reset_wanted.is_set():
            self._reset_wanted.clear()
            self._odometry.reset()
            self._outputs.clear()
        message, arrived_ns = item
        taken_ns = time.monotonic_ns()
        try:
            frame = conversions.frame_from_image(message, intrinsics)
            converted_ns = time.monotonic_ns()
            estimate = self._odometry.step(frame)
        except (ImageError, CalibrationError) as error:
            self._report.rejected(str(error))
            self._say_trouble(f"image dropped: {error}")
            return
        estimated_ns = time.monotonic_ns()
        self._outputs.publish(estimate, self._mounting.of(estimate.frame_id))
        timings_ns = {
            "queue": taken_ns - arrived_ns,
            "convert": converted_ns - taken_ns,
            **estimate.timings_ns,
            "publish": time.monotonic_ns() - estimated_ns,
        }
        self._report.processed(estimate, timings_ns)
        self._log(estimate)

    def _wait_for_calibration(self, reason: str) -> None:
        if len(self._mailbox) == 0:
            return  # without images nobody is kept waiting
        topic = self._info_subscription.topic_name
        trouble = f"images arrive, but no usable calibration on {topic}: {reason}"
        self._report.waiting_for_calibration(trouble)
        self._say_trouble(trouble)

    def _log(self, estimate: OdometryEstimate) -> None:
        if Reason.TIME_REVERSED in estimate.reasons:
            self.get_logger().warning(
                "time went back (a bag that starts again?): the odometry begins anew"
            )
        if estimate.status is not self._last_status:
            self._last_status = estimate.status
            reasons = ", ".join(reason.value for reason in estimate.reasons)
            self.get_logger().info(estimate.status.value + (f": {reasons}" if reasons else ""))


def main(args: list[str] | None = None, engine: Engine | None = None) -> int:
    """Run the node until it is told to stop.

    Args:
        args: command line; by default the process's own.
        engine: the networks; by default those the parameters name.

    Returns:
        0 after SIGINT or SIGTERM, 1 where it refused to start or its engine failed.
    """
    # rclpy's own handler stops the executor. A KeyboardInterrupt on top of it would hit the
    # clean-up, for under `ros2 launch` the signal arrives twice.
    signal.signal(signal.SIGINT, lambda *_: None)
    tune_process()
    rclpy.init(args=args)
    node = None
    try:
        node = SfmNode(engine)
        executor = MultiThreadedExecutor(2)
        executor.add_node(node)
        executor.spin()
    except ExternalShutdownException:
        pass
    except SfmRosError as error:
        print(f"sfm_node cannot start: {error}", file=sys.stderr)
        return 1
    except Exception:
        if rclpy.ok():  # else the signal came while the node was being built
            raise
    finally:
        if node is not None:
            node.stop()
            node.destroy_node()
        rclpy.try_shutdown()
    if node is not None and node.failure is not None:
        print(f"sfm_node stopped: {node.failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
