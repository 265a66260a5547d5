"""From what came of a run and what is known of the truth to figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.depth.metrics import DepthSetMetrics, summarise
from sfm_ros.evaluation.runs.ground_truth import TruePath
from sfm_ros.evaluation.runs.result import DepthSnapshot, Outcome
from sfm_ros.evaluation.trajectory.alignment import lay_over
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
        path: (N, 3) estimated positions: laid over the truth where it is known, else as estimated.
        true_path: (N, 3) true positions of the same instants, first camera at the origin; or None.
        distance_m: (N,) true way from the start to each of them; empty without a truth.
        errors_m: (N,) distance from the true position after alignment; empty without a truth.
        errors_deg: (N,) angle from the true turn since the first pose; empty without a truth. Not
            after alignment: that of a straight path leaves the turn about it open.
    """

    score: TrajectoryScore | None
    others: dict[str, OdometryMetrics]
    problem: str | None
    path: FloatArray
    true_path: FloatArray | None = None
    distance_m: FloatArray
    errors_m: FloatArray
    errors_deg: FloatArray


def score_path(estimate: Trajectory | None, truth: TruePath) -> PathScore:
    """Score a trajectory; trouble with it or with the truth is told in ``problem``."""
    pairs, problem = _pair(estimate, truth)
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
    laid, from_start = (lay_over(pairs.estimate, pairs.truth, a) for a in (ALIGNMENT, "origin"))
    steps = np.linalg.norm(np.diff(laid.truth[:, :3, 3], axis=0), axis=1)
    return PathScore(
        score=score_trajectory(pairs, ALIGNMENT),
        others={name: evaluate_pairs(pairs, name) for name in OTHER_ALIGNMENTS},
        problem=None,
        path=laid.poses[:, :3, 3],
        true_path=laid.truth[:, :3, 3],
        distance_m=np.concatenate([[0.0], np.cumsum(steps)]),
        errors_m=position_errors(laid.poses, laid.truth),
        errors_deg=_angles(from_start.poses, from_start.truth),
    )


def _pair(estimate: Trajectory | None, truth: TruePath) -> tuple[Pairs | None, str | None]:
    if truth.trajectory is None:
        return None, truth.problem or "no true path is known"
    if estimate is None:
        return None, "no odometry came back"
    try:
        pairs = pair_by_stamp(estimate, truth.trajectory)
    except TrajectoryError as error:
        return None, str(error)
    if len(pairs) < _LEAST_POSES:
        return None, f"only {len(pairs)} poses can be compared, expected at least {_LEAST_POSES}"
    return pairs, None


def _angles(poses: FloatArray, truth: FloatArray) -> FloatArray:
    between = np.swapaxes(truth[:, :3, :3], 1, 2) @ poses[:, :3, :3]
    return np.rad2deg([rotation_angle(R) for R in between])


def score_depth(
    snapshots: tuple[DepthSnapshot, ...],
) -> tuple[DepthSetMetrics, DepthSetMetrics] | None:
    """Errors over the frames with a truth: scaled by each one's ratio of medians, and unscaled.

    Returns:
        Two `DepthSetMetrics`, or None where no frame has a truth.
    """
    compared = [s for s in snapshots if s.scaled is not None and s.unscaled is not None]
    scaled = [s.scaled for s in compared if s.scaled is not None]
    unscaled = [s.unscaled for s in compared if s.unscaled is not None]
    if not scaled:
        return None
    ratios = [errors.scale for errors in scaled]
    return summarise(scaled, ratios), summarise(unscaled, ratios)


def path_figures(estimate: Trajectory | None, scored: PathScore) -> dict[str, Any]:
    """Figures of a trajectory for the summary; without a truth only its own length."""
    own = {"estimated_path_length": None if estimate is None else path_length(estimate.poses)}
    if scored.score is None:
        return own
    whole, floor = scored.score.estimate, scored.score.floors["straight_line"]
    frames = SNIPPET_LENGTHS[0]
    mine, its = whole.snippet_ates.get(frames), floor.snippet_ates.get(frames)
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
    """Figures of the depth for the summary; empty without a truth."""
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


def metrics_as_json(outcome: Outcome, scored: PathScore, truth: TruePath) -> dict[str, Any]:
    """Everything that was measured and does not depend on how long anything took.

    Of the same input, model and configuration always the same, to the last bit.
    """
    depth = score_depth(outcome.snapshots)
    words = [spell.status for spell in outcome.spells]
    health = {
        status: sum(s.frames for s in outcome.spells if s.status == status)
        for status in dict.fromkeys(words)
    }
    return {
        "frames": outcome.frames,
        "frames_lost": outcome.frames_lost,
        "frames_rejected": outcome.rejected,
        "health_frames": health,
        "estimated_path_length": path_figures(outcome.estimate, scored)["estimated_path_length"],
        "odometry_truth": truth.name,
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
