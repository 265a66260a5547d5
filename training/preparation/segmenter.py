"""Groups the frames of one source into sequences without jumps of camera or time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray
from training.data.sequence import PreparedFrame, SequenceRecord


@dataclass(frozen=True, slots=True, eq=False)
class _Noted:
    """What the index says about a frame; the images are on disk."""

    K: tuple[float, float, float, float]
    has_depth: bool
    stamp_ns: int
    pose: FloatArray | None
    speed_m_s: float | None

    def is_like(self, other: _Noted) -> bool:
        """Whether both may be in one sequence."""
        return (
            self.K == other.K
            and self.has_depth == other.has_depth
            and (self.pose is None) == (other.pose is None)
            and (self.speed_m_s is None) == (other.speed_m_s is None)
        )


class Cutter:
    """Takes the frames of one source; ``records`` are its sequences so far."""

    def __init__(self, source: str, provenance: str, start: int, max_gap_ns: int) -> None:
        self._source, self._provenance, self._max_gap_ns = source, provenance, max_gap_ns
        self._start = start
        self._runs: list[list[_Noted]] = []
        self.frame_count = 0

    def take(self, frame: PreparedFrame) -> None:
        """Append a frame to the current run, or begin another one."""
        has_depth = frame.depth_m is not None
        self._note(
            _Noted(frame.K, has_depth, frame.stamp_ns, frame.T_world_camera, frame.speed_m_s)
        )

    def restore(self, records: Sequence[SequenceRecord]) -> None:
        """Take the frames these records tell of, as if they came again."""
        for record in records:
            for i, stamp_ns in enumerate(record.stamps_ns):
                pose = None if record.poses is None else record.poses[i]
                speed = None if record.speeds_m_s is None else record.speeds_m_s[i]
                self._note(_Noted(record.K, record.has_depth, stamp_ns, pose, speed))

    def _note(self, noted: _Noted) -> None:
        if not self._runs or not self._continues(noted):
            self._runs.append([])
        self._runs[-1].append(noted)
        self.frame_count += 1

    def _continues(self, noted: _Noted) -> bool:
        previous = self._runs[-1][-1]
        gap_ns = noted.stamp_ns - previous.stamp_ns
        return noted.is_like(previous) and 0 < gap_ns <= self._max_gap_ns

    def records(self) -> list[SequenceRecord]:
        """One record a run."""
        result, start = [], self._start
        for number, run in enumerate(self._runs):
            poses = [noted.pose for noted in run if noted.pose is not None]
            speeds = tuple(noted.speed_m_s for noted in run if noted.speed_m_s is not None)
            result.append(
                SequenceRecord(
                    name=self._source if len(self._runs) == 1 else f"{self._source}#{number}",
                    source=self._source,
                    start=start,
                    count=len(run),
                    K=run[0].K,
                    stamps_ns=tuple(noted.stamp_ns for noted in run),
                    has_depth=run[0].has_depth,
                    poses=np.array(poses, dtype=np.float64) if poses else None,
                    provenance=self._provenance,
                    speeds_m_s=speeds or None,
                )
            )
            start += len(run)
        return result
