"""Camera poses over time; stamps are integer nanoseconds, never floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray, read_only
from sfm_ros.errors import TrajectoryError
from sfm_ros.formats.time_units import NS, in_nanoseconds, parse_number

_LEAST_MATCHES = 2
"""Images with a pose: one of them shows no motion."""

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
    return in_nanoseconds(parse_number(text))


def format_stamp(stamp_ns: int) -> str:
    """Seconds with nine decimals, the exact inverse of `parse_stamp`."""
    seconds, rest = divmod(abs(stamp_ns), NS)
    return f"{'-' if stamp_ns < 0 else ''}{seconds}.{rest:09d}"


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
            f"no two poses are within {max_difference_ns / NS:g} s of each other: one trajectory "
            f"spans {_span(first)}, the other {_span(second)}; are they on the same clock?"
        )
    return np.array(list(chosen.values())), np.array(list(chosen))


def nearest_poses(
    trajectory: Trajectory, stamps_ns: Sequence[int] | Stamps, max_difference_ns: int
) -> list[FloatArray | None]:
    """The pose (4, 4) nearest in time to each stamp; None if none is within the maximum."""
    query_ns = np.array(stamps_ns, dtype=np.int64)
    nearest = nearest_indices(trajectory.stamps_ns, query_ns)
    is_near = np.abs(trajectory.stamps_ns[nearest] - query_ns) <= max_difference_ns
    return [
        trajectory.poses[index] if near else None
        for index, near in zip(nearest, is_near, strict=True)
    ]


def named_poses(
    trajectory: Trajectory, stamps_ns: Sequence[int] | Stamps, max_difference_ns: int, name: str
) -> list[FloatArray | None]:
    """`nearest_poses` of ground truth that a user named, which is used or is an error.

    Raises:
        TrajectoryError: of several images not even two have a pose; both time ranges are named.
    """
    found = nearest_poses(trajectory, stamps_ns, max_difference_ns)
    count = sum(pose is not None for pose in found)
    if count < min(len(stamps_ns), _LEAST_MATCHES):
        images = _range(int(np.min(stamps_ns)), int(np.max(stamps_ns)))
        raise TrajectoryError(
            f"{name}: {count} of the {len(stamps_ns)} images have a pose within "
            f"{max_difference_ns / NS:g} s of their time: the poses are from {_span(trajectory)}, "
            f"the images from {images}; are they on the same clock?"
        )
    return found


def nearest_indices(stamps_ns: Stamps, query_ns: Stamps) -> Indices:
    """Index of the nearest of increasing stamps for each query time; ties take the earlier."""
    if len(stamps_ns) == 1:
        return np.zeros(len(query_ns), dtype=np.intp)
    after = np.clip(np.searchsorted(stamps_ns, query_ns), 1, len(stamps_ns) - 1)
    before = after - 1
    is_nearer = query_ns - stamps_ns[before] <= stamps_ns[after] - query_ns
    return np.where(is_nearer, before, after)


def _span(trajectory: Trajectory) -> str:
    return _range(int(trajectory.stamps_ns[0]), int(trajectory.stamps_ns[-1]))


def _range(start_ns: int, end_ns: int) -> str:
    return f"{format_stamp(start_ns)} s to {format_stamp(end_ns)} s"
