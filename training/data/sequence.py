"""The prepared format: a folder of frames of one size, ready to be cut into training windows.

``frames.u8``   (N, H, W, 3) uint8 RGB, raw bytes, read by memory mapping.
``depth.f16``   (N, H, W) float16 metres along +z, 0 unknown; absent where no sequence has any.
``index.json``  sizes, and for each sequence its place, calibration, stamps, poses and provenance.

A folder without ``index.json`` is unfinished; ``index.partial.json`` then lists what is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap, FloatArray, RgbImage
from sfm_ros.errors import SourceError

FORMAT = "sfm_ros.prepared/1"
INDEX, PARTIAL, FRAMES, DEPTH = "index.json", "index.partial.json", "frames.u8", "depth.f16"
MAX_DEPTH_M = 65_000.0
"""Just below what a float16 can hold."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreparedFrame:
    """One frame on its way into a set.

    Attributes:
        rgb: (H, W, 3) uint8, rectified, in the size of the set.
        K: fx, fy, cx, cy of that picture, px.
        stamp_ns: time of exposure.
        T_world_camera: (4, 4) true pose, metres, or None.
        depth_m: (H, W) true depth, metres, 0 or not finite where unknown, or None.
    """

    rgb: RgbImage
    K: tuple[float, float, float, float]
    stamp_ns: int
    T_world_camera: FloatArray | None = None
    depth_m: DepthMap | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SequenceRecord:
    """Frames ``start`` to ``start + count`` of a set: one camera, one uninterrupted ride.

    Attributes:
        source: what it was prepared from; a source may have been cut into several sequences.
        poses: (count, 4, 4) float64 ``T_world_camera``, metres, or None.
    """

    name: str
    source: str
    start: int
    count: int
    K: tuple[float, float, float, float]
    stamps_ns: tuple[int, ...]
    has_depth: bool
    poses: FloatArray | None
    provenance: str

    def to_json(self) -> dict[str, Any]:
        """Plain values; a pose is its upper three rows."""
        poses = self.poses
        return {
            "name": self.name,
            "source": self.source,
            "start": self.start,
            "count": self.count,
            "K": list(self.K),
            "stamps_ns": list(self.stamps_ns),
            "has_depth": self.has_depth,
            "poses": None if poses is None else poses[:, :3].reshape(-1, 12).tolist(),
            "provenance": self.provenance,
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> SequenceRecord:
        """Inverse of ``to_json``; raises KeyError, TypeError or ValueError on anything else."""
        count = int(values["count"])
        poses = None
        if values["poses"] is not None:
            poses = np.tile(np.eye(4), (count, 1, 1))
            poses[:, :3] = np.asarray(values["poses"], dtype=np.float64).reshape(count, 3, 4)
        fx, fy, cx, cy = (float(v) for v in values["K"])
        stamps_ns = tuple(int(v) for v in values["stamps_ns"])
        if len(stamps_ns) != count:
            raise ValueError(f"{len(stamps_ns)} stamps for {count} frames")
        return SequenceRecord(
            name=str(values["name"]),
            source=str(values["source"]),
            start=int(values["start"]),
            count=count,
            K=(fx, fy, cx, cy),
            stamps_ns=stamps_ns,
            has_depth=bool(values["has_depth"]),
            poses=poses,
            provenance=str(values["provenance"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreparedSet:
    """A finished set, read by memory mapping.

    Attributes:
        frames: (N, H, W, 3) uint8, read-only.
        depth_m: (N, H, W) float16 metres, 0 unknown, or None.
    """

    path: Path
    width: int
    height: int
    sequences: tuple[SequenceRecord, ...]
    frames: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float16] | None

    @staticmethod
    def open(path: str | Path) -> PreparedSet:
        """Open and check a set.

        Raises:
            SourceError: the folder is missing, unfinished, of another format, or its files do not
                have the sizes its index promises.
        """
        folder = Path(path)
        if not (folder / INDEX).is_file():
            raise SourceError(_why_no_index(folder))
        width, height, sequences = _read_index(folder / INDEX)
        count = sum(s.count for s in sequences)
        _check_layout(folder, sequences)
        shape = (count, height, width)
        frames = _map(folder / FRAMES, np.uint8, (*shape, 3))
        depth = None
        if any(s.has_depth for s in sequences):
            depth = _map(folder / DEPTH, np.float16, shape)
        return PreparedSet(
            path=folder,
            width=width,
            height=height,
            sequences=tuple(sequences),
            frames=frames,
            depth_m=depth,
        )


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
        if (self.path / INDEX).is_file():
            os.replace(self.path / INDEX, self.path / PARTIAL)
        cutter = _Cutter(source, provenance, self.frame_count, max_gap_ns)
        with (
            _open_at(self.path / FRAMES, self.frame_count * self._frame_size(3)) as rgb_file,
            _open_at(self.path / DEPTH, self.frame_count * self._frame_size(2)) as depth_file,
        ):
            for frame in frames:
                self._check_size(frame)
                rgb_file.write(np.ascontiguousarray(frame.rgb).tobytes())
                depth_file.write(self._depth_bytes(frame.depth_m))
                cutter.take(frame)
            for stream in (rgb_file, depth_file):
                stream.flush()
                os.fsync(stream.fileno())
        if not cutter.frame_count:
            raise SourceError(f"'{source}' holds no frames")
        self._records.extend(cutter.records())
        _write_json(self.path / PARTIAL, self._index())
        return cutter.frame_count

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

    def _frame_size(self, bytes_per_pixel: int) -> int:
        return self._width * self._height * bytes_per_pixel

    def _recorded(self) -> list[SequenceRecord]:
        for name in (INDEX, PARTIAL):
            if (self.path / name).is_file():
                width, height, sequences = _read_index(self.path / name)
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
        self._runs: list[list[tuple[tuple, int, FloatArray | None]]] = []
        self.frame_count = 0

    def take(self, frame: PreparedFrame) -> None:
        """Append a frame to the current run, or begin another one."""
        camera = (frame.K, frame.depth_m is not None, frame.T_world_camera is not None)
        if not self._runs or not self._continues(camera, frame.stamp_ns):
            self._runs.append([])
        self._runs[-1].append((camera, frame.stamp_ns, frame.T_world_camera))
        self.frame_count += 1

    def _continues(self, camera: tuple, stamp_ns: int) -> bool:
        previous_camera, previous_ns, _ = self._runs[-1][-1]
        return camera == previous_camera and 0 < stamp_ns - previous_ns <= self._max_gap_ns

    def records(self) -> list[SequenceRecord]:
        """One record a run."""
        result, start = [], self._start
        for number, run in enumerate(self._runs):
            K, has_depth, has_pose = run[0][0]
            poses = np.array([pose for _, _, pose in run], dtype=np.float64) if has_pose else None
            result.append(
                SequenceRecord(
                    name=self._source if len(self._runs) == 1 else f"{self._source}#{number}",
                    source=self._source,
                    start=start,
                    count=len(run),
                    K=K,
                    stamps_ns=tuple(stamp_ns for _, stamp_ns, _ in run),
                    has_depth=has_depth,
                    poses=poses,
                    provenance=self._provenance,
                )
            )
            start += len(run)
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


def _why_no_index(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no prepared set at {folder}; write it with training/prepare.py"
    if (folder / PARTIAL).is_file() or (folder / FRAMES).is_file():
        return f"the prepared set {folder} is unfinished; run the same prepare.py command again"
    return f"{folder} is not a prepared set: it has no {INDEX}; write one with training/prepare.py"


def _read_index(path: Path) -> tuple[int, int, list[SequenceRecord]]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise SourceError(
                f"{path} has the format {values['format']!r}, expected {FORMAT!r}; "
                "prepare it again"
            )
        sequences = [SequenceRecord.from_json(entry) for entry in values["sequences"]]
        return int(values["width"]), int(values["height"]), sequences
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is damaged ({error!r}); prepare the set again") from error


def _check_layout(folder: Path, sequences: list[SequenceRecord]) -> None:
    start = 0
    for record in sequences:
        if record.start != start or record.count < 1:
            raise SourceError(
                f"{folder / INDEX}: sequence '{record.name}' starts at frame {record.start}, "
                f"expected {start}; prepare the set again"
            )
        start += record.count


def _map(path: Path, dtype: type, shape: tuple[int, ...]) -> npt.NDArray:
    expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected or not expected:
        size = "is missing" if found is None else f"has {found} bytes"
        raise SourceError(
            f"{path} {size}, its index promises {expected} for {shape[0]} frames of "
            f"{shape[2]}x{shape[1]}; prepare the set again"
        )
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)
