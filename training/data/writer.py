"""Writes prepared sets (see training/data/sequence.py); a kill costs the source in progress."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sfm_ros.datatypes import DepthMap
from sfm_ros.errors import SourceError
from training.data.sequence import (
    DEPTH,
    FORMAT,
    FRAMES,
    INDEX,
    PARTIAL,
    PreparedFrame,
    PreparedSet,
    SequenceRecord,
    read_index,
)

MAX_DEPTH_M = 65_000.0
"""Just below what a float16 can hold."""
COPIED_AT_ONCE = 64
"""Frames held in memory while a part is taken over."""

_NO_PICTURE = np.zeros((0, 0, 3), dtype=np.uint8)


class PreparedWriter:
    """Writes a set, one source after the other; what is complete survives a kill at any moment.

    Opening a folder that holds a finished or unfinished set of the same size goes on with it.
    """

    def __init__(self, path: str | Path, width: int, height: int) -> None:
        self.path = Path(path)
        self._width, self._height = width, height
        self.path.mkdir(parents=True, exist_ok=True)
        self._records = self._recorded()

    @property
    def frame_count(self) -> int:
        """Frames in complete sources."""
        return sum(record.count for record in self._records)

    def has(self, source: str) -> bool:
        """Whether this source is already completely in the set."""
        return self.provenance_of(source) is not None

    def provenance_of(self, source: str) -> str | None:
        """What was noted about a source that is completely in the set, else None."""
        found = (record.provenance for record in self._records if record.source == source)
        return next(found, None)

    def add(
        self,
        source: str,
        frames: Iterable[PreparedFrame],
        provenance: str,
        max_gap_ns: int = 1_000_000_000,
    ) -> int:
        """Write all frames of a source, cut where camera or time jumps; returns their number.

        Raises:
            SourceError: the source is empty, already here, or a frame has another size.
        """
        if self.has(source):
            raise SourceError(f"'{source}' is already in {self.path}; give it another name")
        self._open_again()
        cutter = _Cutter(source, provenance, self.frame_count, max_gap_ns)
        with self._appending() as (rgb_file, depth_file):
            for frame in frames:
                self._check_size(frame)
                rgb_file.write(np.ascontiguousarray(frame.rgb).tobytes())
                depth_file.write(self._depth_bytes(frame.depth_m))
                cutter.take(frame)
        if not cutter.frame_count:
            raise SourceError(f"'{source}' holds no frames")
        self._record(cutter.records())
        return cutter.frame_count

    def adopt(self, part: PreparedSet) -> int:
        """Take over all sequences of another set of the same size; returns the frames."""
        for source in {record.source for record in part.sequences}:
            if self.has(source):
                raise SourceError(f"'{source}' is already in {self.path}; give it another name")
        self._open_again()
        with self._appending() as (rgb_file, depth_file):
            for begin in range(0, len(part.frames), COPIED_AT_ONCE):
                frames = part.frames[begin : begin + COPIED_AT_ONCE]
                rgb_file.write(frames.tobytes())
                if part.depth_m is not None:
                    depth_file.write(part.depth_m[begin : begin + COPIED_AT_ONCE].tobytes())
                else:
                    depth_file.write(bytes(len(frames) * self._frame_size(2)))
        start = self.frame_count
        self._record([replace(r, start=r.start + start) for r in part.sequences])
        return len(part.frames)

    def finish(self) -> PreparedSet:
        """Declare the set complete and open it."""
        if not self._records:
            raise SourceError(f"nothing was written to {self.path}: no source has any frames")
        for name, channels in ((FRAMES, 3), (DEPTH, 2)):
            if (self.path / name).is_file():
                os.truncate(self.path / name, self.frame_count * self._frame_size(channels))
        if not any(record.has_depth for record in self._records):
            (self.path / DEPTH).unlink(missing_ok=True)
        _write_json(self.path / INDEX, self._index())
        (self.path / PARTIAL).unlink(missing_ok=True)
        return PreparedSet.open(self.path)

    def _open_again(self) -> None:
        """A finished set becomes an unfinished one before anything is added to it."""
        if (self.path / INDEX).is_file():
            os.replace(self.path / INDEX, self.path / PARTIAL)

    @contextmanager
    def _appending(self) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The two files, behind what is complete; on disk before the block is left."""
        count = self.frame_count
        with (
            _open_at(self.path / FRAMES, count * self._frame_size(3)) as rgb_file,
            _open_at(self.path / DEPTH, count * self._frame_size(2)) as depth_file,
        ):
            yield rgb_file, depth_file
            for stream in (rgb_file, depth_file):
                stream.flush()
                os.fsync(stream.fileno())

    def _record(self, records: Iterable[SequenceRecord]) -> None:
        self._records.extend(records)
        _write_json(self.path / PARTIAL, self._index())

    def _frame_size(self, bytes_per_pixel: int) -> int:
        return self._width * self._height * bytes_per_pixel

    def _recorded(self) -> list[SequenceRecord]:
        for name in (INDEX, PARTIAL):
            if (self.path / name).is_file():
                width, height, sequences = read_index(self.path / name)
                if (width, height) != (self._width, self._height):
                    raise SourceError(
                        f"{self.path} holds frames of {width}x{height}, asked for "
                        f"{self._width}x{self._height}; choose another folder or that size"
                    )
                return sequences
        return []

    def _check_size(self, frame: PreparedFrame) -> None:
        expected = (self._height, self._width, 3)
        if frame.rgb.shape != expected or frame.rgb.dtype != np.uint8:
            raise SourceError(
                f"a frame has shape {frame.rgb.shape} {frame.rgb.dtype}, the set {expected} uint8"
            )
        if frame.depth_m is not None and frame.depth_m.shape != expected[:2]:
            raise SourceError(f"a depth map has shape {frame.depth_m.shape}, not {expected[:2]}")

    def _depth_bytes(self, depth_m: DepthMap | None) -> bytes:
        if depth_m is None:
            return bytes(self._frame_size(2))
        known = np.isfinite(depth_m) & (depth_m > 0)
        clipped = np.minimum(np.where(known, depth_m, 0.0), MAX_DEPTH_M)
        return clipped.astype(np.float16).tobytes()

    def _index(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "width": self._width,
            "height": self._height,
            "sequences": [record.to_json() for record in self._records],
        }


