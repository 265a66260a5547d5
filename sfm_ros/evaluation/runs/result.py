"""The result of a run, offline or online."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap, FloatArray, RgbImage, ScaleSource
from sfm_ros.evaluation.depth.confidence import DepthScore
from sfm_ros.evaluation.depth.metrics import DepthMetrics
from sfm_ros.formats.trajectory import Stamps, Trajectory, format_stamp

OFFLINE = "offline"
"""The mode of a run in this process: every frame in order."""
ONLINE = "online"
"""The mode of a run through the node, in processes of their own."""

NETWORK, MULTIVIEW = "network", "multiview"
"""Depth of one image, and measured from several views: both are scored."""

INFERENCE = "inference"
"""Name of the engine's stage in ``OdometryEstimate.timings_ns``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatusInterval:
    """Consecutive frames with the same status for the same reasons.

    Attributes:
        start_ns, end_ns: stamps of the first and the last of them.
        frames: their number.
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
    """Joins the status of each frame into intervals."""

    def __init__(self) -> None:
        self._intervals: list[StatusInterval] = []

    def add(self, stamp_ns: int, status: str, reasons: Sequence[str] = ()) -> None:
        """Append the status of the next frame."""
        last = self._intervals[-1] if self._intervals else None
        if last is not None and (last.status, last.reasons) == (status, tuple(reasons)):
            self._intervals[-1] = replace(last, end_ns=stamp_ns, frames=last.frames + 1)
            return
        interval = StatusInterval(
            start_ns=stamp_ns, end_ns=stamp_ns, frames=1, status=status, reasons=tuple(reasons)
        )
        self._intervals.append(interval)

    @property
    def intervals(self) -> tuple[StatusInterval, ...]:
        """The intervals so far, in order."""
        return tuple(self._intervals)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSnapshot:
    """One frame whose depth was kept.

    Attributes:
        stamp_ns: of the frame.
        depth: (h, w) float32 on the network's grid, published units, NaN where invalid.
        rgb: (H, W, 3) uint8: the network's input, or the frame itself; None if neither was kept.
        ground_truth: (h, w) float32 meters on the grid of ``depth``, NaN where it is unknown or
            not compared; or None.
        scaled, unscaled: errors with and without scaling by the ratio of medians; None without
            ground truth.
        scores: of the network's depth and of the measured one, by `NETWORK` and `MULTIVIEW`;
            empty without ground truth.
    """

    stamp_ns: int
    depth: DepthMap
    rgb: RgbImage | None = None
    ground_truth: DepthMap | None = None
    scaled: DepthMetrics | None = None
    unscaled: DepthMetrics | None = None
    scores: Mapping[str, DepthScore] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Percentiles:
    """Median and 99th percentile, milliseconds."""

    p50: float
    p99: float

    @staticmethod
    def of(values_ms: FloatArray) -> Percentiles | None:
        """Of (N,) values; None if there are none."""
        if not len(values_ms):
            return None
        p50, p99 = np.percentile(values_ms, (50, 99))
        return Percentiles(p50=float(p50), p99=float(p99))


class Timings:
    """Duration of each stage of each step: what differs between two runs."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, Mapping[str, int]]] = []

    def add(self, stamp_ns: int, timings_ns: Mapping[str, int]) -> None:
        """Append a step; a stage it did not reach took 0 ns."""
        self._steps.append((stamp_ns, timings_ns))

    def stages(self) -> dict[str, Percentiles]:
        """Of each stage, over the steps in which the networks ran."""
        stages, table = self._inferred_ms()
        found = {stage: Percentiles.of(table[:, i]) for i, stage in enumerate(stages)}
        return {stage: value for stage, value in found.items() if value is not None}

    def totals_ms(self) -> FloatArray:
        """(N,) duration of each step in which the networks ran."""
        return self._inferred_ms()[1].sum(axis=1)

    def inference_s(self) -> float:
        """Sum of the time in the engine."""
        return sum(timings.get(INFERENCE, 0) for _, timings in self._steps) * 1e-9

    def write(self, path: Path) -> None:
        """Write a CSV line per step: stamp and nanoseconds by stage."""
        stages, table = self._table_ns()
        lines = [",".join(["stamp_ns", *(f"{stage}_ns" for stage in stages)])]
        for (stamp_ns, _), row in zip(self._steps, table.tolist(), strict=True):
            lines.append(",".join(map(str, (stamp_ns, *row))))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _table_ns(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """The stages in order of appearance, and (steps, stages) nanoseconds."""
        stages = list(dict.fromkeys(stage for _, timings in self._steps for stage in timings))
        rows = [[timings.get(stage, 0) for stage in stages] for _, timings in self._steps]
        return stages, np.array(rows, dtype=np.int64).reshape(len(rows), len(stages))

    def _inferred_ms(self) -> tuple[list[str], FloatArray]:
        """The same in ms, without the steps that never reached the engine and took no time."""
        stages, table = self._table_ns()
        ran = [timings.get(INFERENCE, 0) > 0 for _, timings in self._steps]
        return stages, table[np.array(ran, dtype=bool)] * 1e-6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunResult:
    """The result of a run.

    Attributes:
        mode: `OFFLINE` or `ONLINE`.
        frames: images that were played.
        frames_to_start: images at the start that get no odometry (window of the networks).
        rejected: images that could not be used.
        estimate: T_odom_camera of every frame that has odometry; None without any.
        intervals: status over time.
        snapshots: depth of some frames, in order of time.
        image_stamps_ns: (P,) stamps of the images that were played.
        step_time: duration of one step; None online.
        latency: from the publication of an image to the arrival of its odometry in another
            process; None offline, and if images were played faster than the node takes them.
        stages: of each stage of a step, by its name.
        frames_per_second: estimates over the time they took.
        inference_s: sum of the inference times, None if unknown.
        engine: name and precision of the engine that ran.
        scale_source: what defined the unit of length at the end.
        covariances: (N, 6, 6) of the poses of the estimate, as `OdometryEstimate` has them; None
            online.
        depth_flicker: mean of `DepthFlicker`; None online or without depth.
        flicker_by_method: its median, of `NETWORK` and, if it is measured, of `MULTIVIEW`.
        trouble: the last problem, as a message.
        interrupted: the run was interrupted.
        timings: of each step; None online.
    """

    mode: str
    frames: int
    frames_to_start: int
    rejected: int = 0
    estimate: Trajectory | None
    intervals: tuple[StatusInterval, ...] = ()
    snapshots: tuple[DepthSnapshot, ...] = ()
    image_stamps_ns: Stamps
    step_time: Percentiles | None = None
    latency: Percentiles | None = None
    stages: Mapping[str, Percentiles] = field(default_factory=dict)
    frames_per_second: float | None = None
    inference_s: float | None = None
    engine: str | None = None
    scale_source: ScaleSource = ScaleSource.UNKNOWN
    covariances: FloatArray | None = None
    depth_flicker: float | None = None
    flicker_by_method: Mapping[str, float | None] = field(default_factory=dict)
    trouble: str | None = None
    interrupted: bool = False
    timings: Timings | None = None

    @property
    def is_metric(self) -> bool:
        """Whether the lengths of the estimate are meters."""
        return self.scale_source is not ScaleSource.UNKNOWN

    @property
    def unit(self) -> str:
        """Unit of the lengths of the estimate."""
        return "m" if self.is_metric else "network units"

    @property
    def frames_lost(self) -> int:
        """Images that should have odometry and have none."""
        received = 0 if self.estimate is None else len(self.estimate)
        return max(self.frames - min(self.frames_to_start, self.frames) - received, 0)
