"""Motion from tracked keypoints: rotation and direction by geometry, length by the scale."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from statistics import median

import numpy as np

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import FloatArray, Frame, Prediction, Reason
from sfm_ros.geometry import make_transform, rotation_angle
from sfm_ros.model_spec import ModelSpec
from sfm_ros.motion.anchor import Anchor
from sfm_ros.motion.base import Motion, Step
from sfm_ros.motion.image_checks import ImageChecks
from sfm_ros.motion.metric_scale import SYSTEMATIC, MetricScale, PredictedDepth
from sfm_ros.motion.tracker import TrackedPair, Tracker
from sfm_ros.motion.two_view import Start, TwoView, estimate_two_view, without_translation
from sfm_ros.pose import Lasting
from sfm_ros.window import Window

_LATE = 1.5
"""Times the usual interval between frames from which on frames are missing."""
_USUAL = 30
_MIN_INTERVALS = 5
_MISMATCH_RAD = np.radians(4.0)
_SUPPORT, _SUPPORT_AT_REST, _SUPPORT_IN_DOUBT = 0.6, 0.3, 0.8
"""Least fraction of the tracks that agree with a motion, with none, and with anything if the image
is dark, glaring or blurred."""
_MOVERS = 0.24
"""Fraction of the tracks that contradict the motion, from which on it is doubtful."""
_MOVERS_AT_REST = 0.2
_LONG_BASELINE_PX = 4.0
"""Parallax beyond which a longer baseline shows the road no better."""
_FLOW_OF_OTHERS_PX = 1.5
"""At rest or creeping, what moves faster belongs to others."""
_COVARIANCE_FACTOR = 2.6
"""Residuals of neighboring tracks are alike: fewer count than there are."""
_ROTATION_FLOOR_RAD = np.radians(0.012)
_DIRECTION_RAD = 0.0045
"""By which the direction of translation is off all the time: calibration, extrinsics."""
_HIDDEN_TRANSLATION = 0.01
"""What a turn on the spot may hide: half a pixel at ten units of distance."""
_DOUBT_FACTOR = 4.0
_NO_COVARIANCE = np.zeros((6, 6))


class TrackMotion:
    """Follows keypoints beside the networks, then finds the motion that they agree with."""

    def __init__(self, config: SfmConfig, spec: ModelSpec) -> None:
        self._tracker = Tracker(config.tracker)
        self._checks = ImageChecks(config.health)
        runs_networks = config.odometry.mode != "geometric"
        self.scale = MetricScale(config.scale, spec if runs_networks else None)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sfm_tracks")
        self._pending: list[tuple[int, Future[TrackedPair | None]]] = []
        self._intervals: deque[float] = deque(maxlen=_USUAL)
        self._last: Start | None = None
        self._anchor = Anchor()
        self.configure(config)

    def configure(self, config: SfmConfig) -> None:
        """Apply live options from the next frame on."""
        self._min_inliers = config.tracker.min_inliers
        self._tracker.configure(config.tracker)
        self._checks.configure(config.health)
        self.scale.configure(config.scale)

    def restart(self) -> None:
        """Start a new segment; the scale and what is usual of the images stay."""
        self._wait()
        self._tracker.restart()
        self.scale.restart()
        self._last = None
        self._anchor.release()

    def reset(self) -> None:
        """Forget everything."""
        self.restart()
        self.scale.reset()
        self._checks.reset()
        self._intervals.clear()

    def set_camera_height(self, height_m: float) -> None:
        """Height of the camera above the road, meters."""
        self.scale.set_camera_height(height_m)

    def add_speed(self, stamp_ns: int, speed: float) -> None:
        """A measured speed, meters per second."""
        self.scale.add_speed(stamp_ns, speed)

    def _wait(self) -> None:
        pending, self._pending = self._pending, []
        wait([job for _, job in pending])  # what they found does not matter any more

    def add(self, frame: Frame) -> None:
        """Start to follow the keypoints into a frame."""
        self._pending.append((frame.stamp_ns, self._executor.submit(self._tracker.track, frame)))

    def estimate(self, window: Window, prediction: Prediction | None) -> Motion:
        """The motions of all frames since the last call; see `MotionEstimator`."""
        pending, self._pending = self._pending, []
        steps = []
        for index, (stamp_ns, job) in enumerate(pending):
            pair = job.result()
            if pair is None:  # the first frame of a segment
                continue
            is_newest = index == len(pending) - 1
            steps.append(self._step(pair, stamp_ns, window, prediction if is_newest else None))
        if not steps:  # the window holds a frame that came before time was set back
            dt_ns = window.stamps_ns[-1] - window.stamps_ns[-2]
            steps.append(Step(T_prev_curr=None, dt_ns=dt_ns, reasons=(Reason.WINDOW_NOT_FULL,)))
        lasting = Lasting(scale=SYSTEMATIC[self.scale.source], direction_rad=_DIRECTION_RAD)
        return Motion(steps=tuple(steps), scale=self.scale.state, lasting=lasting)

    def _step(
        self, pair: TrackedPair, stamp_ns: int, window: Window, prediction: Prediction | None
    ) -> Step:
        """The motion of one pair of frames."""
        reasons = self._checks.check(pair)
        is_late = self._is_late(pair.dt_s)
        if is_late:
            reasons.append(Reason.FRAMES_MISSING)
        pair = self._since_anchor(pair)
        if len(pair) < self._min_inliers:
            return self._lost(pair, [*reasons, Reason.FEW_TRACKS])
        view = self._find_motion(pair, stamp_ns, prediction)
        if view is None or not self._is_supported(view, is_doubtful=bool(reasons)):
            return self._lost(pair, [*reasons, Reason.FEW_INLIERS])
        if prediction is not None and _turned_by(view.R, prediction) > _MISMATCH_RAD:
            reasons.append(Reason.MOTION_MISMATCH)
        movers = _movers(view)
        reasons += movers
        if not view.translates:
            return self._turn(view, pair, reasons)
        self._last = view.R, view.direction
        depth = None
        if prediction is not None:
            depth = PredictedDepth(depth=prediction.depth, camera=window.intrinsics)
        self.scale.update(view, pair, depth, stamp_ns)
        length = self.scale.length
        if length is None:
            return self._without_length(view, pair, [*reasons, Reason.SCALE_UNKNOWN])
        self._anchor.release()
        covariance = _covariance(view, length, self.scale.state.sigma)
        return _step_of(
            pair,
            make_transform(view.R, length * view.direction),
            reasons + self.scale.reasons(),
            covariance * (_DOUBT_FACTOR if is_late or movers else 1.0),
        )

    def _without_length(self, view: TwoView, pair: TrackedPair, reasons: list[Reason]) -> Step:
        """The step of a camera whose length over a longer baseline may be found."""
        if np.median(view.parallax) > _LONG_BASELINE_PX:
            return self._lost(pair, reasons)
        is_deferred = self._anchor.hold(pair)
        return _step_of(pair, None, reasons, is_deferred=is_deferred)

    def _since_anchor(self, pair: TrackedPair) -> TrackedPair:
        """The pair from the anchored frame to the newest, unless only others move meanwhile."""
        since = self._anchor.since(pair)
        if since is pair or len(pair) < self._min_inliers:
            return since
        flow_px = pair.focal_px * np.linalg.norm(pair.rays_prev - pair.rays_curr, axis=1)
        moving = float(np.mean(flow_px > _FLOW_OF_OTHERS_PX))
        if _MOVERS_AT_REST < moving < 1 - _SUPPORT_AT_REST:  # their motion would add up
            self._anchor.release()
            return pair
        return since

    def _find_motion(
        self, pair: TrackedPair, stamp_ns: int, prediction: Prediction | None
    ) -> TwoView | None:
        """The motion that most tracks agree with; None if they are degenerate."""
        rays = pair.rays_prev, pair.rays_curr
        try:
            view = estimate_two_view(*rays, pair.focal_px, self._starts(prediction))
        except np.linalg.LinAlgError:
            return None
        if view.translates and self.scale.stands(stamp_ns, pair.dt_s):
            return without_translation(view.R, *rays, pair.focal_px)
        return view

    def _turn(self, view: TwoView, pair: TrackedPair, reasons: list[Reason]) -> Step:
        """The step of a camera that stands or turns on the spot."""
        self.scale.stop(view, pair)
        if view.is_still:
            self._anchor.hold(pair)
        else:
            self._anchor.release()
            reasons.append(Reason.LOW_PARALLAX)
        T_prev_curr = make_transform(view.R, np.zeros(3))
        return _step_of(pair, T_prev_curr, reasons, _covariance(view, 0.0, 0.0))

    def _is_supported(self, view: TwoView, is_doubtful: bool) -> bool:
        """Whether enough tracks agree with a motion; more are asked for if the image is bad."""
        count, fraction = view.inliers.sum(), np.mean(view.inliers)
        if is_doubtful:
            return bool(count >= 2 * self._min_inliers and fraction > _SUPPORT_IN_DOUBT)
        least = _SUPPORT if view.translates else _SUPPORT_AT_REST
        return bool(count >= self._min_inliers and fraction > least)

    def _lost(self, pair: TrackedPair, reasons: list[Reason]) -> Step:
        self._last = None
        self._anchor.release()
        self.scale.restart()
        return _step_of(pair, None, reasons)

    def _starts(self, prediction: Prediction | None) -> list[Start]:
        starts = [] if self._last is None else [self._last]
        if prediction is not None:
            T = prediction.T_prev_curr
            length = float(np.linalg.norm(T[:3, 3]))
            if np.all(np.isfinite(T)) and length > 1e-3:
                starts.append((T[:3, :3], T[:3, 3] / length))
        return starts

    def _is_late(self, dt_s: float) -> bool:
        usual = median(self._intervals) if len(self._intervals) >= _MIN_INTERVALS else dt_s
        self._intervals.append(dt_s)
        return dt_s > _LATE * usual


def _step_of(
    pair: TrackedPair,
    T_prev_curr: FloatArray | None,
    reasons: list[Reason],
    covariance: FloatArray = _NO_COVARIANCE,
    is_deferred: bool = False,
) -> Step:
    return Step(
        T_prev_curr=T_prev_curr,
        dt_ns=round(pair.dt_s * 1e9),
        covariance=covariance,
        reasons=tuple(reasons),
        is_deferred=is_deferred,
    )


def _turned_by(R: FloatArray, prediction: Prediction) -> float:
    """Angle between a rotation and the predicted one, radians."""
    return rotation_angle(R.T @ prediction.T_prev_curr[:3, :3])


def _movers(view: TwoView) -> list[Reason]:
    limit = _MOVERS if view.translates else _MOVERS_AT_REST
    return [Reason.MOVING_OBJECTS] if np.mean(~view.inliers) > limit else []


def _covariance(view: TwoView, length: float, sigma: float) -> FloatArray:
    """(6, 6) of a step of this length with this relative standard deviation."""
    result = np.zeros((6, 6))
    if view.is_still:
        return result
    # X_prev = R X_curr + t: columns of the translation, then of the rotation, by the five.
    J = np.zeros((6, 5))
    J[:3, 3:] = length * view.tangent
    J[3:, :3] = np.eye(3)
    result = J @ (view.covariance * _COVARIANCE_FACTOR) @ J.T
    result[:3, :3] += (length * sigma) ** 2 * np.outer(view.direction, view.direction)
    result[3:, 3:] += np.eye(3) * _ROTATION_FLOOR_RAD**2
    if not view.translates:
        result[:3, :3] += np.eye(3) * _HIDDEN_TRANSLATION**2
    return result
