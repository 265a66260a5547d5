"""The thread that turns waiting images into published estimates."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from sfm_ros.cameras.pixels import PixelCamera
from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import CameraIntrinsics, OdometryEstimate, Reason, TrackingStatus
from sfm_ros.errors import CalibrationError, EngineError, ImageError, SfmRosError, printable
from sfm_ros.formats.gray_range import GrayRange
from sfm_ros.formats.image_codec import levels_of
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import conversions
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import Extrinsics, ExtrinsicsLookup
from sfm_ros.ros.node.mailbox import Mailbox
from sfm_ros.ros.node.parameters import Parameters
from sfm_ros.ros.node.publishers import Outputs
from sfm_ros.ros.node.run_statistics import RunStatistics
from sfm_ros.ros.node.speed import SpeedInput
from sfm_ros.ros.rate_limit import BurstLimit

_CALIBRATION_POLL_S = 0.2
_MOST_LINES = 300
"""Changes of the status that are logged within a minute; ~/status has all of them."""
WARNING_PERIOD_S = 2.0
"""rclpy throttles by the line that logs, whatever the text: another problem of the same kind is
logged after this time at the latest. ~/status has the newest one at once."""

Waiting = tuple[Image | CompressedImage, int]
"""An image message, and the steady time in nanoseconds at which it arrived."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """What an image passes through, in this order."""

    calibration: CalibrationCache
    odometry: VisualOdometry
    extrinsics: ExtrinsicsLookup
    outputs: Outputs
    speeds: SpeedInput


class Worker:
    """Takes images out of the mailbox, one after the other, until the mailbox is closed.

    Args:
        node, parameters: the node and its options; live ones are applied between two images.
        pipeline: what is done with an image.
        statistics: what happened.
        on_failure: called with the reason if the worker cannot continue.
    """

    def __init__(
        self,
        node: Node,
        parameters: Parameters,
        pipeline: Pipeline,
        statistics: RunStatistics,
        on_failure: Callable[[str], None],
    ) -> None:
        self._context = node.context
        self._clock = node.get_clock()
        self._logger = node.get_logger()
        self._parameters = parameters
        self._config: SfmConfig | None = None
        self._pipeline = pipeline
        self._statistics = statistics
        self._on_failure = on_failure
        self._reset_requested = threading.Event()
        self._gray = GrayRange(parameters.config.preprocess.bits)
        self._camera: PixelCamera | None = None
        self._extrinsics: Extrinsics | None = None
        self._camera_height_m: float | None = None
        self._logged: tuple[TrackingStatus | None, tuple[Reason, ...]] = (None, ())
        self._warn_due_s: dict[tuple[Reason, ...], float] = {}
        self._lines = BurstLimit(_MOST_LINES)
        self._thread: threading.Thread | None = None

    def start(self, mailbox: Mailbox[Waiting]) -> None:
        """Process what is in the mailbox, until it is closed."""
        self._pipeline.extrinsics.resume()
        # A daemon: a program that forgets to destroy its node should end nevertheless.
        self._thread = threading.Thread(
            target=self._work, args=(mailbox,), name="sfm_worker", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Wait for the end of the current image; the mailbox has been closed before."""
        self._pipeline.extrinsics.stop()
        if self._thread not in (None, threading.current_thread()):  # as when on_failure closes
            self._thread.join()
        self._thread = None

    def reset(self) -> None:
        """Start again with the next image, at the origin."""
        self._reset_requested.set()

    def _work(self, mailbox: Mailbox[Waiting]) -> None:
        try:
            try:
                while mailbox.wait():
                    self._work_once(mailbox)
            finally:
                mailbox.close()  # nothing is taken any more: no callback may wait for room
        except EngineError as error:
            self._fail(f"the engine '{self._pipeline.odometry.engine_name}' failed: {error}")
        except Exception:  # else the node would seem to work although its worker has ended
            if self._context.ok():  # else the middleware has been shut down meanwhile
                self._fail(f"the worker failed:\n{traceback.format_exc()}")

    def _fail(self, reason: str) -> None:
        self._statistics.hold(TrackingStatus.LOST, Reason.ENGINE_FAILED, reason)
        self._on_failure(reason)

    def _work_once(self, mailbox: Mailbox[Waiting]) -> None:
        intrinsics = self._wait_for_calibration()
        item = None if intrinsics is None else mailbox.get(0.0)
        if intrinsics is None or item is None:
            return
        self._apply_requests()
        try:
            self._process(*item, intrinsics)
        except ImageError as error:
            self._reject(Reason.BAD_IMAGE, error)
        except CalibrationError as error:
            note = "" if self._camera is None else self._camera.size_note
            error = CalibrationError(f"{error} (calibration: {note})") if note else error
            self._reject(Reason.CALIBRATION_MISMATCH, error)

    def _process(
        self, message: Image | CompressedImage, arrived_ns: int, intrinsics: CameraIntrinsics
    ) -> None:
        taken_ns = time.monotonic_ns()
        limit = self._parameters.config.preprocess.max_megapixels
        levels = levels_of(message, self._gray, limit)
        frame = conversions.frame_from_image(message, intrinsics, limit, levels)
        self._pipeline.extrinsics.admit(frame.frame_id)
        converted_ns = time.monotonic_ns()
        for measured in self._pipeline.speeds.speeds(self._extrinsics):
            self._pipeline.odometry.add_speed(*measured)
        estimate = self._pipeline.odometry.step(frame)
        estimated_ns = time.monotonic_ns()
        extrinsics = self._pipeline.extrinsics.at(estimate.frame_id, estimate.stamp_ns)
        if extrinsics is None:
            return
        self._use(extrinsics)
        withheld = self._pipeline.outputs.publish(estimate, extrinsics)
        if withheld:
            self._statistics.report(withheld)
            self._logger.warning(withheld, throttle_duration_sec=WARNING_PERIOD_S)
        timings_ns = {
            "queue": taken_ns - arrived_ns,
            "convert": converted_ns - taken_ns,
            **estimate.timings_ns,
            "publish": time.monotonic_ns() - estimated_ns,
        }
        stamp_latency_ns = self._clock.now().nanoseconds - estimate.stamp_ns
        self._statistics.processed(estimate, timings_ns, stamp_latency_ns)
        self._log(estimate)

    def _use(self, extrinsics: Extrinsics) -> None:
        """Keep the extrinsics for the speeds, and hand another camera height over."""
        self._extrinsics, height_m = extrinsics, extrinsics.camera_height_m
        if height_m is not None and height_m != self._camera_height_m:
            self._pipeline.odometry.set_camera_height(height_m)
            if self._camera_height_m is None:  # later ones: a camera that moves
                ground = self._parameters.config.node.ground_frame
                self._logger.info(f"the camera is {height_m:.3f} m above '{ground}'")
            self._camera_height_m = height_m

    def _apply_requests(self) -> None:
        """Apply what was requested since the last image: other options, a reset."""
        if self._parameters.config is not self._config:
            self._config = self._parameters.config
            self._pipeline.odometry.configure(self._config)
            self._pipeline.outputs.configure(self._config)
        if self._reset_requested.is_set():
            self._reset_requested.clear()
            self._pipeline.odometry.reset()
            self._pipeline.outputs.clear()

    def _wait_for_calibration(self) -> CameraIntrinsics | None:
        """The calibration in use; None, with a warning, if none arrives within a short time."""
        try:
            intrinsics = self._pipeline.calibration.wait(_CALIBRATION_POLL_S)
            reason = "none has been received"
        except CalibrationError as error:
            intrinsics, reason = None, printable(error)
        if intrinsics is None:
            topic = self._pipeline.calibration.topic
            problem = f"images arrive, but no usable calibration on {topic}: {reason}"
            self._statistics.transition(
                TrackingStatus.WAITING_FOR_CALIBRATION, Reason.NO_CALIBRATION, problem=problem
            )
            self._logger.warning(problem, throttle_duration_sec=WARNING_PERIOD_S)
        else:
            self._log_camera()
        return intrinsics

    def _log_camera(self) -> None:
        """Log once which camera is used and why, and again if another takes its place."""
        camera = self._pipeline.calibration.camera
        if camera is None or camera is self._camera or not self._lines.admits():
            return
        self._camera = camera
        if camera.is_doubtful:  # on two lines: rclpy allows one severity in each
            self._logger.warning(printable(camera.text))
        else:
            self._logger.info(printable(camera.text))

    def _reject(self, reason: Reason, error: SfmRosError) -> None:
        """Count an image that is dropped, and log it."""
        problem = printable(error)
        self._statistics.transition(
            TrackingStatus.LOST, reason, problem=problem, counter="rejected"
        )
        self._warn_of_loss((reason,), f"image dropped: {problem}")

    def _log(self, estimate: OdometryEstimate) -> None:
        """Log a state that differs from that of the last line: no two lines are the same."""
        if Reason.TIME_REVERSED in estimate.reasons and self._lines.admits():
            self._logger.warning(
                "time went back (does a bag loop?): the odometry starts again at the origin"
            )
        reasons = ", ".join(reason.value for reason in estimate.reasons)
        text = estimate.status.value + (f": {reasons}" if reasons else "")
        if estimate.status is TrackingStatus.LOST:
            text += f" ({estimate.note})" if estimate.note else ""
            if estimate.note:
                self._statistics.report(text)
            if (estimate.status, estimate.reasons) != self._logged:
                self._warn_of_loss(estimate.reasons, text)
        elif estimate.status is not self._logged[0] and self._lines.admits():
            self._logged = estimate.status, ()
            self._logger.info(text)

    def _warn_of_loss(self, reasons: tuple[Reason, ...], text: str) -> None:
        """Log that the motion is lost, at most once in a while for the same reasons.

        Not by rclpy's throttle: whether that has logged the line is not known in every version.
        """
        now_s = time.monotonic()
        if now_s >= self._warn_due_s.get(reasons, 0.0) and self._lines.admits():
            self._logged = TrackingStatus.LOST, reasons
            self._warn_due_s[reasons] = now_s + WARNING_PERIOD_S
            self._logger.warning(text)
