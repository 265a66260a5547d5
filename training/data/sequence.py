"""The prepared format: a folder of frames of one size, ready to be cut into training windows.

``frames.u8``   (N, H, W, 3) uint8 RGB, raw bytes in C order, read by memory mapping.
``depth.f16``   (N, H, W) float16 meters along +z, 0 unknown, ``MOVING`` unknown because it moves
                by itself, ``SKY_DEPTH_M`` sky; absent if no sequence has depth.
``index.json``  describes the frames (below).
``report.txt``, ``report.png``  statistics and warnings for the user; training reads neither.

The frames are rectified: a pinhole camera without distortion, pixel centers at integers, x right,
y down, z forward. The index is one object::

    {"format": "sfm_ros.prepared/1", "width": W, "height": H, "sequences": [
      {"name": "city",            # unique in the set
       "source": "city",          # what it was prepared from; one source may be several sequences
       "start": 0, "count": 2,    # frames start to start + count - 1 of the files, without gaps
       "K": [fx, fy, cx, cy],     # px of the stored size
       "stamps_ns": [0, 100000000],
       "has_depth": false,        # whether depth.f16 holds depth of these frames
       "poses": null,             # or T_world_camera, meters: rows of 12 numbers (upper 3 x 4)
       "speeds_m_s": [8.1, 8.2],  # absent if not measured
       "camera_height_m": 1.65,   # above the road; absent if unknown
       "provenance": "..."}]}     # origin, licence, settings of prepare.py

A sequence is one camera and one uninterrupted recording: if calibration or time jumps, a new one
starts. A folder without ``index.json`` is unfinished: ``index.partial.json`` lists the complete
sources, ``index.open.json`` the frames written so far of the source in progress, and ``parts``
holds sets of single recordings that other processes write.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap, FloatArray, RgbImage
from sfm_ros.errors import SourceError, UnsafeFileError
from sfm_ros.safety.documents import read_json
from sfm_ros.safety.files import member

FORMAT = "sfm_ros.prepared/1"
INDEX, PARTIAL, OPEN = "index.json", "index.partial.json", "index.open.json"
FRAMES, DEPTH = "frames.u8", "depth.f16"
SKY_DEPTH_M = 1000.0
"""Depth of a pixel that is known to be sky, meters: farther than anything that is measured."""
MOVING = -1000.0
"""In the place of the depth of a pixel that moves by itself; only what is above 0 is known. Unlike
any value by which recordings mark unknown depth."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PreparedFrame:
    """One frame to be written to a set.

    Attributes:
        rgb: (H, W, 3) uint8, rectified, in the size of the set.
        K: fx, fy, cx, cy of that image, px.
        stamp_ns: time of exposure.
        T_world_camera: (4, 4) ground-truth pose, meters, or None.
        depth_m: (H, W) ground-truth depth, meters, 0 or not finite if unknown, or None.
        speed_m_s: measured speed of the camera, or None.
        index: position in the source, also counting the frames that were dropped.
    """

    rgb: RgbImage
    K: tuple[float, float, float, float]
    stamp_ns: int
    T_world_camera: FloatArray | None = None
    depth_m: DepthMap | None = None
    speed_m_s: float | None = None
    index: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SequenceRecord:
    """Frames ``start`` to ``start + count`` of a set: one camera, one uninterrupted recording.

    Attributes:
        source: what it was prepared from; a source may have been split into several sequences.
        poses: (count, 4, 4) float64 ``T_world_camera``, meters, or None.
        speeds_m_s: measured speed at each frame, or None.
        camera_height_m: height of the camera above the road, or None.
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
    speeds_m_s: tuple[float, ...] | None = None
    camera_height_m: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; a pose is its upper three rows."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.poses is not None:
            values["poses"] = self.poses[:, :3].reshape(-1, 12).tolist()
        for name in ("speeds_m_s", "camera_height_m"):
            if values[name] is None:
                del values[name]
        return values

    @staticmethod
    def from_json(values: dict[str, Any]) -> SequenceRecord:
        """Inverse of ``to_json``; raises KeyError, TypeError or ValueError on anything else."""
        count = int(values["count"])
        if not isinstance(values["has_depth"], bool):
            raise TypeError(f"has_depth is {values['has_depth']!r}, expected true or false")
        poses = None
        if values["poses"] is not None:
            rows = np.asarray(values["poses"], dtype=np.float64).reshape(count, 3, 4)
            poses = np.tile(np.eye(4), (count, 1, 1))
            poses[:, :3] = rows
        fx, fy, cx, cy = (float(v) for v in values["K"])
        stamps_ns = tuple(int(v) for v in values["stamps_ns"])
        speeds, height_m = values.get("speeds_m_s"), values.get("camera_height_m")
        if len(stamps_ns) != count or (speeds is not None and len(speeds) != count):
            raise ValueError(f"{len(stamps_ns)} stamps or speeds for {count} frames")
        if height_m is not None and not 0 < float(height_m) < math.inf:
            raise ValueError(f"camera_height_m is {height_m}, expected meters above the road")
        return SequenceRecord(
            name=str(values["name"]),
            source=str(values["source"]),
            start=int(values["start"]),
            count=count,
            K=(fx, fy, cx, cy),
            stamps_ns=stamps_ns,
            has_depth=values["has_depth"],
            poses=poses,
            provenance=str(values["provenance"]),
            speeds_m_s=None if speeds is None else tuple(float(v) for v in speeds),
            camera_height_m=None if height_m is None else float(height_m),
        )


@dataclass(frozen=True, slots=True, eq=False)
class PreparedSet:
    """A finished set, read by memory mapping.

    Attributes:
        frames: (N, H, W, 3) uint8, read-only.
        depth_m: (N, H, W) float16 meters, 0 unknown, or None.
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
            SourceError: the folder is missing, unfinished or of another format, or its files do
                not have the sizes that its index implies.
        """
        folder = Path(path)
        if not (folder / INDEX).is_file():
            raise SourceError(_why_no_index(folder))
        width, height, sequences = read_index(folder / INDEX)
        _check_layout(folder, sequences)
        shape = (sum(s.count for s in sequences), height, width)
        frames = _map(folder, FRAMES, np.uint8, (*shape, 3))
        depth_m = None
        if any(s.has_depth for s in sequences):
            depth_m = _map(folder, DEPTH, np.float16, shape)
        return PreparedSet(folder, width, height, tuple(sequences), frames, depth_m)


def _why_no_index(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no prepared set at {folder}; write it with training/prepare.py"
    if (folder / PARTIAL).is_file() or (folder / FRAMES).is_file():
        return f"the prepared set {folder} is unfinished; run the same prepare.py command again"
    return f"{folder} is not a prepared set: it has no {INDEX}; write one with training/prepare.py"


def read_index(path: Path) -> tuple[int, int, list[SequenceRecord]]:
    """Width, height and sequences of an index file, finished or not; SourceError if damaged."""
    try:
        values = read_json(path)
        if values["format"] != FORMAT:
            raise SourceError(
                f"{path} has the format {values['format']!r}, expected {FORMAT!r}; "
                "prepare it again"
            )
        sequences = [SequenceRecord.from_json(entry) for entry in values["sequences"]]
        width, height = int(values["width"]), int(values["height"])
        if min(width, height) < 1:
            raise ValueError(f"the frames are {width}x{height}")
        return width, height, sequences
    except (OSError, UnsafeFileError, ValueError, KeyError, TypeError, OverflowError) as error:
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


def _map(folder: Path, name: str, dtype: type, shape: tuple[int, ...]) -> npt.NDArray:
    try:
        path = member(folder, name)
    except UnsafeFileError as error:
        raise SourceError(f"the prepared set {folder} cannot be read: {error}") from error
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.is_file() else None
    if found != expected or not expected:
        size = "is missing" if found is None else f"has {found} bytes"
        raise SourceError(
            f"{path} {size}, expected {expected} for {shape[0]} frames of "
            f"{shape[2]}x{shape[1]}; prepare the set again"
        )
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)
