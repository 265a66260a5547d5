"""The algorithm: one frame in, one estimate out.

The networks are SfMLearner's pair (Zhou et al., CVPR 2017): depth from the newest frame, motion
from the last N. Tracked keypoints give the rotation and the direction of the motion, the source of
the scale its length (`sfm_ros.motion`). The pose is the product of the increments,
``T_odom_curr = T_odom_prev @ T_prev_curr``.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import (
    CameraIntrinsics,
    DepthMap,
    Frame,
    OdometryEstimate,
    Prediction,
    Reason,
    ScaleState,
    TrackingStatus,
)
from sfm_ros.depth.stage import DepthStage
from sfm_ros.engines.base import Engine
from sfm_ros.errors import EngineError
from sfm_ros.image_quality import (
    ImageStats,
    check_image,
    image_stats,
    is_exposure_jump,
    is_repeated,
)
from sfm_ros.motion.base import Motion, MotionEstimator, Step
from sfm_ros.motion.factory import create_motion
from sfm_ros.output_checks import check_depth, check_motion
from sfm_ros.pose import PoseIntegrator
from sfm_ros.preprocess import ImagePreparer, Prepared
from sfm_ros.window import IGNORED, FrameWindow, Window

_REJECTED = {
    **dict.fromkeys(IGNORED, TrackingStatus.DEGRADED),
    Reason.NO_STAMP: TrackingStatus.LOST,
    Reason.NO_TEXTURE: TrackingStatus.LOST,
    Reason.IMAGE_NOISE: TrackingStatus.LOST,
    Reason.FROZEN_IMAGE: TrackingStatus.LOST,
}
"""Why a frame does not enter the window, and the status of the odometry after it."""


class VisualOdometry:
    """Depth and odometry of one camera.

    The pose starts at the identity with the first frame and never jumps: if no motion is available
    (a gap, a window that fills, an implausible output), it is held and its covariance grows. A
    window that has just filled yields all its increments at once, so that only the motion across
    a gap is lost. A frame whose image shows nothing is skipped: the time to the next good one
    decides whether the window continues or a new segment starts.

    Args:
        engine: the networks.
        config: limits and choices; the defaults are in ``sfm_ros.config``.
        motion: what estimates the motion; by default what ``config`` asks for.
        is_live: images that come during a step are dropped: no step waits for anything that can
            come later, and the time that steps take may decide, see ``depth.mode``.
    """

    def __init__(
        self,
        engine: Engine,
        config: SfmConfig | None = None,
        motion: MotionEstimator | None = None,
        is_live: bool = False,
    ) -> None:
        self.config = config = config or SfmConfig()
        self._engine = engine
        spec = engine.spec
        self._preparer = ImagePreparer(spec.width, spec.height)
        self._window = FrameWindow(spec.sequence_length, config.window)
        self._motion = motion or create_motion(config, spec)
        self._camera_height_m = config.scale.camera_height
        self._pose = PoseIntegrator(config.noise)
        self._depth = DepthStage(config, is_live)
        self._last_stats: ImageStats | None = None

    @property
    def engine_name(self) -> str:
        """Name of the engine that runs the networks."""
        return self._engine.name

    @property
    def depth_method(self) -> str:
        """What published depth is made of at present, and why; see `DepthStage.method`."""
        return self._depth.method

    def configure(self, config: SfmConfig) -> None:
        """Apply live options from the next frame on; the others keep their values."""
        self.config = config
        self._window.configure(config.window)
        self._motion.configure(config)
        self._pose.configure(config.noise)
        self._depth.configure(config)

    def reset(self) -> None:
        """Forget everything; the next frame is at the origin."""
        self._window.clear()
        self._last_stats = None
        self._restart_at_origin()

    def _restart_at_origin(self) -> None:
        self._motion.reset()
        self._pose.reset()
        self._depth.reset()

    def set_camera_height(self, height_m: float) -> None:
        """State the camera's height above the road in meters, unless ``config`` gives it.

        Used by ``scale.source``, and by models that know lengths in proportion to it.
        """
        known_m = self.config.scale.height_of(height_m) or self._camera_height_m
        if known_m and not self._camera_height_m and self._engine.spec.canonical_height_m:
            self._depth.restart()  # predicted depth changes by a factor
        self._camera_height_m = known_m
        self._motion.set_camera_height(height_m)

    def add_speed(self, stamp_ns: int, speed: float) -> None:
        """Add a measured speed in meters per second; used by ``scale.source`` external."""
        self._motion.add_speed(stamp_ns, speed)

    def prepare(self, frame: Frame) -> Prepared:
        """Run the first stage of ``step`` ahead of time, possibly in another thread.

        It changes nothing in the odometry. Call it once for each frame, in order.

        Raises:
            CalibrationError, ImageError: as ``step``.
        """
        return self._preparer.prepare(frame)

    def step(self, frame: Frame, prepared: Prepared | None = None) -> OdometryEstimate:
        """Process the next frame.

        Args:
            frame: an image with its calibration; frames come in order of time.
            prepared: the result of ``prepare``, if it was called ahead of time.

        Returns:
            The estimate for this frame; ``status`` and ``reasons`` report what went wrong.

        Raises:
            CalibrationError: the calibration cannot be used (unknown distortion model).
            ImageError: the image is far smaller than the network's input, or too long.
            EngineError: the inference library failed.
        """
        prepared = prepared or self._preparer.prepare(frame)
        timer = _StageTimer(preprocess=prepared.elapsed_ns)
        event = self._update_window(frame.stamp_ns, prepared)
        if event in _REJECTED:
            return self._estimate(frame, _REJECTED[event], (event,), timer)
        self._motion.add(frame)  # keypoints are followed beside the networks
        window = self._window.window(self._camera_height_m)
        if window is None:
            reasons = tuple(filter(None, (event, Reason.WINDOW_NOT_FULL)))
            return self._estimate(frame, TrackingStatus.INITIALIZING, reasons, timer)

        prediction, bad_depth = self._predict(window)
        timer.mark("inference")
        motion = self._motion.estimate(window, None if bad_depth else prediction)
        newest = self._integrate(motion)
        timer.mark("odometry")
        predicted = _scaled_depth(prediction, motion.scale, bad_depth)
        T, is_deferred = newest.T_prev_curr, newest.is_deferred
        depth = self._depth.update(predicted, prepared.rgb, prepared.intrinsics, T, is_deferred)
        timer.mark("depth")
        self._depth.took(sum(timer.times_ns.values()), newest.dt_ns)
        reasons = tuple(dict.fromkeys((*newest.reasons, *bad_depth, *depth.reasons)))
        return replace(
            self._estimate(frame, _status(newest, reasons), reasons, timer),
            note=newest.note,
            T_prev_curr=newest.T_prev_curr,
            motion_covariance=newest.covariance,
            dt_ns=newest.dt_ns,
            depth=depth.depth,
            depth_uncertainty=depth.uncertainty,
            network_depth=predicted,
            depth_intrinsics=prepared.intrinsics,
            rgb=prepared.rgb,
            scale=motion.scale,
        )

    def _predict(self, window: Window) -> tuple[Prediction | None, tuple[Reason, ...]]:
        """The networks' output, and what is wrong with its depth; None if they do not run."""
        if self.config.odometry.mode == "geometric":
            return None, ()
        try:
            prediction = self._engine.infer(window)
        except EngineError:
            self._motion.restart()
            self._pose.hold()
            raise
        return prediction, check_depth(prediction.depth, self.config.health)

    def _integrate(self, motion: Motion) -> Step:
        """Advance the pose by plausible motions, else hold it; returns the newest as used."""
        for step in motion.steps:
            used = step
            if step.T_prev_curr is not None:
                bad = check_motion(step.T_prev_curr, step.dt_ns * 1e-9, self.config.health)
                if bad:
                    reasons, note = (*step.reasons, *bad), "; ".join(filter(None, bad.values()))
                    used = replace(step, T_prev_curr=None, reasons=reasons, note=note)
            if used.T_prev_curr is None:
                if not used.is_deferred:
                    self._pose.hold()
            else:
                self._pose.advance(used.T_prev_curr, used.covariance, motion.lasting)
        return used

    def _update_window(self, stamp_ns: int, prepared: Prepared) -> Reason | None:
        """Put a frame into the window; returns what was special about it, see ``_REJECTED``."""
        stats = image_stats(prepared.rgb)
        event = self._check_image(stats, stamp_ns, prepared.intrinsics)
        if event in _REJECTED:
            return event
        if event is not None:
            self._window.clear()
        event = self._window.push(stamp_ns, prepared.rgb, prepared.intrinsics) or event
        if event in IGNORED:
            return event
        self._last_stats = stats
        if event is Reason.TIME_REVERSED:
            self._restart_at_origin()
        elif event is not None:
            self._pose.hold()
            self._motion.restart()
            self._depth.restart()
        return event

    def _check_image(
        self, stats: ImageStats, stamp_ns: int, intrinsics: CameraIntrinsics
    ) -> Reason | None:
        """What is wrong with an image, alone or compared with the last good one."""
        health, last_ns = self.config.health, self._window.newest_stamp_ns
        event = check_image(stats, health)
        if event is not None or self._last_stats is None or last_ns is None:
            return event
        if stamp_ns > last_ns and is_repeated(stats, self._last_stats, health):
            return Reason.FROZEN_IMAGE
        follows = self._window.follows(stamp_ns, intrinsics)
        if follows and is_exposure_jump(stats, self._last_stats, health):
            return Reason.EXPOSURE_JUMP
        return None

    def _estimate(
        self,
        frame: Frame,
        status: TrackingStatus,
        reasons: tuple[Reason, ...],
        timer: _StageTimer,
    ) -> OdometryEstimate:
        return OdometryEstimate(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            status=status,
            reasons=reasons,
            T_odom_camera=self._pose.T_odom_camera,
            covariance=self._pose.covariance,
            timings_ns=timer.times_ns,
        )


class _StageTimer:
    """Measures the time of each stage of one step."""

    def __init__(self, **times_ns: int) -> None:
        self.times_ns = times_ns
        self._last_ns = time.perf_counter_ns()

    def mark(self, stage: str) -> None:
        """End a stage that started at the last mark."""
        now_ns = time.perf_counter_ns()
        self.times_ns[stage] = now_ns - self._last_ns
        self._last_ns = now_ns


def _status(newest: Step, reasons: tuple[Reason, ...]) -> TrackingStatus:
    if newest.T_prev_curr is None:
        return TrackingStatus.LOST
    return TrackingStatus.DEGRADED if reasons else TrackingStatus.TRACKING


def _scaled_depth(
    prediction: Prediction | None, scale: ScaleState, bad_depth: tuple[Reason, ...]
) -> DepthMap | None:
    """Depth in published units, NaN where invalid (REP 117); None if it is not finite at all."""
    if prediction is None or Reason.NON_FINITE_OUTPUT in bad_depth:
        return None
    depth = prediction.depth
    if not (depth.min() > 0 and depth.max() < np.inf):  # False for NaN too
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    return depth if scale.value == 1.0 else depth * np.float32(scale.value)
