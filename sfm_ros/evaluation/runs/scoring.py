"""Scores a run against the ground truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.depth.metrics import DepthSetMetrics, summarize
from sfm_ros.evaluation.runs.depth_baselines import depth_remark
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.result import DepthSnapshot, RunResult
from sfm_ros.evaluation.trajectory.alignment import align_trajectories
from sfm_ros.evaluation.trajectory.association import (
    DEFAULT_MAX_DIFFERENCE_NS,
    Pairs,
    pair_by_stamp,
)
from sfm_ros.evaluation.trajectory.consistency import Consistency, score_consistency
from sfm_ros.evaluation.trajectory.metrics import (
    SNIPPET_LENGTHS,
    OdometryMetrics,
    evaluate_pairs,
    path_length,
    position_errors,
)
from sfm_ros.evaluation.trajectory.score import (
    UNALIGNED,
    TrajectoryScore,
    score_as_json,
    score_trajectory,
)
from sfm_ros.evaluation.trajectory.segments import distance_travelled
from sfm_ros.formats.trajectory import Trajectory, associate
from sfm_ros.geometry import rotation_angle

ALIGNMENT = "7dof"
"""Alignment of the summary's figures: a camera observes neither its scale nor its origin."""
OTHER_ALIGNMENTS = ("6dof", "origin_scale")
AS_PUBLISHED, AFTER_SIM3 = "as published", "after Sim(3) alignment"
"""Paths and their errors in figures."""
_MIN_POSES = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PathScore:
    """The errors of a trajectory.

    Attributes:
        score: errors after alignment by a similarity, and of the baselines; None if unknown.
        others: errors with other alignments, by their name.
        consistency: errors in units of their covariance; None if it is unknown.
        problem: why there are no errors; None if there are.
        path: (N, 3) estimated positions as published, from the first camera if the ground truth
            is known.
        aligned: the same after alignment by a similarity; None without ground truth.
        ground_truth_trajectory: (N, 3) ground-truth positions of the same stamps, first camera at
            the origin; or None.
        distance_m: (N,) distance traveled from the start; empty without ground truth.
        errors_m: (N,) errors of the positions as published; empty without ground truth.
        aligned_errors_m: the same after alignment.
        errors_deg: (N,) errors of the rotation since the first pose; empty without ground truth.
            They are not aligned, because the alignment of a straight path leaves the rotation
            about it undetermined.
    """

    score: TrajectoryScore | None = None
    others: dict[str, OdometryMetrics] = field(default_factory=dict)
    consistency: Consistency | None = None
    problem: str | None = None
    path: FloatArray
    aligned: FloatArray | None = None
    ground_truth_trajectory: FloatArray | None = None
    distance_m: FloatArray = field(default_factory=lambda: np.zeros(0))
    errors_m: FloatArray = field(default_factory=lambda: np.zeros(0))
    aligned_errors_m: FloatArray = field(default_factory=lambda: np.zeros(0))
    errors_deg: FloatArray = field(default_factory=lambda: np.zeros(0))

    def by_alignment(self) -> dict[str, OdometryMetrics]:
        """The errors of the trajectory by their alignment; empty if they are unknown."""
        return {} if self.score is None else {ALIGNMENT: self.score.estimate, **self.others}

    @property
    def straight_line(self) -> dict[str, OdometryMetrics]:
        """The errors of that baseline with `ALIGNMENT` and `UNALIGNED`; empty if unknown."""
        if self.score is None:
            return {}
        line = self.score.baselines["straight_line"]
        return {ALIGNMENT: line, UNALIGNED: self.score.unaligned_line}

    def paths(self, unit: str) -> dict[str, FloatArray]:
        """What to draw, by label: the path as published, in this unit, and the aligned one."""
        if self.aligned is None:
            return {AS_PUBLISHED: self.path}
        published = AS_PUBLISHED if unit == "m" else f"{AS_PUBLISHED}, in {unit}"
        return {published: self.path, AFTER_SIM3: self.aligned}