class _Cutter:
    """Groups the frames of one source into sequences without jumps."""

    def __init__(self, source: str, provenance: str, start: int, max_gap_ns: int) -> None:
        self._source, self._provenance, self._max_gap_ns = source, provenance, max_gap_ns
        self._start = start
        self._runs: list[list[tuple[tuple, PreparedFrame]]] = []
        self.frame_count = 0

    def take(self, frame: PreparedFrame) -> None:
        """Append a frame to the current run, or begin another one."""
        what = (
            frame.K,
            frame.depth_m is not None,
            frame.T_world_camera is not None,
            frame.speed_m_s is not None,
        )
        if not self._runs or not self._continues(what, frame.stamp_ns):
            self._runs.append([])
        # The pictures are on disk: only what the index holds stays in memory.
        self._runs[-1].append((what, replace(frame, rgb=_NO_PICTURE, depth_m=None)))
        self.frame_count += 1

    def _continues(self, what: tuple, stamp_ns: int) -> bool:
        previous, frame = self._runs[-1][-1]
        return what == previous and 0 < stamp_ns - frame.stamp_ns <= self._max_gap_ns

    def records(self) -> list[SequenceRecord]:
        """One record a run."""
        result, start = [], self._start
        for number, run in enumerate(self._runs):
            (K, has_depth, has_pose, has_speed), _ = run[0]
            frames = [frame for _, frame in run]
            poses = np.array([f.T_world_camera for f in frames], dtype=np.float64)
            speeds = tuple(f.speed_m_s for f in frames if f.speed_m_s is not None)
            result.append(
                SequenceRecord(
                    name=self._source if len(self._runs) == 1 else f"{self._source}#{number}",
                    source=self._source,
                    start=start,
                    count=len(frames),
                    K=K,
                    stamps_ns=tuple(f.stamp_ns for f in frames),
                    has_depth=has_depth,
                    poses=poses if has_pose else None,
                    provenance=self._provenance,
                    speeds_m_s=speeds if has_speed else None,
                )
            )
            start += len(frames)
        return result


def _open_at(path: Path, size: int) -> BinaryIO:
    """The file, cut to what is complete (or filled with holes up to it), ready to append."""
    path.touch()
    os.truncate(path, size)
    return path.open("ab")


def _write_json(path: Path, values: dict[str, Any]) -> None:
    beside = path.with_name(path.name + ".tmp")
    with beside.open("w", encoding="utf-8") as stream:
        json.dump(values, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)
