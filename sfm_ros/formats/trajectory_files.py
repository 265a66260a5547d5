"""Files of poses: tables with a time, a position and a quaternion per line, and KITTI's matrices.

Stamps are parsed from decimal text exactly, never through a float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.formats.pose_columns import TARTAN, TUM, PoseColumns, stated_columns
from sfm_ros.formats.pose_rows import Row, read_rows, usual_columns
from sfm_ros.formats.time_units import NS, converted, parse_number
from sfm_ros.formats.trajectory import Indices, Trajectory, format_stamp
from sfm_ros.geometry import (
    MAX_POSITION_M,
    is_rotation,
    ned_to_optical,
    quat_xyzw_from_matrix,
    rigid_motion,
)

_ROTATION_TOLERANCE = 1e-2
_QUATERNION_TOLERANCE = 0.1
"""Of its length: files round to two or more digits, and other columns are no unit quaternion."""
_MOST_FRAMES = 10**8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PoseFile:
    """The poses in a file.

    Attributes:
        path: the file.
        kind: ``TUM``, ``KITTI``, ``TartanAir``, or ``table`` of one with a header.
        trajectory: T_world_camera; if the file has no times, stamped with the frame index in whole
            seconds.
        is_timed: whether the stamps are times.
        frames: (N,) frame index of each pose; None if the file has none.
        remarks: what was unusual about it, a sentence each.
    """

    path: Path
    kind: str
    trajectory: Trajectory
    is_timed: bool
    frames: Indices | None = None
    remarks: tuple[str, ...] = ()

    def first(self, frames: int) -> PoseFile:
        """The poses of the first frames, of a file without times; TrajectoryError without any."""
        indices = np.arange(len(self.trajectory)) if self.frames is None else self.frames
        kept = np.flatnonzero(indices < frames)
        if not len(kept):
            raise TrajectoryError(f"{self.path} has no pose of the first {frames} frames")
        frames_kept = None if self.frames is None else self.frames[kept]
        return replace(self, trajectory=self.trajectory.select(kept), frames=frames_kept)

    def timed(self, stamps_ns: Sequence[int] | None = None, fps: float = 10.0) -> Trajectory:
        """The poses with times: those of the file, else of its frames.

        Args:
            stamps_ns: stamp of each *frame* of the sequence (times.txt); by default index / fps.
            fps: frames per second if ``stamps_ns`` is not given; KITTI has 10.

        Raises:
            TrajectoryError: fewer stamps than frames; fewer poses than stamps, and no indices.
        """
        if self.is_timed:
            return self.trajectory
        poses = self.trajectory.poses
        indices = np.arange(len(poses)) if self.frames is None else self.frames
        if stamps_ns is None:
            return _assemble(self.path, [round(int(i) * NS / fps) for i in indices], poses)
        if indices[-1] >= len(stamps_ns):
            raise TrajectoryError(
                f"{self.path} has poses up to frame {indices[-1]}, but there are {len(stamps_ns)} "
                "stamps"
            )
        if self.frames is None and len(poses) < len(stamps_ns):
            raise TrajectoryError(
                f"{self.path} has {len(poses)} poses for {len(stamps_ns)} frames and no index "
                "column, so their frames are unknown; put the frame index in front of every line, "
                "or use the TUM format, which has stamps"
            )
        return _assemble(self.path, [int(stamps_ns[index]) for index in indices], poses)


def read_pose_file(path: str | Path, columns: str | None = None) -> PoseFile:
    """Read a file of poses; what the columns are shows its header, or their number.

    Without a header, 8 columns between spaces are TUM's ``stamp tx ty tz qx qy qz qw``, 7 the same
    without a stamp, a line for each image, in TartanAir's axes (x forward, y right, z down: these
    are converted); 12 are the upper 3x4 of KITTI's T_world_camera by rows, 13 the frame index in
    front of it. ``#`` and ``%`` start a comment.

    Args:
        path: the file.
        columns: of a file without a header, see `stated_columns`; such a file with commas needs
            them, because the order of the quaternion differs between the tools that write them.

    Raises:
        TrajectoryError: missing file, no pose, unordered stamps, unclear columns, or a line (named
            in the message) with a wrong number of columns, a number that is not finite, no
            rotation, or an index out of order.
    """
    path = Path(path)
    rows, header = read_rows(path)
    stated = None if columns is None else stated_columns(columns)
    if header is not None and stated not in (None, header):
        raise TrajectoryError(f"{path} has a header, which names other columns than '{columns}'")
    layout = header or stated
    if layout is None and len(rows[0].fields) in (12, 13):
        return _read_kitti(path, rows)
    return _read_table(path, rows, layout or usual_columns(rows[0]), header is not None)


def read_trajectory(
    path: str | Path, stamps_ns: Sequence[int] | None = None, fps: float = 10.0
) -> Trajectory:
    """The poses of `read_pose_file` with the times of `PoseFile.timed`."""
    return read_pose_file(path).timed(stamps_ns, fps)


def _read_table(
    path: Path, rows: Sequence[Row], columns: PoseColumns, has_header: bool
) -> PoseFile:
    """The poses of a table, whose header may name the columns."""
    poses = np.stack([_pose_of(row, columns) for row in rows])
    remarks = []
    if not has_header and columns == TARTAN:
        poses = ned_to_optical(poses)
        remarks.append(
            "7 columns are taken as TartanAir's poses, a line for each image, in axes x forward, "
            "y right, z down"
        )
    if not columns.stamps:
        stamps = [index * NS for index in range(len(rows))]
    else:
        stamps, remark = _stamps_of(path, rows, columns)
        remarks += [remark] if remark else []
    return PoseFile(
        path=path,
        kind={TUM: "TUM", TARTAN: "TartanAir"}.get(columns, "table"),
        trajectory=_assemble(path, stamps, poses),
        is_timed=bool(columns.stamps),
        remarks=tuple(f"{path}: {remark}" for remark in remarks),
    )


def _pose_of(row: Row, columns: PoseColumns) -> FloatArray:
    if len(row.fields) != columns.count:
        expected = f"the {columns.count} of the TUM format" if columns == TUM else columns.count
        raise TrajectoryError(f"{row.location}: {len(row.fields)} columns, expected {expected}")
    used = [row.fields[index] for index in (*columns.position, *columns.quaternion)]
    as_what = f"of {columns.count} columns, taken as {columns.text}"
    values = _floats(used, row.location)
    length = float(np.linalg.norm(values[3:]))
    T = rigid_motion(values[3:], values[:3])
    if T is None:  # the numbers are finite
        raise TrajectoryError(
            f"{row.location}: the quaternion is zero, or the position beyond "
            f"{MAX_POSITION_M:g}, {as_what}"
        )
    if abs(length - 1) > _QUATERNION_TOLERANCE:
        raise TrajectoryError(
            f"{row.location}: the quaternion has the length {length:.3g}, expected 1, {as_what}"
        )
    return T


def _stamps_of(
    path: Path, rows: Sequence[Row], columns: PoseColumns
) -> tuple[list[int], str | None]:
    texts = [[row.fields[index] for index in columns.stamps] for row in rows]
    numbers: list[Decimal] = []
    for row, parts in zip(rows, texts, strict=True):
        try:
            whole, *rest = map(parse_number, parts)
        except TrajectoryError as error:
            raise TrajectoryError(f"{row.location}: {error}") from None
        if rest and not 0 <= rest[0] < NS:
            raise TrajectoryError(f"{row.location}: {rest[0]} nanoseconds, expected below {NS}")
        numbers.append(whole + rest[0] / NS if rest else whole)
    try:
        return converted(numbers, columns.unit)
    except TrajectoryError as error:
        raise TrajectoryError(f"{path}: {error}") from None


def _read_kitti(path: Path, rows: Sequence[Row]) -> PoseFile:
    indices: list[int] = []
    poses: list[FloatArray] = []
    columns = len(rows[0].fields)
    for row in rows:
        if len(row.fields) != columns:
            raise TrajectoryError(
                f"{row.location}: {len(row.fields)} columns, expected {columns} as in the lines "
                "before"
            )
        values = _floats(row.fields, row.location)
        pose = np.vstack([values[-12:].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
        if not is_rotation(pose[:3, :3], tolerance=_ROTATION_TOLERANCE):
            raise TrajectoryError(f"{row.location}: the left 3x3 of the pose is not a rotation")
        index = int(values[0]) if columns == 13 else len(indices)
        if columns == 13 and (index != values[0] or not 0 <= index < _MOST_FRAMES):
            raise TrajectoryError(
                f"{row.location}: the index is {row.fields[0]}, expected the whole number of a "
                "frame"
            )
        if indices and index <= indices[-1]:
            raise TrajectoryError(
                f"{row.location}: frame {index} is not later than the one before, {indices[-1]}; "
                "sort the poses by frame"
            )
        indices.append(index)
        poses.append(pose)
    return PoseFile(
        path=path,
        kind="KITTI",
        trajectory=_assemble(path, [index * NS for index in indices], np.stack(poses)),
        is_timed=False,
        frames=np.array(indices, dtype=np.intp) if columns == 13 else None,
    )


def _floats(words: Sequence[str], location: str) -> FloatArray:
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise TrajectoryError(f"{location}: {error}") from None
    if not np.all(np.isfinite(values)):
        raise TrajectoryError(f"{location}: a number is not finite: {' '.join(words)}")
    return values


def _assemble(path: Path, stamps: Sequence[int], poses: FloatArray) -> Trajectory:
    try:
        return Trajectory(np.array(stamps, dtype=np.int64), poses)
    except TrajectoryError as error:
        raise TrajectoryError(f"{path}: {error}") from None


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """Write ``stamp tx ty tz qx qy qz qw`` lines; stamps are exact to the nanosecond."""
    lines = []
    for stamp_ns, pose in zip(trajectory.stamps_ns, trajectory.poses, strict=True):
        numbers = [*pose[:3, 3], *quat_xyzw_from_matrix(pose[:3, :3])]
        lines.append(f"{format_stamp(int(stamp_ns))} {_joined(numbers)}\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def write_kitti(
    path: str | Path, trajectory: Trajectory, frames: Sequence[int] | None = None
) -> None:
    """Write KITTI odometry poses, 12 numbers per line; the format has no stamps.

    The indices ``frames`` of a trajectory that lacks some are written in front of the lines.
    """
    lines = [_joined(pose[:3].ravel()) + "\n" for pose in trajectory.poses]
    if frames is not None:
        lines = [f"{frame} {line}" for frame, line in zip(frames, lines, strict=True)]
    Path(path).write_text("".join(lines), encoding="utf-8")


def _joined(numbers: Sequence[float] | FloatArray) -> str:
    return " ".join(repr(float(number)) for number in numbers)
