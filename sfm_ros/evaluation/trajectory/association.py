"""Pairs poses of an estimate with ground-truth poses, by stamp or by frame index."""

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
    """Paired poses.

    Attributes:
        estimate, ground_truth: (N, 4, 4) T_world_camera each, N >= 2; their world frames may
            differ.
        whole_ground_truth: (M, 4, 4) all ground-truth poses, M >= N.
        in_ground_truth: (N,) indices of the compared poses in it, increasing.
        estimate_count: poses of the estimate before pairing.
        largest_difference_ns: between the stamps of a pair; None if paired by index.
    """

    estimate: FloatArray
    ground_truth: FloatArray
    whole_ground_truth: FloatArray
    in_ground_truth: Indices
    estimate_count: int
    largest_difference_ns: int | None = None

    def __len__(self) -> int:
        return len(self.in_ground_truth)

    def with_estimate(self, poses: FloatArray) -> Pairs:
        """The same pairs with another estimate, (M, 4, 4): one pose for each ground-truth pose."""
        return replace(self, estimate=poses[self.in_ground_truth], estimate_count=len(poses))

    @property
    def is_frame_by_frame(self) -> bool:
        """Whether the ground truth has one pose per frame, rather than a much higher rate."""
        return 2 * len(self.in_ground_truth) > len(self.whole_ground_truth)

    def segment_starts(self) -> Indices | None:
        """Pairs at every tenth frame of the sequence, even if the estimate lacks some frames.

        None (every tenth pair) if the ground truth has a much higher rate than the frames.
        """
        if not self.is_frame_by_frame:
            return None
        return np.flatnonzero(self.in_ground_truth % SEGMENT_STEP == 0)

    def snippet_starts(self, frames: int) -> Indices:
        """Pairs that start a run of ``frames`` consecutive frames.

        All pairs count as consecutive if the ground truth has a much higher rate than the frames.
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
    """Pair each pose of the shorter trajectory with the nearest in time of the longer one.

    Raises:
        TrajectoryError: fewer than two poses, or fewer than two pairs.
    """
    _check_counts(estimate, ground_truth)
    in_estimate, in_ground_truth = associate(estimate, ground_truth, max_difference_ns)
    if len(in_ground_truth) < _LEAST_POSES:
        raise TrajectoryError(
            f"only one pose of the estimate is within {max_difference_ns * 1e-9:g} s of a pose "
            f"of the ground truth, expected at least {_LEAST_POSES}; are they on the same clock?"
        )
    difference = np.abs(estimate.stamps_ns[in_estimate] - ground_truth.stamps_ns[in_ground_truth])
    pairs = _pairs(estimate, ground_truth, in_estimate, in_ground_truth)
    return replace(pairs, largest_difference_ns=int(difference.max()))


def pair_by_index(
    estimate: Trajectory,
    ground_truth: Trajectory,
    estimate_frames: Indices | None = None,
    ground_truth_frames: Indices | None = None,
) -> Pairs:
    """Pair poses of the same frame, by the increasing frame index of each pose.

    None if the file has no indices; if neither has, the trajectories must have equal lengths.

    Raises:
        TrajectoryError: fewer than two poses or pairs, or lengths that differ while the frame
            indices of neither are known.
    """
    _check_counts(estimate, ground_truth)
    without_frames = estimate_frames is None and ground_truth_frames is None
    if without_frames and len(estimate) != len(ground_truth):
        raise TrajectoryError(
            f"the estimate has {len(estimate)} poses, the ground truth {len(ground_truth)}, and "
            "neither has frame indices or stamps to pair them by; expected equal counts, or the "
            "frame index in front of each line"
        )
    first = np.arange(len(estimate)) if estimate_frames is None else estimate_frames
    second = np.arange(len(ground_truth)) if ground_truth_frames is None else ground_truth_frames
    common, in_estimate, in_ground_truth = np.intersect1d(first, second, return_indices=True)
    if len(common) < _LEAST_POSES:
        raise TrajectoryError(
            f"estimate (frames {first[0]} to {first[-1]}) and ground truth (frames {second[0]} to "
            f"{second[-1]}) have {len(common)} frames in common, expected at least {_LEAST_POSES}"
        )
    return _pairs(estimate, ground_truth, in_estimate, in_ground_truth)


def _pairs(
    estimate: Trajectory, ground_truth: Trajectory, in_estimate: Indices, in_ground_truth: Indices
) -> Pairs:
    return Pairs(
        estimate=estimate.poses[in_estimate],
        ground_truth=ground_truth.poses[in_ground_truth],
        whole_ground_truth=ground_truth.poses,
        in_ground_truth=in_ground_truth,
        estimate_count=len(estimate),
    )


def _check_counts(estimate: Trajectory, ground_truth: Trajectory) -> None:
    for name, trajectory in (("estimate", estimate), ("ground truth", ground_truth)):
        if len(trajectory) < _LEAST_POSES:
            raise TrajectoryError(
                f"the {name} has {len(trajectory)} pose, expected at least {_LEAST_POSES} "
                "to have a motion to compare"
            )
