"""Camera poses over time, and the two file formats for them: TUM and KITTI.

Stamps are integer nanoseconds and are parsed from decimal text exactly, never through a float.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray, read_only
from sfm_ros.errors import TrajectoryError
from sfm_ros.formats.files import read_text
from sfm_ros.geometry import (
    MAX_POSITION_M,
    is_rotation,
    quat_xyzw_from_matrix,
    rigid_motion,
)

_NS = 1_000_000_000
_ROTATION_TOLERANCE = 1e-2
_KITTI_COLUMNS = "the 12 of a KITTI pose, or 13 with the frame index in front"

Stamps = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Poses of a camera over time.

    Attributes:
        stamps_ns: (N,) int64, strictly increasing, N >= 1.
        poses: (N, 4, 4) float64 T_world_camera; world frame and unit are the producer's choice.

    Raises:
        TrajectoryError: no pose, counts that differ, a non-finite number, or unordered stamps.
    """

    stamps_ns: Stamps
    poses: FloatArray

    def __post_init__(self) -> None:
        stamps = np.array(self.stamps_ns, dtype=np.int64)
        poses = np.array(self.poses, dtype=np.float64)
        if stamps.ndim != 1 or len(stamps) == 0:
            raise TrajectoryError("the trajectory holds no pose, expected at least one")
        if poses.shape != (len(stamps), 4, 4):
            raise TrajectoryError(
                f"{len(stamps)} stamps with poses of shape {poses.shape}, expected "
                f"({len(stamps)}, 4, 4)"
            )
        bad = np.flatnonzero(~np.isfinite(poses).all(axis=(1, 2)))
        if len(bad):
            raise TrajectoryError(f"pose {bad[0]} holds a number that is not finite")
        back = np.flatnonzero(np.diff(stamps) <= 0)
        if len(back):
            first = int(back[0])
            raise TrajectoryError(
                f"stamp {first + 1} ({format_stamp(int(stamps[first + 1]))} s) is not later than "
                f"the one before it ({format_stamp(int(stamps[first]))} s); sort the poses by time"
            )
        object.__setattr__(self, "stamps_ns", read_only(stamps))
        object.__setattr__(self, "poses", read_only(poses))

    @classmethod
    def of(cls, poses: Mapping[int, FloatArray]) -> Trajectory:
        """The trajectory of poses (4, 4) by stamp, in any order."""
        stamps = sorted(poses)
        return cls(np.array(stamps, dtype=np.int64), np.array([poses[s] for s in stamps]))

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def positions(self) -> FloatArray:
        """(N, 3) camera centers in the world."""
        return self.poses[:, :3, 3]

    def select(self, indices: Indices) -> Trajectory:
        """The poses at increasing indices."""
        return Trajectory(self.stamps_ns[indices], self.poses[indices])

    def rebased(self) -> Trajectory:
        """The same motion with the first camera as the world: T_0_i = T_w_0^-1 T_w_i."""
        # Not the transposed rotation: files round it, and the first pose must become the identity.
        return Trajectory(self.stamps_ns, np.linalg.inv(self.poses[0]) @ self.poses)


