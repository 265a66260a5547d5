"""Turns motions without length into motions in published units, whatever the source."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from sfm_ros.config import ScaleConfig
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Reason, ScaleSource, ScaleState
from sfm_ros.model_spec import ModelSpec
from sfm_ros.motion.road import RoadPlane
from sfm_ros.motion.road_image import log_height_by_images
from sfm_ros.motion.scale import Correction, DepthOffset, StepLength
from sfm_ros.motion.track_depths import TrackDepths, log_network_length
from sfm_ros.motion.tracker import TrackedPair
from sfm_ros.motion.two_view import TwoView

_SIGMA = {
    ScaleSource.CAMERA_HEIGHT: 0.15,
    ScaleSource.MODEL: 0.15,
    ScaleSource.FIXED: 0.15,
    ScaleSource.EXTERNAL: 0.03,
}
"""Standard deviation of one correction; above its noise, because its errors last for seconds."""
SYSTEMATIC = {
    ScaleSource.CAMERA_HEIGHT: 0.01,
    ScaleSource.MODEL: 0.1,
    ScaleSource.FIXED: 0.1,
    ScaleSource.EXTERNAL: 0.01,
    ScaleSource.UNKNOWN: 0.5,
}
"""Standard deviation of what all lengths are off by, whatever the filter."""
_START_SIGMA = 0.3
"""Of a first length by predicted depth while the source has none."""
_CARRIED_SIGMA = 0.1
"""A length that tracks carry is left alone by predicted depth until it is less certain: what a
network errs in one image it errs in the next ones, so that a mean over them is no better."""
_NARROW_SIGMA = 0.3
"""With a less certain length the images of the road are searched in a wide range."""
_AGREES = 0.15
"""Heights by tracks and by images that differ by more in their logarithm are not averaged."""
_LEARN_SIGMA = 0.2
"""With a less certain length nothing is learned about the predicted depth."""
_TRUSTED = math.log(1.2)
"""Factor of predicted depth that is left to a network that knows meters and the camera's height:
tracks lie on what is upright and has edges, where such a network is off by as much; on the road,
which most pixels see, it is right."""
_REST = 0.02
"""Meters per second: wheel speeds below count as standing."""
_MAX_SPEED_AGE_S = 0.5
_SPEEDS = 1000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PredictedDepth:
    """Depth of the newer frame on the networks' grid, network units, and its camera."""

    depth: DepthMap
    camera: CameraIntrinsics


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthEvidence:
    """What the length of one step was found from; its filter uses it once, a smoother later.

    Attributes:
        log_ratio: logarithm of the length over that of the step before it by the tracks' depths,
            and its standard deviation; or None.
        measured: the length as the source of the unit measured it, or None.
    """

    log_ratio: tuple[float, float] | None
    measured: Correction | None


