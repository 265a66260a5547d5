"""From what came of a run and what is known of the ground truth to figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.depth.metrics import DepthSetMetrics, summarize
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.result import DepthSnapshot, RunResult
from sfm_ros.evaluation.trajectory.alignment import align_trajectories
from sfm_ros.evaluation.trajectory.association import Pairs, pair_by_stamp
from sfm_ros.evaluation.trajectory.metrics import (
    SNIPPET_LENGTHS,
    OdometryMetrics,
    evaluate_pairs,
    path_length,
    position_errors,
)
from sfm_ros.evaluation.trajectory.score import (
    TrajectoryScore,
    score_as_json,
    score_trajectory,
)
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import rotation_angle

ALIGNMENT = "7dof"
"""How the figures of the summary are aligned: a camera does not know its scale nor its origin."""
OTHER_ALIGNMENTS = ("6dof", "origin_scale", "origin")
_LEAST_POSES = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PathScore:
    """How good a trajectory is.

    Attributes:
        score: errors after alignment by a similarity, beside the floors; None where unknown.
        others: errors with other alignments, by their name.
        problem: why there are no errors; None where there are.
        path: (N, 3) estimated positions: laid over the ground truth where it is known, else as estimated.
        ground_truth_trajectory: (N, 3) true positions of the same instants, first camera at the origin; or None.
        distance_m: (N,) true way from the start to each of them; empty without a ground truth.
        errors_m: (N,) distance from the true position after alignment; empty without a ground truth.
        errors_deg: (N,) angle from the true turn since the first pose; empty without a ground truth. Not
            after alignment: that of a straight path leaves the turn about it open.
    """

    score: TrajectoryScore | None
    others: dict[str, OdometryMetrics]
    problem: str | None
    path: FloatArray
    ground_truth_trajectory: FloatArray | None = None
    distance_m: FloatArray
    errors_m: FloatArray
    errors_deg: FloatArray


def score_path(estimate: Trajectory | None, ground_truth: GroundTruthTrajectory) -> PathScore:
    """Score a trajectory; trouble with it or with the ground truth is told in ``problem``."""
    pairs, problem = _pair(estimate, ground_truth)
    nothing = np.zeros(0)
    if pairs is None:
        path = np.zeros((0, 3)) if estimate is None else estimate.positions
        return PathScore(
            score=None,
            others={},
            problem=problem,
            path=path,
            distance_m=nothing,
            errors_m=nothing,
            errors_deg=nothing,
        )
    aligned, from_start = (
        align_trajectories(pairs.estimate, pairs.ground_truth, a) for a in (ALIGNMENT, "origin")
    )
    steps = np.linalg.norm(np.diff(aligned.ground_truth[:, :3, 3], axis=0), axis=1)
    return PathScore(
        score=score_trajectory(pairs, ALIGNMENT),
        others={name: evaluate_pairs(pairs, name) for name in OTHER_ALIGNMENTS},
        problem=None,
        path=aligned.poses[:, :3, 3],
        ground_truth_trajectory=aligned.ground_truth[:, :3, 3],
        distance_m=np.concatenate([[0.0], np.cumsum(steps)]),
        errors_m=position_errors(aligned.poses, aligned.ground_truth),
        errors_deg=_angles(from_start.poses, from_start.ground_truth),
    )


def _pair(
    estimate: Trajectory | None, ground_truth: GroundTruthTrajectory
) -> tuple[Pairs | None, str | None]:
    if ground_truth.trajectory is None:
        return None, ground_truth.problem or "no ground-truth trajectory is known"
    if estimate is None:
        return None, "no odometry came back"
    try:
        pairs = pair_by_stamp(estimate, ground_truth.trajectory)
    except TrajectoryError as error:
        return None, str(error)
    if len(pairs) < _LEAST_POSES:
        return None, f"only {len(pairs)} poses can be compared, expected at least {_LEAST_POSES}"
    return pairs, None


def _angles(poses: FloatArray, ground_truth: FloatArray) -> FloatArray:
    between = np.swapaxes(ground_truth[:, :3, :3], 1, 2) @ poses[:, :3, :3]
    return np.rad2deg([rotation_angle(R) for R in between])


def score_depth(
    snapshots: tuple[DepthSnapshot, ...],
) -> tuple[DepthSetMetrics, DepthSetMetrics] | None:
    """Errors over the frames with a ground truth: scaled by each one's ratio of medians, and unscaled.

    Returns:
        Two `DepthSetMetrics`, or None where no frame has a ground truth.
    """
    compared = [s for s in snapshots if s.scaled is not None and s.unscaled is not None]
    scaled = [s.scaled for s in compared if s.scaled is not None]
    unscaled = [s.unscaled for s in compared if s.unscaled is not None]
    if not scaled:
        return None
    ratios = [errors.scale for errors in scaled]
    return summarize(scaled, ratios), summarize(unscaled, ratios)


def path_figures(estimate: Trajectory | None, scored: PathScore) -> dict[str, Any]:
    """Figures of a trajectory for the summary; without a ground truth only its own length."""
    own = {"estimated_path_length": None if estimate is None else path_length(estimate.poses)}
    if scored.score is None:
        return own
    whole, baseline = scored.score.estimate, scored.score.baselines["straight_line"]
    frames = SNIPPET_LENGTHS[0]
    mine, its = whole.snippet_ates.get(frames), baseline.snippet_ates.get(frames)
    length, ate = whole.path_length_m, whole.ate_rmse_m
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
        "ate_without_scale_m": scored.others["6dof"].ate_rmse_m,
        "snippet_ate_mean": None if mine is None else mine.mean,
        "snippet_ate_std": None if mine is None else mine.std,
        "straight_line_ate_mean": None if its is None else its.mean,
        "straight_line_ate_std": None if its is None else its.std,
    }


def depth_figures(snapshots: tuple[DepthSnapshot, ...]) -> dict[str, Any]:
    """Figures of the depth for the summary; empty without a ground truth."""
    found = score_depth(snapshots)
    if found is None:
        return {}
    scaled, unscaled = found
    return {
        "depth_abs_rel": scaled.mean.abs_rel,
        "depth_abs_rel_unscaled": unscaled.mean.abs_rel,
        "depth_rmse_m": scaled.mean.rmse,
        "depth_a1": scaled.mean.a1,
        "depth_frames": scaled.images,
        "depth_scale_median": scaled.scale_median,
        "depth_scale_spread": scaled.scale_spread,
    }


def metrics_as_json(
    result: RunResult, scored: PathScore, ground_truth: GroundTruthTrajectory
) -> dict[str, Any]:
    """Everything that was measured and does not depend on how long anything took.

    Of the same input, model and configuration always the same, to the last bit.
    """
    depth = score_depth(result.snapshots)
    words = [interval.status for interval in result.intervals]
    health = {
        status: sum(s.frames for s in result.intervals if s.status == status)
        for status in dict.fromkeys(words)
    }
    return {
        "frames": result.frames,
        "frames_lost": result.frames_lost,
        "frames_rejected": result.rejected,
        "health_frames": health,
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far two runs over the same frames are apart.

    Attributes:
        poses: that both have.
        only_one: that only one of them has.
        position, rotation_deg: the largest differences, in published units and degrees.
    """

    poses: int
    only_one: int
    position: float
    rotation_deg: float


def compare_runs(first: Trajectory | None, second: Trajectory | None) -> Agreement | None:
    """Compare poses with exactly the same stamps; None where there are none."""
    if first is None or second is None:
        return None
    common, in_first, in_second = np.intersect1d(
        first.stamps_ns, second.stamps_ns, return_indices=True
    )
    if not len(common):
        return None
    mine, its = first.poses[in_first], second.poses[in_second]
    return Agreement(
        poses=len(common),
        only_one=len(first) + len(second) - 2 * len(common),
        position=float(np.abs(mine[:, :3, 3] - its[:, :3, 3]).max()),
        rotation_deg=float(_angles(mine, its).max()),
    )
