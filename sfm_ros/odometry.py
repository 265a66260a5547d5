"""The algorithm: one frame in, one estimate out.

The networks are SfMLearner's pair (Zhou et al., CVPR 2017): depth from the newest frame, motion
from the last N; tracked corners correct the newest motion. The pose is the product of the
increments, ``T_odom_curr = T_odom_prev @ T_prev_curr``.
"""

from __future__ import annotations

import time

import numpy as np

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import (
    CameraIntrinsics,
    DepthMap,
    FloatArray,
    Frame,
    OdometryEstimate,
    Prediction,
    Reason,
    ScaleState,
    TrackingStatus,
)
from sfm_ros.engines.base import Engine
from sfm_ros.image_quality import (
    ImageStats,
    check_image,
    image_stats,
    is_exposure_jump,
    is_repeated,
)
from sfm_ros.output_checks import check_depth, check_motion
from sfm_ros.pose import PoseIntegrator
from sfm_ros.preprocess import ImagePreparer, Prepared
from sfm_ros.refine import MotionRefiner
from sfm_ros.scale import create_scale
from sfm_ros.window import IGNORED, FrameWindow, Window

_REFUSED = {
    **dict.fromkeys(IGNORED, TrackingStatus.DEGRADED),
    Reason.NO_STAMP: TrackingStatus.LOST,
    Reason.NO_TEXTURE: TrackingStatus.LOST,
    Reason.IMAGE_NOISE: TrackingStatus.LOST,
    Reason.FROZEN_IMAGE: TrackingStatus.LOST,
}
"""Why a frame is not taken into the window, and where that leaves the odometry."""


