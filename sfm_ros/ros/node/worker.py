"""The thread that turns waiting images into published estimates."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import OdometryEstimate, Reason, TrackingStatus
from sfm_ros.errors import CalibrationError, EngineError, ImageError
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import conversions
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import ExtrinsicsLookup
from sfm_ros.ros.node.mailbox import Mailbox
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.node.publishers import Outputs
from sfm_ros.ros.node.run_statistics import RunReport
from sfm_ros.ros.node.throttle import LogThrottle

_CALIBRATION_POLL_S = 0.2

Waiting = tuple[Image | CompressedImage, int]
"""An image message, and the steady time in nanoseconds at which it came."""


class Worker:
    """Takes images out of the mailbox, one after the other, until the mailbox is closed.

    Args:
        node: logs, and tells the time.
        parameters: the node's options; live ones are taken into use between two images.
        odometry: the algorithm.
        calibration: of the images.
        extrinsics: of the camera.
        outputs: where estimates go.
        report: what happened.
        info_topic: where the calibration should come from, for the log.
        on_change: called when the status changes.
        on_failure: called with the reason where nothing can go on.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        odometry: VisualOdometry,
        calibration: CalibrationCache,
        extrinsics: ExtrinsicsLookup,
        outputs: Outputs,
        report: RunReport,
        info_topic: str,
        on_change: Callable[[], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._context = node.context
        self._clock = node.get_clock()
        self._logger = node.get_logger()
        self._parameters = parameters
        self._config: SfmConfig | None = None
        self._odometry = odometry
        self._calibration = calibration
        self._extrinsics = extrinsics
        self._outputs = outputs
        self._report = report
        self._info_topic = info_topic
        self._on_change = on_change
        self._on_failure = on_failure
        self._reset_requested = threading.Event()
        self._say_trouble = LogThrottle(self._logger.warning)
        self._last_status: TrackingStatus | None = None
        self._thread: threading.Thread | None = None

    def start(self, mailbox: Mailbox[Waiting]) -> None:
        """Begin to work on what is in the mailbox, until that is closed."""
        self._extrinsics.resume()
        # A daemon: a program that forgets to destroy its node should end nevertheless.
        self._thread = threading.Thread(
            target=self._work, args=(mailbox,), name="sfm_worker", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Wait for the end of the image under way; the mailbox has been closed before."""
        self._extrinsics.stop()
        if self._thread not in (None, threading.current_thread()):  # as where on_failure closes
            self._thread.join()
        self._thread = None

    def reset(self) -> None:
        """Let the next image stand at the origin."""
        self._reset_requested.set()

    def _work(self, mailbox: Mailbox[Waiting]) -> None:
        try:
            try:
                while mailbox.wait():
                    self._work_once(mailbox)
            finally:
                mailbox.close()  # nobody takes any more: no callback may wait for room
        except EngineError as error:
            self._fail(f"the engine '{self._odometry.engine_name}' failed: {error}")
        except Exception:  # a worker that dies unseen would leave a node that looks alive
            if self._context.ok():  # else the middleware has left, and publishing with it
                self._fail(f"the worker failed:\n{traceback.format_exc()}")

    def _fail(self, reason: str) -> None:
        if self._report.failed(reason):
            self._on_change()
        self._on_failure(reason)

    def _work_once(self, mailbox: Mailbox[Waiting]) -> None:
        try:
            intrinsics = self._calibration.wait(_CALIBRATION_POLL_S)
        except CalibrationError as error:
            self._wait_for_calibration(str(error))
            return
        if intrinsics is None:
            self._wait_for_calibration("none has been received")
            return
        item = mailbox.get(0.0)
        if item is None:
            return
        self._follow_orders()
        message, arrived_ns = item
        taken_ns = time.monotonic_ns()
        try:
            frame = conversions.frame_from_image(message, intrinsics)
            converted_ns = time.monotonic_ns()
            estimate = self._odometry.step(frame)
        except ImageError as error:
            self._reject(Reason.BAD_IMAGE, str(error))
            return
        except CalibrationError as error:
            self._reject(Reason.CALIBRATION_MISMATCH, str(error))
            return
        estimated_ns = time.monotonic_ns()
        extrinsics = self._extrinsics.of(estimate.frame_id)
        if extrinsics is None:
            return
        self._outputs.publish(estimate, extrinsics, self._odometry.config)
        timings_ns = {
            "queue": taken_ns - arrived_ns,
            "convert": converted_ns - taken_ns,
            **estimate.timings_ns,
            "publish": time.monotonic_ns() - estimated_ns,
        }
        stamp_latency_ns = self._clock.now().nanoseconds - estimate.stamp_ns
        if self._report.processed(estimate, timings_ns, stamp_latency_ns):
            self._on_change()
        self._log(estimate)

    def _follow_orders(self) -> None:
        """What was asked for since the last image: other options, a new beginning."""
        if self._parameters.config is not self._config:
            self._config = self._parameters.config
            self._odometry.configure(self._config)
        if self._reset_requested.is_set():
            self._reset_requested.clear()
            self._odometry.reset()
            self._outputs.clear()

    def _reject(self, reason: Reason, trouble: str) -> None:
        if self._report.rejected(reason, trouble):
            self._on_change()
        self._last_status = TrackingStatus.LOST
        self._say_trouble(f"image dropped: {trouble}")

    def _wait_for_calibration(self, reason: str) -> None:
        trouble = f"images arrive, but no usable calibration on {self._info_topic}: {reason}"
        if self._report.waiting_for_calibration(trouble):
            self._on_change()
        self._say_trouble(trouble)

    def _log(self, estimate: OdometryEstimate) -> None:
        if Reason.TIME_REVERSED in estimate.reasons:
            self._logger.warning(
                "time went back (a bag that starts again?): the odometry begins anew"
            )
        if estimate.status is not self._last_status:
            self._last_status = estimate.status
            reasons = ", ".join(reason.value for reason in estimate.reasons)
            self._logger.info(estimate.status.value + (f": {reasons}" if reasons else ""))
