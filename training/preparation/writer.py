"""Writes prepared sets (see training/data/sequence.py); a kill costs some seconds of work."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sfm_ros.datatypes import DepthMap, RgbImage
from sfm_ros.errors import SourceError, UnsafeFileError
from sfm_ros.safety.documents import read_json
from training.data.sequence import (
    DEPTH,
    FORMAT,
    FRAMES,
    INDEX,
    MOVING,
    OPEN,
    PARTIAL,
    PreparedFrame,
    PreparedSet,
    SequenceRecord,
    read_index,
)
from training.preparation.segmenter import Segmenter

MAX_DEPTH_M = 65_000.0
"""Just below the largest float16."""
COPY_CHUNK = 64
"""Frames held in memory while another set is appended."""
SAVE_EVERY = 500
"""Frames between two saves of the progress of a source."""


@dataclass(frozen=True, slots=True, eq=False)
class PartialSource:
    """A source of which an earlier call has written some frames.

    Attributes:
        next_index: first index in the source that is not in the set (see `PreparedFrame`).
        last_rgb: the last image that is.
        records: its sequences so far.
    """

    next_index: int
    last_rgb: RgbImage
    records: tuple[SequenceRecord, ...]


class PreparedWriter:
    """Writes a set, one source after the other; complete sources survive a kill at any moment.

    A folder that holds a finished or unfinished set of the same size is continued.
    """

    def __init__(self, path: str | Path, width: int, height: int) -> None:
        self.path = Path(path)
        self._width, self._height = width, height
        self.path.mkdir(parents=True, exist_ok=True)
        self._records = self._read_records()

    @property
    def frame_count(self) -> int:
        """Frames in complete sources."""
        return sum(record.count for record in self._records)

    def provenance_of(self, source: str) -> str | None:
        """Provenance of a source that is completely in the set, else None."""
        found = (record.provenance for record in self._records if record.source == source)
        return next(found, None)

    def partial(self, source: str, provenance: str) -> PartialSource | None:
        """The frames of an interrupted source, if they were written with the same provenance."""
        try:
            values = read_json(self.path / OPEN)
            records = tuple(SequenceRecord.from_json(entry) for entry in values["sequences"])
            first, next_index = records[0], int(values["next_place"])
        except (OSError, UnsafeFileError, ValueError, KeyError, TypeError, IndexError):
            return None
        found = (first.source, first.provenance, first.start)
        if found != (source, provenance, self.frame_count):
            return None
        size = self._frame_size(3)
        with (self.path / FRAMES).open("rb") as stream:
            stream.seek((first.start + sum(r.count for r in records) - 1) * size)
            data = stream.read(size)
        if len(data) < size:
            return None
        rgb = np.frombuffer(data, dtype=np.uint8).reshape(self._height, self._width, 3)
        return PartialSource(next_index, rgb, records)

    def add(
        self,
        source: str,
        frames: Iterable[PreparedFrame],
        provenance: str,
        max_gap_ns: int = 1_000_000_000,
        written: PartialSource | None = None,
        camera_height_m: float | None = None,
    ) -> int:
        """Write all frames of a source, split where camera or time jumps; returns their number.

        Args:
            written: the frames that are in the set already; ``frames`` are those that follow.
            camera_height_m: above the road, or None.

        Raises:
            SourceError: the source is empty or already in the set, or a frame has another size.
        """
        self._reopen([source])
        segmenter = Segmenter(source, provenance, self.frame_count, max_gap_ns, camera_height_m)
        if written is None:
            # The frames of another interrupted source are about to be overwritten.
            (self.path / OPEN).unlink(missing_ok=True)
        else:
            segmenter.restore(written.records)
        with self._appending(segmenter.frame_count) as (rgb_file, depth_file):
            for frame in frames:
                self._check_size(frame)
                rgb_file.write(np.ascontiguousarray(frame.rgb).tobytes())
                self._write_depth(depth_file, frame.depth_m)
                segmenter.add(frame)
                if segmenter.frame_count % SAVE_EVERY == 0:
                    _sync(rgb_file, depth_file)
                    sequences = [record.to_json() for record in segmenter.records()]
                    progress = {"next_place": frame.index + 1, "sequences": sequences}
                    _write_json(self.path / OPEN, progress)
        if not segmenter.frame_count:
            raise SourceError(f"'{source}' holds no frames")
        self._record(segmenter.records())
        return segmenter.frame_count

    def append(self, part: PreparedSet) -> int:
        """Copy all sequences of another set of the same size; returns the number of frames."""
        self._reopen({record.source for record in part.sequences})
        with self._appending() as (rgb_file, depth_file):
            for begin in range(0, len(part.frames), COPY_CHUNK):
                frames = part.frames[begin : begin + COPY_CHUNK]
                rgb_file.write(frames.tobytes())
                if part.depth_m is not None:
                    depth_file.write(part.depth_m[begin : begin + COPY_CHUNK].tobytes())
                else:
                    depth_file.seek(len(frames) * self._frame_size(2), os.SEEK_CUR)
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
        for name in (PARTIAL, OPEN):
            (self.path / name).unlink(missing_ok=True)
        return PreparedSet.open(self.path)

    def _reopen(self, sources: Iterable[str]) -> None:
        """Mark the set as unfinished before sources are added that it does not have yet."""
        for source in sources:
            if self.provenance_of(source) is not None:
                raise SourceError(f"'{source}' is already in {self.path}; give it another name")
        if (self.path / INDEX).is_file():
            os.replace(self.path / INDEX, self.path / PARTIAL)

    @contextmanager
    def _appending(self, more: int = 0) -> Iterator[tuple[BinaryIO, BinaryIO]]:
        """The files behind the complete sources and ``more`` frames; synced after the block."""
        count = self.frame_count + more
        with (
            _open_at(self.path / FRAMES, count * self._frame_size(3)) as rgb_file,
            _open_at(self.path / DEPTH, count * self._frame_size(2)) as depth_file,
        ):
            yield rgb_file, depth_file
            _sync(rgb_file, depth_file)

    def _record(self, records: Iterable[SequenceRecord]) -> None:
        self._records.extend(records)
        _write_json(self.path / PARTIAL, self._index())
        (self.path / OPEN).unlink(missing_ok=True)

    def _frame_size(self, bytes_per_pixel: int) -> int:
        return self._width * self._height * bytes_per_pixel

    def _read_records(self) -> list[SequenceRecord]:
        for name in (INDEX, PARTIAL):
            if (self.path / name).is_file():
                width, height, sequences = read_index(self.path / name)
                if (width, height) != (self._width, self._height):
                    raise SourceError(
                        f"{self.path} holds frames of {width}x{height}, requested "
                        f"{self._width}x{self._height}; choose another folder or that size"
                    )
                return sequences
        return []

    def _check_size(self, frame: PreparedFrame) -> None:
        expected = (self._height, self._width, 3)
        if frame.rgb.shape != expected or frame.rgb.dtype != np.uint8:
            raise SourceError(
                f"a frame has shape {frame.rgb.shape} {frame.rgb.dtype}, expected {expected} uint8"
            )
        if frame.depth_m is not None and frame.depth_m.shape != expected[:2]:
            raise SourceError(
                f"a depth map has shape {frame.depth_m.shape}, expected {expected[:2]}"
            )

    def _write_depth(self, stream: BinaryIO, depth_m: DepthMap | None) -> None:
        if depth_m is None:
            # A hole in the file: zeros that take no space on disk.
            stream.seek(self._frame_size(2), os.SEEK_CUR)
            return
        known = np.isfinite(depth_m) & ((depth_m > 0) | (depth_m == MOVING))
        clipped = np.minimum(np.where(known, depth_m, 0.0), MAX_DEPTH_M)
        stream.write(clipped.astype(np.float16).tobytes())

    def _index(self) -> dict[str, Any]:
        sequences = [record.to_json() for record in self._records]
        size = {"width": self._width, "height": self._height}
        return {"format": FORMAT, **size, "sequences": sequences}


def _open_at(path: Path, size: int) -> BinaryIO:
    """The file, truncated to its complete part or extended by a hole, positioned at its end."""
    path.touch()
    os.truncate(path, size)
    stream = path.open("r+b")
    stream.seek(size)
    return stream


def _sync(*streams: BinaryIO) -> None:
    for stream in streams:
        stream.truncate()  # extends the file if it ends with a hole
        stream.flush()
        os.fsync(stream.fileno())


def _write_json(path: Path, values: dict[str, Any]) -> None:
    """Replace a file in one step: a kill leaves the old or the new one."""
    beside = path.with_name(path.name + ".tmp")
    with beside.open("w", encoding="utf-8") as stream:
        json.dump(values, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, path)
