"""Which pose of an estimate belongs to which true one: by time, or by the number of the frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.trajectory.segments import SEGMENT_STEP
from sfm_ros.formats.trajectory import Indices, Trajectory, associate

DEFAULT_MAX_DIFFERENCE_NS = 10_000_000
_LEAST_POSES = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """Poses of the same instants.

    Attributes:
        estimate, ground_truth: (N, 4, 4) T_world_camera each, N >= 2; their worlds may differ.
        whole_ground_truth: (M, 4, 4) all ground-truth poses, M >= N.
        in_ground_truth: (N,) which of them are compared, increasing.
        estimate_count: poses the estimate had before.
        largest_difference_ns: between the stamps of a pair; None where frames were counted.
    """

    estimate: FloatArray
    ground_truth: FloatArray
    whole_ground_truth: FloatArray
    in_ground_truth: Indices
    estimate_count: int
    largest_difference_ns: int | None

    def __len__(self) -> int:
        return len(self.in_ground_truth)

    def with_estimate(self, poses: FloatArray) -> Pairs:
        """The same instants with other poses; one for each of the whole ground truth."""
        return replace(self, estimate=poses[self.in_ground_truth], estimate_count=len(poses))

    @property
    def is_frame_by_frame(self) -> bool:
        """Whether the ground truth is a pose for each frame, and not far denser."""
        return 2 * len(self.in_ground_truth) > len(self.whole_ground_truth)

    def segment_starts(self) -> Indices | None:
        """Which pairs are every tenth frame of the sequence, though the estimate lacks some.

        None for every tenth pair, where the ground truth is far denser than the frames.
        """
        if not self.is_frame_by_frame:
            return None
        return np.flatnonzero(self.in_ground_truth % SEGMENT_STEP == 0)

    def snippet_starts(self, frames: int) -> Indices:
        """Pairs from which so many frames follow each other without a gap.

        All pairs count as consecutive where the ground truth is far denser than the frames.
        """
        count = max(len(self) - frames + 1, 0)
        if not self.is_frame_by_frame:
            return np.arange(count)
        span = self.in_ground_truth[frames - 1 :] - self.in_ground_truth[:count]
        return np.flatnonzero(span == frames - 1)


def pair_by_stamp(
    estimate: Trajectory,
    ground_truth: Trajectory,
    max_difference_ns: int = DEFAULT_MAX_DIFFERENCE_NS,
) -> Pairs:
    """Pair each pose of the shorter trajectory with the nearest in time of the longer.

    Raises:
        TrajectoryError: fewer than two poses, or pairs that are near enough.
    """
    _check_counts(estimate, ground_truth)
    in_estimate, in_ground_truth = associate(estimate, ground_truth, max_difference_ns)
    if len(in_ground_truth) < _LEAST_POSES:
        raise TrajectoryError(
            f"only one pose of the estimate is within {max_difference_ns * 1e-9:g} s of a true "
            f"one, expected at least {_LEAST_POSES}; are they on the same clock?"
        )
    difference = np.abs(estimate.stamps_ns[in_estimate] - ground_truth.stamps_ns[in_ground_truth])
    return Pairs(
        estimate=estimate.poses[in_estimate],
        ground_truth=ground_truth.poses[in_ground_truth],
        whole_ground_truth=ground_truth.poses,
        in_ground_truth=in_ground_truth,
        estimate_count=len(estimate),
        largest_difference_ns=int(difference.max()),
    )


def pair_by_index(
    estimate: Trajectory,
    ground_truth: Trajectory,
    estimate_frames: Indices | None = None,
    ground_truth_frames: Indices | None = None,
) -> Pairs:
    """Pair poses of the same frame.

    Args:
        estimate, ground_truth: the trajectories.
        estimate_frames, ground_truth_frames: number of the frame of each pose, increasing, where the file
            tells it. Where neither does, the trajectories are as long as each other.

    Raises:
        TrajectoryError: fewer than two poses or pairs, or lengths that differ where the frames of
            neither are known.
    """
    _check_counts(estimate, ground_truth)
    if (
        estimate_frames is None
        and ground_truth_frames is None
        and len(estimate) != len(ground_truth)
    ):
        raise TrajectoryError(
            f"the estimate has {len(estimate)} poses, the ground truth {len(ground_truth)}, and nothing says "
            "which belong together; expected as many, or the index of its frame in front of each "
            "line, or stamps"
        )
    mine = np.arange(len(estimate)) if estimate_frames is None else estimate_frames
    true = np.arange(len(ground_truth)) if ground_truth_frames is None else ground_truth_frames
    common, in_estimate, in_ground_truth = np.intersect1d(mine, true, return_indices=True)
    if len(common) < _LEAST_POSES:
        raise TrajectoryError(
            f"estimate (frames {mine[0]} to {mine[-1]}) and ground truth (frames {true[0]} to "
            f"{true[-1]}) share {len(common)} frames, expected at least {_LEAST_POSES}"
        )
    return Pairs(
        estimate=estimate.poses[in_estimate],
        ground_truth=ground_truth.poses[in_ground_truth],
        whole_ground_truth=ground_truth.poses,
        in_ground_truth=in_ground_truth,
        estimate_count=len(estimate),
        largest_difference_ns=None,
    )


def _check_counts(estimate: Trajectory, ground_truth: Trajectory) -> None:
    for name, trajectory in (("estimate", estimate), ("ground_truth", ground_truth)):
        if len(trajectory) < _LEAST_POSES:
            raise TrajectoryError(
                f"the {name} has {len(trajectory)} pose, expected at least {_LEAST_POSES}: there "
                "is no motion to compare"
            )