def score_path(
    estimate: Trajectory | None,
    ground_truth: GroundTruthTrajectory,
    covariances: FloatArray | None = None,
) -> PathScore:
    """Score a trajectory; if it cannot be scored, ``problem`` holds the reason.

    ``covariances`` (N, 6, 6) are those of its poses, in the ground truth's unit.
    """
    pairs, problem = _pair(estimate, ground_truth)
    if pairs is None:
        path = np.zeros((0, 3)) if estimate is None else estimate.positions
        return PathScore(problem=problem, path=path)
    aligned, from_start = (
        align_trajectories(pairs.estimate, pairs.ground_truth, a) for a in (ALIGNMENT, UNALIGNED)
    )
    score = score_trajectory(pairs, ALIGNMENT)
    others = {name: evaluate_pairs(pairs, name) for name in OTHER_ALIGNMENTS}
    return PathScore(
        score=score,
        others={**others, UNALIGNED: score.unaligned},
        consistency=_consistency(estimate, ground_truth.trajectory, covariances),
        path=from_start.poses[:, :3, 3],
        aligned=aligned.poses[:, :3, 3],
        ground_truth_trajectory=aligned.ground_truth[:, :3, 3],
        distance_m=distance_travelled(aligned.ground_truth),
        errors_m=position_errors(from_start.poses, from_start.ground_truth),
        aligned_errors_m=position_errors(aligned.poses, aligned.ground_truth),
        errors_deg=_angles(from_start.poses, from_start.ground_truth),
    )


def _consistency(
    estimate: Trajectory | None,
    ground_truth: Trajectory | None,
    covariances: FloatArray | None,
) -> Consistency | None:
    if estimate is None or ground_truth is None or covariances is None:
        return None
    matched, in_ground_truth = associate(estimate, ground_truth, DEFAULT_MAX_DIFFERENCE_NS)
    return score_consistency(
        estimate.poses[matched], ground_truth.poses[in_ground_truth], covariances[matched]
    )


def _pair(
    estimate: Trajectory | None, ground_truth: GroundTruthTrajectory
) -> tuple[Pairs | None, str | None]:
    if ground_truth.trajectory is None:
        return None, ground_truth.problem or "no ground-truth trajectory is known"
    if estimate is None:
        return None, "the run has no odometry"
    try:
        pairs = pair_by_stamp(estimate, ground_truth.trajectory)
    except TrajectoryError as error:
        return None, str(error)
    if len(pairs) < _MIN_POSES:
        return None, f"only {len(pairs)} poses can be compared, expected at least {_MIN_POSES}"
    return pairs, None


def _angles(poses: FloatArray, ground_truth: FloatArray) -> FloatArray:
    between = np.swapaxes(ground_truth[:, :3, :3], 1, 2) @ poses[:, :3, :3]
    return np.rad2deg([rotation_angle(R) for R in between])


def score_depth(
    snapshots: tuple[DepthSnapshot, ...],
) -> tuple[DepthSetMetrics, DepthSetMetrics] | None:
    """Depth errors scaled by each frame's ratio of medians, and unscaled.

    They are means over the frames with ground truth; None if there is no such frame.
    """
    scaled = [s.scaled for s in snapshots if s.scaled is not None]
    unscaled = [s.unscaled for s in snapshots if s.unscaled is not None]
    if not scaled:
        return None
    ratios = [errors.scale for errors in scaled]
    return summarize(scaled, ratios), summarize(unscaled, ratios)


def path_figures(
    estimate: Trajectory | None, scored: PathScore, is_metric: bool = True
) -> dict[str, Any]:
    """Figures of a trajectory for the summary; without ground truth only its own length.

    Those with the lengths as published are None unless the lengths are meters.
    """
    own = {"estimated_path_length": None if estimate is None else path_length(estimate.poses)}
    if scored.score is None:
        return own
    whole, baseline = scored.score.estimate, scored.score.baselines["straight_line"]
    frames = SNIPPET_LENGTHS[0]
    snippets, line = whole.snippet_ates.get(frames), baseline.snippet_ates.get(frames)
    length, ate = whole.path_length_m, whole.ate_rmse_m
    unaligned, consistency = scored.score.unaligned, scored.consistency
    words = scored.score.remark(is_metric)
    return {
        **own,
        "path_length_m": length,
        "ate_m": ate,
        "ate_percent_of_path": 100 * ate / length if ate is not None and length > 0 else None,
        "t_err_percent": whole.t_err_percent,
        "r_err_deg_per_100m": whole.r_err_deg_per_100m,
        "rpe_m": whole.rpe_trans_m,
        "relative_pose_error_deg": whole.rpe_rot_deg,
        "sim3_scale": whole.scale,
        "ate_unaligned_m": unaligned.ate_rmse_m if is_metric else None,
        "t_err_unaligned_percent": unaligned.t_err_percent if is_metric else None,
        "scale_error_percent": scored.score.scale_error_percent if is_metric else None,
        "trajectory_remark": words if is_metric or words is None else f"{AFTER_SIM3}: {words}",
        "nees_per_dimension": None if consistency is None else consistency.mean_nees,
        "ate_without_scale_m": scored.others["6dof"].ate_rmse_m,
        "snippet_ate_mean": None if snippets is None else snippets.mean,
        "snippet_ate_std": None if snippets is None else snippets.std,
        "straight_line_ate_mean": None if line is None else line.mean,
        "straight_line_ate_std": None if line is None else line.std,
    }


