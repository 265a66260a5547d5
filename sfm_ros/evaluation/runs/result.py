"""What a run gave, whichever way it was made: offline, or over the middleware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray, Reason, RgbImage, TrackingStatus
from sfm_ros.evaluation.depth.metrics import DepthMetrics
from sfm_ros.formats.trajectory import Stamps, Trajectory, format_stamp

OFFLINE = "offline"
ONLINE = "middleware"


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusInterval:
    """Frames in a row with the same status for the same reasons.

    Attributes:
        start_ns, end_ns: stamps of the first and the last of them.
        frames: how many.
        status, reasons: as words.
    """

    start_ns: int
    end_ns: int
    frames: int
    status: str
    reasons: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Plain values; stamps as exact decimal seconds."""
        return {
            "start": format_stamp(self.start_ns),
            "end": format_stamp(self.end_ns),
            "frames": self.frames,
            "status": self.status,
            "reasons": list(self.reasons),
        }


class StatusTimeline:
    """Joins what is said of each frame into intervals."""

    def __init__(self) -> None:
        self._intervals: list[StatusInterval] = []

    def add(self, stamp_ns: int, status: str, reasons: Sequence[str] = ()) -> None:
        """Say something of the next frame."""
        last = self._intervals[-1] if self._intervals else None
        if last is not None and (last.status, last.reasons) == (status, tuple(reasons)):
            start_ns, frames = last.start_ns, last.frames + 1
            self._intervals.pop()
        else:
            start_ns, frames = stamp_ns, 1
        self._intervals.append(
            StatusInterval(
                start_ns=start_ns,
                end_ns=stamp_ns,
                frames=frames,
                status=status,
                reasons=tuple(reasons),
            )
        )

    def add_estimate(
        self, stamp_ns: int, status: TrackingStatus, reasons: tuple[Reason, ...]
    ) -> None:
        """The same from the odometry's own words."""
        self.add(stamp_ns, status.value, [reason.value for reason in reasons])

    @property
    def intervals(self) -> tuple[StatusInterval, ...]:
        """What has been said so far, in order."""
        return tuple(self._intervals)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSnapshot:
    """One frame whose depth was looked at.

    Attributes:
        stamp_ns: of the frame.
        depth: (h, w) float32 on the network's grid, published units, NaN where invalid.
        rgb: (H, W, 3) uint8: the network's own image of the frame, or the frame itself; None
            where neither was kept.
        ground_truth: (h, w) float32 meters on the grid of ``depth``, NaN where unknown; or None.
        scaled, unscaled: errors with the ratio of medians and without; None without a ground truth.
    """

    stamp_ns: int
    depth: DepthMap
    rgb: RgbImage | None = None
    ground_truth: DepthMap | None = None
    scaled: DepthMetrics | None = None
    unscaled: DepthMetrics | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Median and 99th percentile, milliseconds."""

    p50: float
    p99: float

    @staticmethod
    def of(values_ms: FloatArray) -> Percentiles | None:
        """Of (N,) values; None where there are none."""
        if not len(values_ms):
            return None
        p50, p99 = np.percentile(values_ms, (50, 99))
        return Percentiles(p50=float(p50), p99=float(p99))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunResult:
    """What came of a run.

    Attributes:
        mode: `OFFLINE` or `ONLINE`.
        frames: images that went in.
        frames_to_start: images at the start that get no odometry (window of the networks).
        rejected: images that could not be used.
        estimate: T_odom_camera of every frame the pose was moved to; None where there is none.
        intervals: how it fared, in order of time.
        snapshots: depth of some frames, in order of time.
        image_stamps_ns: (P,) stamps of the images that went in.
        latency: offline of one step; over the middleware from the publication of an image to
            the arrival of its odometry in a third process.
        stages: of each stage of a step, by its name.
        frames_per_second: estimates over the time they took.
        inference_s: sum of the inference times, None where it is not known.
        engine: name of the engine that ran.
        trouble: the last thing that went wrong, in words.
        interrupted: it was cut short.
    """

    mode: str
    frames: int
    frames_to_start: int
    rejected: int = 0
    estimate: Trajectory | None
    intervals: tuple[StatusInterval, ...] = ()
    snapshots: tuple[DepthSnapshot, ...] = ()
    image_stamps_ns: Stamps
    latency: Percentiles | None = None
    stages: Mapping[str, Percentiles] = field(default_factory=dict)
    frames_per_second: float | None = None
    inference_s: float | None = None
    engine: str | None = None
    trouble: str | None = None
    interrupted: bool = False

    @property
    def frames_lost(self) -> int:
        """Images for which odometry could be expected and none came."""
        received = 0 if self.estimate is None else len(self.estimate)
        return max(self.frames - min(self.frames_to_start, self.frames) - received, 0)