def parse_stamp(text: str) -> int:
    """Nanoseconds of a decimal number of seconds; exact up to nine decimals, then rounded."""
    try:
        return int((Decimal(text) * _NS).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        raise TrajectoryError(f"the stamp is {text!r}, expected a number of seconds") from None


def format_stamp(stamp_ns: int) -> str:
    """Seconds with nine decimals, the exact inverse of `parse_stamp`."""
    seconds, rest = divmod(abs(stamp_ns), _NS)
    return f"{'-' if stamp_ns < 0 else ''}{seconds}.{rest:09d}"


def _data_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(location for messages, words) of each line that is neither empty nor a comment."""
    text = read_text(path, "trajectory", TrajectoryError)
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.replace(",", " ").split()
        if words and not words[0].startswith("#"):
            yield f"{path}, line {number}", words


def _floats(words: Sequence[str], location: str) -> FloatArray:
    try:
        values = np.array([float(word) for word in words])
    except ValueError as error:
        raise TrajectoryError(f"{location}: {error}") from None
    if not np.all(np.isfinite(values)):
        raise TrajectoryError(f"{location}: a number is not finite: {' '.join(words)}")
    return values


def _assemble(path: Path, stamps: list[int], poses: list[FloatArray]) -> Trajectory:
    if not poses:
        raise TrajectoryError(f"{path} holds no pose")
    try:
        return Trajectory(np.array(stamps, dtype=np.int64), np.stack(poses))
    except (TrajectoryError, OverflowError) as error:
        raise TrajectoryError(f"{path}: {error}") from None


def read_tum(path: str | Path) -> Trajectory:
    """Read ``stamp tx ty tz qx qy qz qw`` lines (TUM RGB-D); ``#`` starts a comment.

    Raises:
        TrajectoryError: missing file, no pose, unordered stamps, or a line (named in the message)
            with a wrong count of columns, a non-finite number or a zero quaternion.
    """
    path = Path(path)
    stamps: list[int] = []
    poses: list[FloatArray] = []
    for location, words in _data_lines(path):
        if len(words) != 8:
            raise TrajectoryError(
                f"{location}: {len(words)} columns, expected the 8 of the TUM format "
                "(stamp tx ty tz qx qy qz qw)"
            )
        values = _floats(words, location)
        T = rigid_motion(values[4:], values[1:4])
        if T is None:  # the numbers are finite
            raise TrajectoryError(
                f"{location}: the quaternion is zero, or the position beyond {MAX_POSITION_M:g}"
            )
        stamps.append(parse_stamp(words[0]))
        poses.append(T)
    return _assemble(path, stamps, poses)


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """Write ``stamp tx ty tz qx qy qz qw`` lines; stamps are exact to the nanosecond."""
    lines = []
    for stamp_ns, pose in zip(trajectory.stamps_ns, trajectory.poses, strict=True):
        numbers = [*pose[:3, 3], *quat_xyzw_from_matrix(pose[:3, :3])]
        lines.append(f"{format_stamp(int(stamp_ns))} {_joined(numbers)}\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def read_kitti(
    path: str | Path, stamps_ns: Sequence[int] | None = None, fps: float = 10.0
) -> Trajectory:
    """Read KITTI odometry poses: 12 numbers per line, the upper 3x4 of T_world_camera by rows.

    A 13th number in front is the frame index, for files that lack frames.

    Args:
        path: the file.
        stamps_ns: stamp of each *frame* of the sequence (times.txt); by default index / fps.
        fps: frames per second if ``stamps_ns`` is not given; KITTI has 10.

    Raises:
        TrajectoryError: missing file, no pose, fewer stamps than frames, fewer poses than stamps
            and no index column, or a line (named in the message) with a wrong count of columns, a
            non-finite number, no rotation or an index out of order.
    """
    indices, poses, is_indexed = _read_kitti_lines(Path(path))
    if stamps_ns is None:
        return _assemble(Path(path), [round(index * _NS / fps) for index in indices], poses)
    if indices and indices[-1] >= len(stamps_ns):
        raise TrajectoryError(
            f"{path} has poses up to frame {indices[-1]}, but there are {len(stamps_ns)} stamps"
        )
    if not is_indexed and len(poses) < len(stamps_ns):
        raise TrajectoryError(
            f"{path} has {len(poses)} poses for {len(stamps_ns)} frames and no index column, so "
            "their frames are unknown; put the frame index in front of every line, or use the TUM "
            "format, which has stamps"
        )
    return _assemble(Path(path), [int(stamps_ns[index]) for index in indices], poses)


def read_kitti_frames(path: str | Path) -> tuple[Trajectory, Indices | None]:
    """Read KITTI poses that are identified by frame index and not by time.

    Returns:
        The poses, stamped with their frame index in whole seconds; and the indices, or None if the
        file has no column for them.

    Raises:
        TrajectoryError: see `read_kitti`.
    """
    indices, poses, is_indexed = _read_kitti_lines(Path(path))
    trajectory = _assemble(Path(path), [index * _NS for index in indices], poses)
    return trajectory, np.array(indices, dtype=np.intp) if is_indexed else None


def _read_kitti_lines(path: Path) -> tuple[list[int], list[FloatArray], bool]:
    """Frame index and pose of each line, and whether the file has an index column."""
    indices: list[int] = []
    poses: list[FloatArray] = []
    columns = 0
    for location, words in _data_lines(path):
        if len(words) not in (12, 13) or len(words) != (columns or len(words)):
            expected = f"{columns} as in the lines before" if columns else _KITTI_COLUMNS
            raise TrajectoryError(f"{location}: {len(words)} columns, expected {expected}")
        columns = len(words)
        values = _floats(words, location)
        pose = np.vstack([values[-12:].reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
        if not is_rotation(pose[:3, :3], tolerance=_ROTATION_TOLERANCE):
            raise TrajectoryError(f"{location}: the left 3x3 of the pose is not a rotation")
        index = int(values[0]) if columns == 13 else len(indices)
        if columns == 13 and (index != values[0] or index < 0):
            raise TrajectoryError(f"{location}: the index is {words[0]}, expected a whole number")
        if indices and index <= indices[-1]:
            raise TrajectoryError(
                f"{location}: frame {index} is not later than the one before, {indices[-1]}; "
                "sort the poses by frame"
            )
        indices.append(index)
        poses.append(pose)
    return indices, poses, columns == 13


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


def read_trajectory(
    path: str | Path, stamps_ns: Sequence[int] | None = None, fps: float = 10.0
) -> Trajectory:
    """Read a TUM or KITTI file; see `is_tum`, `read_tum` and `read_kitti`."""
    return read_tum(path) if is_tum(path) else read_kitti(path, stamps_ns, fps)


def is_tum(path: str | Path) -> bool:
    """Whether a trajectory file is in the TUM format, by the columns of its first line.

    Raises:
        TrajectoryError: the file cannot be read, holds no pose, or has the columns of no format.
    """
    for location, words in _data_lines(Path(path)):
        if len(words) not in (8, 12, 13):
            raise TrajectoryError(
                f"{location}: {len(words)} columns, expected 8 (TUM: stamp tx ty tz qx qy qz qw), "
                "12 (KITTI) or 13 (KITTI with the frame index in front)"
            )
        return len(words) == 8
    raise TrajectoryError(f"{path} holds no pose")


def associate(
    first: Trajectory, second: Trajectory, max_difference_ns: int = 10_000_000
) -> tuple[Indices, Indices]:
    """Pair the poses of two trajectories by time.

    Every pose of the shorter trajectory takes the nearest one of the longer; if two take the same,
    the nearer keeps it. Pairs further apart than the maximum are dropped.

    Returns:
        Two increasing index arrays of equal length >= 1, into ``first`` and ``second``.

    Raises:
        TrajectoryError: no pair is close enough.
    """
    if len(first) > len(second):
        in_second, in_first = associate(second, first, max_difference_ns)
        return in_first, in_second
    nearest = nearest_indices(second.stamps_ns, first.stamps_ns)
    difference = np.abs(second.stamps_ns[nearest] - first.stamps_ns)
    chosen: dict[int, int] = {}
    for index in np.flatnonzero(difference <= max_difference_ns):
        other = int(nearest[index])
        if other not in chosen or difference[index] < difference[chosen[other]]:
            chosen[other] = int(index)
    if not chosen:
        raise TrajectoryError(
            f"no two poses are within {max_difference_ns / _NS:g} s of each other: one trajectory "
            f"spans {_span(first)}, the other {_span(second)}; are they on the same clock?"
        )
    return np.array(list(chosen.values())), np.array(list(chosen))


def nearest_indices(stamps_ns: Stamps, query_ns: Stamps) -> Indices:
    """Index of the nearest of increasing stamps for each query time; ties take the earlier."""
    if len(stamps_ns) == 1:
        return np.zeros(len(query_ns), dtype=np.intp)
    after = np.clip(np.searchsorted(stamps_ns, query_ns), 1, len(stamps_ns) - 1)
    before = after - 1
    is_nearer = query_ns - stamps_ns[before] <= stamps_ns[after] - query_ns
    return np.where(is_nearer, before, after)


def _span(trajectory: Trajectory) -> str:
    start, end = int(trajectory.stamps_ns[0]), int(trajectory.stamps_ns[-1])
    return f"{format_stamp(start)} s to {format_stamp(end)} s"