class VisualOdometry:
    """Depth and odometry of one camera.

    The pose starts at the identity with the first frame. It never jumps: where no motion can be
    had (a gap, a window that fills, an implausible output) it is held and its covariance grows.
    A window that has just filled gives all its increments at once, so that only the motion across
    a gap is lost. An image that shows nothing is passed over as if it had not come: the time to
    the next good one decides whether the window goes on or a new segment begins.

    Args:
        engine: the networks.
        config: limits and choices; the defaults stand in ``sfm_ros.config``.
    """

    def __init__(self, engine: Engine, config: SfmConfig | None = None) -> None:
        self.config = config or SfmConfig()
        self._engine = engine
        spec = engine.spec
        self._preparer = ImagePreparer(spec.width, spec.height, self.config.preprocess.input)
        self._window = FrameWindow(spec.sequence_length, self.config.window.max_gap_s)
        self._refiner = MotionRefiner(self.config.refine) if self.config.refine.enabled else None
        self._scale = create_scale(self.config.scale, spec)
        self.reset()

    @property
    def engine_name(self) -> str:
        """Which engine runs the networks."""
        return self._engine.name

    def configure(self, config: SfmConfig) -> None:
        """Take other live options into use, from the next frame on; the rest stays as it is."""
        self.config = config
        self._window.max_gap_s = config.window.max_gap_s
        self._pose.noise = config.noise
        if not config.refine.enabled:
            self._refiner = None
        elif self._refiner is None:
            self._refiner = MotionRefiner(config.refine)
        else:
            self._refiner.config = config.refine

    def reset(self) -> None:
        """Forget everything; the next frame stands at the origin."""
        self._window.clear()
        self._image_stats: ImageStats | None = None
        self._restart_at_origin()

    def _restart_at_origin(self) -> None:
        self._scale.reset()
        self._pose = PoseIntegrator(self.config.noise)
        self._segment_is_new = True

    def prepare(self, frame: Frame) -> Prepared:
        """The first stage of ``step`` ahead of time, in another thread if need be: one by one,
        in the order of the frames. Nothing of the odometry changes.

        Raises:
            CalibrationError, ImageError: as ``step``.
        """
        return self._preparer.prepare(frame)

    def step(self, frame: Frame, prepared: Prepared | None = None) -> OdometryEstimate:
        """Take the next frame in and say where the camera is and what it sees.

        Args:
            frame: an image with its calibration; frames come in order of time.
            prepared: what ``prepare`` made of it; None makes it here.

        Returns:
            The estimate for this frame. Trouble is told in ``status`` and ``reasons``.

        Raises:
            CalibrationError: the calibration cannot be used (unknown distortion model).
            ImageError: the image is far smaller than the network's input, or too long.
            EngineError: the inference library failed.
        """
        if prepared is None:
            prepared = self._preparer.prepare(frame)
        clock = _StageClock()
        clock.stage_times_ns["preprocess"] = prepared.elapsed_ns
        rule = self._admit(frame.stamp_ns, prepared)
        if rule in _REFUSED:
            return self._estimate(frame, _REFUSED[rule], (rule,), clock)
        window = self._window.window()
        if window is None:
            return self._estimate(frame, TrackingStatus.INITIALIZING, _waiting_for(rule), clock)

        if self._refiner is not None:
            self._refiner.look_ahead(window)
        prediction = self._engine.infer(window)
        clock.mark("inference")
        bad_depth = check_depth(prediction.depth, self.config.health)
        if self._refiner is not None and not bad_depth:
            prediction = self._refiner.correct(prediction, window)
            clock.mark("refine")
        scale = self._scale.update(prediction, frame.stamp_ns)
        new = len(window.images) - 1 if self._segment_is_new else 1
        bad_motion = self._check_increments(prediction, window, scale, new)
        T_prev_curr = self._integrate(prediction, scale, 0 if bad_motion or bad_depth else new)
        depth = _published_depth(prediction, scale, bad_depth)
        clock.mark("odometry")
        status = _status(bad_motion, bad_depth)
        return self._estimate(
            frame,
            status,
            bad_motion + bad_depth,
            clock,
            T_prev_curr=T_prev_curr,
            dt_ns=window.stamps_ns[-1] - window.stamps_ns[-2],
            depth=depth,
            depth_intrinsics=prepared.intrinsics,
            scale=scale,
        )

    def _admit(self, stamp_ns: int, prepared: Prepared) -> Reason | None:
        """Take a frame into the window; what there is to say of that, see ``_REFUSED``."""
        rule, stats = self._check_image(stamp_ns, prepared)
        if rule in _REFUSED:
            return rule
        if rule is not None:
            self._window.clear()
        rule = self._window.push(stamp_ns, prepared.rgb, prepared.intrinsics) or rule
        if rule in IGNORED:
            return rule
        self._image_stats = stats
        if rule is Reason.TIME_REVERSED:
            self._restart_at_origin()
        elif rule is not None:
            self._pose.hold()
            self._segment_is_new = True
        return rule

    def _check_image(self, stamp_ns: int, prepared: Prepared) -> tuple[Reason | None, ImageStats]:
        """What is wrong with an image, alone or beside the one before it."""
        stats, before, health = image_stats(prepared.rgb), self._image_stats, self.config.health
        rule = check_image(stats, health)
        newest_ns = self._window.newest_stamp_ns
        if rule is None and before is not None and newest_ns is not None:
            is_later = stamp_ns > newest_ns
            if is_later and health.reject_frozen and is_repeated(stats, before):
                rule = Reason.FROZEN_IMAGE
            elif self._window.follows(stamp_ns, prepared.intrinsics) and is_exposure_jump(
                stats, before, health
            ):
                rule = Reason.EXPOSURE_JUMP
        return rule, stats

    def _check_increments(
        self, prediction: Prediction, window: Window, scale: ScaleState, count: int
    ) -> tuple[Reason, ...]:
        intervals_s = np.diff(np.array(window.stamps_ns, dtype=np.int64))[-count:] * 1e-9
        found: dict[Reason, None] = {}  # ordered, each reason once
        for T, dt_s in zip(prediction.increments[-count:], intervals_s, strict=True):
            found.update(dict.fromkeys(check_motion(T, dt_s, scale.value, self.config.health)))
        return tuple(found)

    def _integrate(
        self, prediction: Prediction, scale: ScaleState, count: int
    ) -> FloatArray | None:
        """Advance by the newest ``count`` increments; returns the newest, scaled, or None."""
        if count == 0:
            self._pose.hold()
            return None
        increments = prediction.increments[-count:].copy()
        increments[:, :3, 3] *= scale.value
        for T_prev_curr in increments:
            self._pose.advance(T_prev_curr)
        self._segment_is_new = False
        return increments[-1]

    def _estimate(
        self,
        frame: Frame,
        status: TrackingStatus,
        reasons: tuple[Reason, ...],
        clock: _StageClock,
        T_prev_curr: FloatArray | None = None,
        dt_ns: int = 0,
        depth: DepthMap | None = None,
        depth_intrinsics: CameraIntrinsics | None = None,
        scale: ScaleState | None = None,
    ) -> OdometryEstimate:
        return OdometryEstimate(
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            status=status,
            reasons=reasons,
            T_odom_camera=self._pose.T_odom_camera,
            T_prev_curr=T_prev_curr,
            dt_ns=dt_ns,
            covariance=self._pose.covariance,
            depth=depth,
            depth_intrinsics=depth_intrinsics,
            scale=scale or ScaleState(),
            timings_ns=clock.stage_times_ns,
        )


class _StageClock:
    """Time of each stage of one step."""

    def __init__(self) -> None:
        self.stage_times_ns: dict[str, int] = {}
        self._last = time.perf_counter_ns()

    def mark(self, stage: str) -> None:
        now = time.perf_counter_ns()
        self.stage_times_ns[stage] = now - self._last
        self._last = now


def _waiting_for(rule: Reason | None) -> tuple[Reason, ...]:
    return (Reason.WINDOW_NOT_FULL,) if rule is None else (rule, Reason.WINDOW_NOT_FULL)


def _status(bad_motion: tuple[Reason, ...], bad_depth: tuple[Reason, ...]) -> TrackingStatus:
    if bad_motion:
        return TrackingStatus.LOST
    return TrackingStatus.DEGRADED if bad_depth else TrackingStatus.TRACKING


def _published_depth(
    prediction: Prediction, scale: ScaleState, bad_depth: tuple[Reason, ...]
) -> DepthMap | None:
    """Depth in published units, NaN where invalid (REP 117); None where none is good."""
    if Reason.NON_FINITE_OUTPUT in bad_depth:
        return None
    depth = prediction.depth
    if not (depth.min() > 0 and depth.max() < np.inf):  # False for NaN too
        depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    return depth if scale.value == 1.0 else depth * np.float32(scale.value)