def depth_figures(snapshots: tuple[DepthSnapshot, ...], is_metric: bool = True) -> dict[str, Any]:
    """Figures of the depth for the summary; empty without ground truth.

    It is compared with the baselines unscaled, or median-scaled unless the depth is in meters.
    """
    found = score_depth(snapshots)
    if found is None:
        return {}
    scaled, unscaled = found
    words = depth_remark(snapshots, "none" if is_metric else "median")
    return {
        "depth_abs_rel": scaled.mean.abs_rel,
        "depth_abs_rel_unscaled": unscaled.mean.abs_rel,
        "depth_remark": words if is_metric or words is None else f"median-scaled: {words}",
        "depth_rmse_m": scaled.mean.rmse,
        "depth_a1": scaled.mean.a1,
        "depth_frames": scaled.images,
        "depth_scale_median": scaled.scale_median,
        "depth_scale_spread": scaled.scale_spread,
    }


def metrics_as_json(
    result: RunResult, scored: PathScore, ground_truth: GroundTruthTrajectory
) -> dict[str, Any]:
    """All figures that do not depend on how long anything took.

    The same input, model and configuration give the same values, to the last bit.
    """
    depth = score_depth(result.snapshots)
    health = Counter[str]()
    for interval in result.intervals:
        health[interval.status] += interval.frames
    return {
        "frames": result.frames,
        "frames_lost": result.frames_lost,
        "frames_rejected": result.rejected,
        "health_frames": health,
        "scale_source": result.scale_source.value,
        "depth_flicker": result.depth_flicker,
        "nees_per_dimension": None if scored.consistency is None else scored.consistency.mean_nees,
        "estimated_path_length": path_figures(result.estimate, scored)["estimated_path_length"],
        "odometry_ground_truth": ground_truth.name,
        "odometry_not_available": scored.problem,
        "odometry": None if scored.score is None else score_as_json(scored.score),
        "odometry_other_alignments": {
            name: {"ate_m": m.ate_rmse_m, "t_err_percent": m.t_err_percent, "scale": m.scale}
            for name, m in scored.others.items()
        },
        "depth_frames": 0 if depth is None else depth[0].images,
        "depth_scaled_by_median": None if depth is None else _depth_as_json(depth[0]),
        "depth_unscaled": None if depth is None else _depth_as_json(depth[1]),
    }


def _depth_as_json(figures: DepthSetMetrics) -> dict[str, float]:
    return {
        **asdict(figures.mean),
        "scale_median": figures.scale_median,
        "scale_spread": figures.scale_spread,
    }


def compare_runs(first: Trajectory | None, second: Trajectory | None) -> dict[str, Any] | None:
    """The difference of two runs, of poses with exactly the same stamps; None if there are none.

    The largest differences are in published units and degrees.
    """
    if first is None or second is None:
        return None
    common, in_first, in_second = np.intersect1d(
        first.stamps_ns, second.stamps_ns, return_indices=True
    )
    if not len(common):
        return None
    poses, others = first.poses[in_first], second.poses[in_second]
    return {
        "poses": len(common),
        "poses_of_only_one": len(first) + len(second) - 2 * len(common),
        "largest_difference": float(np.abs(poses[:, :3, 3] - others[:, :3, 3]).max()),
        "largest_difference_deg": float(_angles(poses, others).max()),
    }
