"""Errors of an estimated trajectory, in the standard metrics of visual odometry.

* **ATE**: root mean square of the position errors of the whole trajectory, after alignment.
* **RPE**: error of the motion from one pose to the next.
* **t_err, r_err**: the KITTI odometry benchmark: mean drift over all segments of 100 to 800 m.
* **snippet ATE and RE**: the figures of SfMLearner and its successors, see `snippets`.

The baselines of each metric are trajectories that use no image: `straight_line` and
`mean_motion`.

Poses are inverted as general matrices: files round rotations to six digits, and the published
programs, whose figures these functions reproduce to the last digit, do the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.evaluation.trajectory.alignment import FITTED, align_trajectories
from sfm_ros.evaluation.trajectory.association import (
    DEFAULT_MAX_DIFFERENCE_NS,
    Pairs,
    pair_by_stamp,
)
from sfm_ros.evaluation.trajectory.segments import by_length, segment_errors, trace_angles
from sfm_ros.evaluation.trajectory.snippets import (
    FORWARD_OPTICAL,
    SnippetError,
    increments,
    mean_motion,
    snippet_ate,
    snippet_re,
    straight_line,
)
from sfm_ros.formats.trajectory import Trajectory

SNIPPET_LENGTHS = (5, 3)
_LEAST_FITTED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class OdometryMetrics:
    """Errors of one trajectory.

    Attributes:
        alignment: one of `ALIGNMENTS`.
        scale: factor applied to the translations of the estimate.
        pair_count: compared poses.
        path_length_m: length of the ground-truth trajectory through these poses.
        ate_rmse_m: root mean square position error; None if the alignment is a fit to fewer than
            three poses.
        rpe_trans_m, rpe_rot_deg: mean error from one compared pose to the next.
        rpe_trans_rmse_m, rpe_rot_rmse_deg: root mean square of the same.
        t_err_percent, r_err_deg_per_100m: KITTI drift; None if the path has no segment.
        segments: length in meters -> (t_err, r_err) of the segments of that length.
        snippet_ates, snippet_res: frames per snippet -> error in meters and radians; lengths
            without a snippet are omitted.
    """

    alignment: str
    scale: float
    pair_count: int
    path_length_m: float
    ate_rmse_m: float | None
    rpe_trans_m: float
    rpe_rot_deg: float
    rpe_trans_rmse_m: float
    rpe_rot_rmse_deg: float
    t_err_percent: float | None
    r_err_deg_per_100m: float | None
    segments: dict[int, tuple[float, float]]
    snippet_ates: dict[int, SnippetError]
    snippet_res: dict[int, SnippetError]


def main_figures(metrics: OdometryMetrics) -> dict[str, float | None]:
    """t_err, r_err, ATE RMSE and mean RPE, by their keys in JSON."""
    return {
        "t_err_percent": metrics.t_err_percent,
        "r_err_deg_per_100m": metrics.r_err_deg_per_100m,
        "ate_m": metrics.ate_rmse_m,
        "rpe_m": metrics.rpe_trans_m,
        "rpe_deg": metrics.rpe_rot_deg,
    }


def evaluate_odometry(
    estimate: Trajectory,
    ground_truth: Trajectory,
    alignment: str = "sim3",
    max_difference_ns: int = DEFAULT_MAX_DIFFERENCE_NS,
) -> OdometryMetrics:
    """`evaluate_pairs` of trajectories on one clock, see `pair_by_stamp`."""
    return evaluate_pairs(pair_by_stamp(estimate, ground_truth, max_difference_ns), alignment)


def evaluate_pairs(pairs: Pairs, alignment: str) -> OdometryMetrics:
    """All errors of paired poses; TrajectoryError if the alignment is not one of `ALIGNMENTS`."""
    aligned = align_trajectories(pairs.estimate, pairs.ground_truth, alignment)
    segments = segment_errors(aligned.poses, aligned.ground_truth, pairs.segment_starts())
    drift = np.array(segments)[:, 1:].mean(axis=0) if segments else None
    errors = position_errors(aligned.poses, aligned.ground_truth)
    lengths, angles = relative_errors(aligned.poses, aligned.ground_truth)
    is_fit_trivial = alignment in FITTED and len(pairs) < _LEAST_FITTED
    starts = {n: found for n in SNIPPET_LENGTHS if len(found := pairs.snippet_starts(n))}
    return OdometryMetrics(
        alignment=alignment,
        scale=aligned.scale,
        pair_count=len(pairs),
        path_length_m=path_length(pairs.ground_truth),
        ate_rmse_m=None if is_fit_trivial else _rms(errors),
        rpe_trans_m=float(lengths.mean()),
        rpe_rot_deg=float(angles.mean()),
        rpe_trans_rmse_m=_rms(lengths),
        rpe_rot_rmse_deg=_rms(angles),
        t_err_percent=None if drift is None else float(drift[0]),
        r_err_deg_per_100m=None if drift is None else float(drift[1]),
        segments=by_length(segments),
        snippet_ates={
            n: snippet_ate(pairs.estimate, pairs.ground_truth, n, starts[n]) for n in starts
        },
        snippet_res={
            n: snippet_re(pairs.estimate, pairs.ground_truth, n, starts[n]) for n in starts
        },
    )


def baseline_pairs(
    pairs: Pairs, forward: tuple[float, float, float] = FORWARD_OPTICAL
) -> dict[str, Pairs]:
    """The same pairs with the estimates of the baselines, which use no image.

    Both start at the first ground-truth pose and move once per ground-truth pose:
    ``straight_line`` by the mean step ``forward``, ``mean_motion`` by the mean motion.
    """
    whole = pairs.whole_ground_truth
    return {
        "straight_line": straight_line_pairs(pairs, forward),
        "mean_motion": pairs.with_estimate(whole[0] @ mean_motion(whole)),
    }


def straight_line_pairs(
    pairs: Pairs, forward: tuple[float, float, float] = FORWARD_OPTICAL
) -> Pairs:
    """The same pairs with the estimate of the straight line, see `baseline_pairs`."""
    whole = pairs.whole_ground_truth
    step = path_length(whole) / (len(whole) - 1)
    return pairs.with_estimate(whole[0] @ straight_line(len(whole), step, forward))


def path_length(poses: FloatArray) -> float:
    """Length of the path through the positions of (N, 4, 4) poses."""
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def position_errors(poses: FloatArray, ground_truth: FloatArray) -> FloatArray:
    """(N,) distances of (N, 4, 4) aligned poses from the ground-truth positions."""
    return np.linalg.norm(poses[:, :3, 3] - ground_truth[:, :3, 3], axis=1)


def relative_errors(poses: FloatArray, ground_truth: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(N - 1,) errors of the motion from each pose to the next: lengths, and angles in degrees.

    With ground-truth motion T and estimated motion E, those of ``inverse(T) @ E``.
    """
    errors = np.linalg.inv(increments(ground_truth)) @ increments(poses)
    return np.linalg.norm(errors[:, :3, 3], axis=1), np.rad2deg(trace_angles(errors))


def _rms(errors: FloatArray) -> float:
    return float(np.sqrt(np.mean(errors**2)))