class MetricScale:
    """Finds the length of each step and the factor of predicted depth.

    Args:
        config: the source of the unit.
        spec: the model, whose depth may be metric; None if the networks do not run.
    """

    def __init__(self, config: ScaleConfig, spec: ModelSpec | None) -> None:
        self._config, self._spec = config, spec
        self._height_m = config.camera_height
        self._speeds: deque[tuple[int, float]] = deque(maxlen=_SPEEDS)
        self._road, self._step = RoadPlane(), StepLength()
        self._tracks, self._offset = TrackDepths(), DepthOffset()
        self._last_source: ScaleSource | None = None
        self.evidence: LengthEvidence | None = None
        """Of the newest step; None if it does not translate."""

    def configure(self, config: ScaleConfig) -> None:
        """Apply other limits."""
        self._config = config

    def set_camera_height(self, height_m: float) -> None:
        """Height of the camera above the road, unless the configuration gives one."""
        known_m = self._config.height_of(height_m) or self._height_m
        is_first = bool(known_m) and not self._height_m
        if is_first and self._spec is not None and self._spec.canonical_height_m:
            self._forget_lengths()  # those of predicted depth are others from now on
        self._height_m = known_m

    def add_speed(self, stamp_ns: int, speed: float) -> None:
        """A measured speed in meters per second."""
        if math.isfinite(speed):
            self._speeds.append((stamp_ns, abs(speed)))

    def restart(self) -> None:
        """Tracks do not continue; the lengths that were learned stay."""
        self.evidence = None
        self._tracks.reset()
        self._step.stop()

    def reset(self) -> None:
        """Forget everything learned from past frames."""
        self.restart()
        self._road.reset()
        self._forget_lengths()
        self._speeds.clear()

    def _forget_lengths(self) -> None:
        self._step.reset()
        self._offset.reset()
        self._tracks.reset()

    @property
    def source(self) -> ScaleSource:
        """What defines the unit at present."""
        asked = self._config.source
        available = {
            "camera_height": self._height_m > 0,
            "external": self._config.external or bool(self._speeds),
            "model": self._spec is not None and self._spec.metric,
            "fixed": self._spec is not None and asked == "fixed",
        }
        names = tuple(available) if asked == "auto" else (asked,)
        usable = (name for name in names if available.get(name, False))
        return ScaleSource(next(usable, "unknown"))

    @property
    def state(self) -> ScaleState:
        """What is published about the scale."""
        source, step = self.source, self._step
        sigma = math.hypot(step.sigma, SYSTEMATIC[source])
        return ScaleState(value=self._factor(), source=source, sigma=sigma, age_s=step.age_s)

    @property
    def length(self) -> float | None:
        """Length of the newest step, published units."""
        return self._step.length

    def stop(self, view: TwoView, pair: TrackedPair) -> None:
        """The camera does not translate: the tracks keep their depths, nothing is learned."""
        self.evidence = None
        self._tracks.fuse(view, pair, 0.0)
        self._step.stop(pair.dt_s)

    def stands(self, stamp_ns: int, dt_s: float) -> bool:
        """Whether the measured speed is that of a camera at rest."""
        if self.source is not ScaleSource.EXTERNAL:
            return False
        speed = self._speed(stamp_ns, dt_s)
        return speed is not None and speed < _REST

    def update(
        self, view: TwoView, pair: TrackedPair, predicted: PredictedDepth | None, stamp_ns: int
    ) -> None:
        """Find the length of a step that translates.

        Args:
            view: its motion.
            pair: its tracks.
            predicted: depth of the newer frame, or None.
            stamp_ns: stamp of the newer frame.
        """
        source = self.source
        if source is not self._last_source:  # another unit
            self._forget_lengths()
            self._last_source = source
        by_tracks, length_before = self._tracks.log_length(view, pair), self._step.length
        self._step.predict(pair.dt_s, by_tracks)
        self._road.update_pitch(view)
        in_network_units = None
        if predicted is not None:
            in_network_units = log_network_length(view, pair, predicted.depth, predicted.camera)
        measured = self._measured(source, view, pair, in_network_units, stamp_ns)
        self._correct(source, measured, pair, in_network_units)
        self.evidence = LengthEvidence(
            log_ratio=_ratio_of(by_tracks, length_before), measured=measured
        )
        length = self._step.length
        if length is not None:
            self._tracks.fuse(view, pair, length)
        is_known = source is not ScaleSource.UNKNOWN and self._step.sigma < _LEARN_SIGMA
        if length is not None and in_network_units is not None and is_known:
            self._offset.update(math.log(length) - in_network_units)

    def _correct(
        self,
        source: ScaleSource,
        measured: Correction | None,
        pair: TrackedPair,
        in_network_units: float | None,
    ) -> None:
        """Correct the length by what the source measured, else by what is known instead."""
        if measured is not None:
            self._tracks.rescale(self._step.correct(measured, pair.dt_s))
        elif in_network_units is not None:
            is_unknown = source is ScaleSource.UNKNOWN
            known = self._offset.is_known and not is_unknown
            is_carried = self._step.sigma < _CARRIED_SIGMA  # never without a length
            if is_unknown or self._step.length is None or (known and not is_carried):
                log_length = in_network_units + (self._offset.log if known else 0.0)
                guess = Correction(log_length=log_length, sigma=_START_SIGMA)
                self._tracks.rescale(self._step.correct(guess, pair.dt_s, is_fallback=True))
        elif self._step.length is None and source is ScaleSource.UNKNOWN:
            self._step.assume(0.0, pair.dt_s)

    def _measured(
        self,
        source: ScaleSource,
        view: TwoView,
        pair: TrackedPair,
        in_network_units: float | None,
        stamp_ns: int,
    ) -> Correction | None:
        """The source's measurement of this step, or None."""
        log_length, is_sure = None, True
        if source is ScaleSource.CAMERA_HEIGHT:
            log_height, is_sure = self._log_height(view, pair)
            if log_height is not None:
                log_length = math.log(self._height_m) - log_height
        elif source is ScaleSource.EXTERNAL:
            log_length = self._log_speed(stamp_ns, pair.dt_s)
        elif source in (ScaleSource.MODEL, ScaleSource.FIXED) and in_network_units is not None:
            log_length = in_network_units + math.log(self._factor())
        if log_length is None:
            return None
        return Correction(log_length=log_length, sigma=_SIGMA[source], is_sure=is_sure)

    def _log_height(self, view: TwoView, pair: TrackedPair) -> tuple[float | None, bool]:
        """Logarithm of the height over the road in lengths of the step, by tracks and images.

        It is sure where both find it.
        """
        by_tracks = self._road.log_height(view, pair.rays_curr)
        guess = None
        if self._step.length is not None and self._step.sigma < _NARROW_SIGMA:
            guess = math.log(self._height_m / self._step.length)
        elif by_tracks is not None:
            guess = by_tracks
        by_images = None
        if pair.road is not None:
            by_images = log_height_by_images(view, pair.road, self._road.normal, guess)
        found = [value for value in (by_tracks, by_images) if value is not None]
        if guess is not None and len(found) == 2 and abs(found[0] - found[1]) > _AGREES:
            found.sort(key=lambda value: abs(value - guess))
            del found[1]
        return (sum(found) / len(found) if found else None), len(found) == 2

    def _log_speed(self, stamp_ns: int, dt_s: float) -> float | None:
        """Logarithm of the length of a step by the speed."""
        speed = self._speed(stamp_ns, dt_s)
        return None if speed is None or speed < _REST else math.log(speed * dt_s)

    def _speed(self, stamp_ns: int, dt_s: float) -> float | None:
        """Mean of the speeds measured during a step, or the one nearest to it; None if too old."""
        middle_ns = stamp_ns - round(dt_s * 0.5e9)
        near = min(self._speeds, key=lambda entry: abs(entry[0] - middle_ns), default=None)
        if near is None or abs(near[0] - middle_ns) > max(_MAX_SPEED_AGE_S, dt_s) * 1e9:
            return None
        begin_ns = stamp_ns - round(dt_s * 1e9)
        during = [speed for at_ns, speed in self._speeds if begin_ns <= at_ns <= stamp_ns]
        return sum(during) / len(during) if during else near[1]

    def _factor(self) -> float:
        """From network units to published units."""
        source = self.source
        if source is ScaleSource.FIXED:
            return self._config.factor
        if source in (ScaleSource.CAMERA_HEIGHT, ScaleSource.EXTERNAL) and self._offset.is_known:
            log_factor = self._offset.log
            if source is ScaleSource.CAMERA_HEIGHT and self._knows_height:
                log_factor -= min(max(log_factor, -_TRUSTED), _TRUSTED)
            return math.exp(log_factor)
        return 1.0

    @property
    def _knows_height(self) -> bool:
        """Whether predicted depth is in meters, by the height of the camera."""
        spec = self._spec
        return spec is not None and spec.metric and bool(spec.canonical_height_m)

    def reasons(self) -> list[Reason]:
        """What is doubtful about the lengths."""
        if self.source is ScaleSource.UNKNOWN:
            return [Reason.SCALE_UNKNOWN]
        found = []
        if self._step.sigma > self._config.max_sigma:
            found.append(Reason.SCALE_UNCERTAIN)
        if self._step.age_s > self._config.max_age_s:
            found.append(Reason.SCALE_STALE)
        return found


def _ratio_of(
    by_tracks: tuple[float, float] | None, length_before: float | None
) -> tuple[float, float] | None:
    if by_tracks is None or length_before is None:
        return None
    return by_tracks[0] - math.log(length_before), by_tracks[1]
