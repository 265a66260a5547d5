"""Groups the frames of one source into sequences without jumps of camera or time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray
from training.data.sequence import PreparedFrame, SequenceRecord


@dataclass(frozen=True, slots=True, eq=False)
class _FrameEntry:
    """What the index holds of a frame; the images are on disk."""

    K: tuple[float, float, float, float]
    has_depth: bool
    stamp_ns: int
    pose: FloatArray | None
    speed_m_s: float | None

    def kind(self) -> tuple[object, ...]:
        """Equal for all frames of a sequence."""
        return self.K, self.has_depth, self.pose is None, self.speed_m_s is None


class Segmenter:
    """Collects the frames of one source; ``records`` are its sequences so far.

    Args:
        source, provenance: see `SequenceRecord`.
        start: index of its first frame in the set.
        max_gap_ns: a longer time without a frame starts a new sequence.
        camera_height_m: of all frames, or None.
    """

    def __init__(
        self,
        source: str,
        provenance: str,
        start: int,
        max_gap_ns: int,
        camera_height_m: float | None = None,
    ) -> None:
        self._source, self._provenance, self._max_gap_ns = source, provenance, max_gap_ns
        self._camera_height_m = camera_height_m
        self._start = start
        self._segments: list[list[_FrameEntry]] = []
        self.frame_count = 0

    def add(self, frame: PreparedFrame) -> None:
        """Append a frame to the current segment, or start a new one."""
        has_depth = frame.depth_m is not None
        self._add(
            _FrameEntry(frame.K, has_depth, frame.stamp_ns, frame.T_world_camera, frame.speed_m_s)
        )

    def restore(self, records: Sequence[SequenceRecord]) -> None:
        """Add the frames of these records again."""
        for record in records:
            for i, stamp_ns in enumerate(record.stamps_ns):
                pose = None if record.poses is None else record.poses[i]
                speed = None if record.speeds_m_s is None else record.speeds_m_s[i]
                self._add(_FrameEntry(record.K, record.has_depth, stamp_ns, pose, speed))

    def records(self) -> list[SequenceRecord]:
        """One record per segment."""
        result, start = [], self._start
        for number, segment in enumerate(self._segments):
            poses = [entry.pose for entry in segment if entry.pose is not None]
            speeds = tuple(e.speed_m_s for e in segment if e.speed_m_s is not None)
            result.append(
                SequenceRecord(
                    name=self._source if len(self._segments) == 1 else f"{self._source}#{number}",
                    source=self._source,
                    start=start,
                    count=len(segment),
                    K=segment[0].K,
                    stamps_ns=tuple(entry.stamp_ns for entry in segment),
                    has_depth=segment[0].has_depth,
                    poses=np.array(poses, dtype=np.float64) if poses else None,
                    provenance=self._provenance,
                    speeds_m_s=speeds or None,
                    camera_height_m=self._camera_height_m,
                )
            )
            start += len(segment)
        return result

    def _add(self, entry: _FrameEntry) -> None:
        if not self._segments or not self._continues(entry):
            self._segments.append([])
        self._segments[-1].append(entry)
        self.frame_count += 1

    def _continues(self, entry: _FrameEntry) -> bool:
        previous = self._segments[-1][-1]
        gap_ns = entry.stamp_ns - previous.stamp_ns
        return entry.kind() == previous.kind() and 0 < gap_ns <= self._max_gap_ns
