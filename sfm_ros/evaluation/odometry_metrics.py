"""How far an estimated trajectory is from the truth, in the measures the field compares itself by.

* **ATE**: root mean square of the position errors of the whole trajectory, after alignment.
* **RPE**: mean error of the motion from one pose to the next.
* **t_err, r_err**: the KITTI odometry benchmark: mean drift over all segments of 100 to 800 m.
* **snippet ATE**: what SfMLearner and its successors print; see `snippet_ate` for its peculiarity.

The floor of each is a trajectory that looks at no picture: `straight_line` and `mean_motion`.

Poses are inverted as general matrices: files round rotations to six digits, and the published
programs, whose figures these functions reproduce to the last digit, do the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.geometry import make_transform, se3_log
from sfm_ros.trajectory import Indices, Trajectory, associate

SEGMENT_LENGTHS_M = (100, 200, 300, 400, 500, 600, 700, 800)
_SEGMENT_STEP = 10

ALIGNMENTS = ("none", "scale", "se3", "sim3", "6dof", "7dof")
"""Ways to lay an estimate over the truth, see `align`."""
_FITTED = ("se3", "sim3")


@dataclass(frozen=True, kw_only=True, slots=True)
class OdometryMetrics:
    """Errors of one trajectory.

    Attributes:
        alignment: how it was laid over the truth, one of `ALIGNMENTS`.
        scale: factor the estimate's lengths were multiplied with; 1 for ``none`` and ``se3``.
        pair_count: poses compared.
        path_length_m: length of the true path through these poses.
        ate_rmse_m: root mean square position error.
        rpe_trans_m, rpe_rot_deg: mean error from one compared pose to the next; None for one pose.
        t_err_percent, r_err_deg_per_100m: KITTI drift; None where the path is shorter than 100 m.
        segments: length in metres -> (t_err, r_err) of the segments of that length.
    """

    alignment: str
    scale: float
    pair_count: int
    path_length_m: float
    ate_rmse_m: float
    rpe_trans_m: float | None
    rpe_rot_deg: float | None
    t_err_percent: float | None
    r_err_deg_per_100m: float | None
    segments: dict[int, tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class SnippetAte:
    """Mean and population standard deviation of the error of all snippets of ``frames`` frames."""

    frames: int
    count: int
    mean: float
    std: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f}"


def evaluate_odometry(
    estimate: Trajectory,
    truth: Trajectory,
    alignment: str = "sim3",
    max_difference_ns: int = 10_000_000,
) -> OdometryMetrics:
    """All whole-trajectory errors of an estimate.

    Args:
        estimate, truth: T_world_camera over time, on one clock; their worlds may differ.
        alignment: one of `ALIGNMENTS`. All but ``se3`` and ``sim3`` first express both
            trajectories in their own first camera; for ``6dof`` and ``7dof`` only the rounding in
            the file makes a difference.
        max_difference_ns: how far apart in time two poses may be to be compared.

    Raises:
        TrajectoryError: unknown alignment, or no two poses near enough in time.
    """
    in_estimate, in_truth = associate(estimate, truth, max_difference_ns)
    compared, true = estimate.select(in_estimate), truth.select(in_truth)
    if alignment not in _FITTED:
        compared, true = compared.rebased(), true.rebased()
    gt = true.poses
    aligned, scale = align(compared.poses, gt, alignment)
    segments = segment_errors(aligned, gt, _segment_starts(in_truth, len(truth)))
    drift = np.array(segments)[:, 1:].mean(axis=0) if segments else None
    rpe = relative_pose_error(aligned, gt)
    return OdometryMetrics(
        alignment=alignment,
        scale=scale,
        pair_count=len(gt),
        path_length_m=path_length(gt),
        ate_rmse_m=ate_rmse(aligned, gt),
        rpe_trans_m=None if rpe is None else rpe[0],
        rpe_rot_deg=None if rpe is None else rpe[1],
        t_err_percent=None if drift is None else float(drift[0]),
        r_err_deg_per_100m=None if drift is None else float(drift[1]),
        segments=_by_length(segments),
    )


def umeyama(
    source: FloatArray, target: FloatArray, with_scale: bool
) -> tuple[float, FloatArray, FloatArray]:
    """Least-squares similarity ``target ~ s R source + t`` (Umeyama 1991, equations 34 to 42).

    For points on one line the turn about that line is arbitrary; for points in one place the scale
    is 1.

    Args:
        source, target: (N, 3) corresponding points.
        with_scale: False keeps s = 1.

    Returns:
        s, R (3, 3), t (3,).
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_centred, target_centred = source - source_mean, target - target_mean
    covariance = target_centred.T @ source_centred / len(source)
    U, singular, Vt = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    R = U @ np.diag(signs) @ Vt
    variance = np.mean(np.sum(source_centred**2, axis=1))
    scale = float(singular @ signs / variance) if with_scale and variance > 0 else 1.0
    return scale, R, target_mean - scale * R @ source_mean


def align(poses: FloatArray, truth: FloatArray, alignment: str) -> tuple[FloatArray, float]:
    """Lay estimated poses over the true ones.

    ``none`` changes nothing; ``scale`` multiplies the translations by the least-squares factor
    sum(gt * estimate) / sum(estimate^2); ``se3`` or ``6dof``, and ``sim3`` or ``7dof`` with scale,
    fit the positions by `umeyama`, scale the translations and apply the rigid part from the left.

    Args:
        poses, truth: (N, 4, 4) T_world_camera of the same instants. For ``scale`` both start at
            the identity.
        alignment: one of `ALIGNMENTS`.

    Returns:
        (N, 4, 4) aligned poses, and the factor.

    Raises:
        TrajectoryError: unknown alignment.
    """
    if alignment not in ALIGNMENTS:
        raise TrajectoryError(
            f"the alignment is '{alignment}', expected one of {', '.join(ALIGNMENTS)}"
        )
    if alignment == "none":
        return poses, 1.0
    result = np.array(poses)
    if alignment == "scale":
        scale = least_squares_scale(poses[:, :3, 3], truth[:, :3, 3])
        result[:, :3, 3] *= scale
        return result, scale
    with_scale = alignment in ("sim3", "7dof")
    scale, R, t = umeyama(poses[:, :3, 3], truth[:, :3, 3], with_scale)
    result[:, :3, 3] *= scale
    return make_transform(R, t) @ result, scale


def least_squares_scale(estimate: FloatArray, truth: FloatArray) -> float:
    """The factor s that minimises |truth - s estimate|^2; 0 for an estimate of zeros."""
    denominator = float(np.sum(estimate**2))
    return float(np.sum(truth * estimate)) / denominator if denominator > 0 else 0.0


def path_length(poses: FloatArray) -> float:
    """Length of the path through the positions of (N, 4, 4) poses."""
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def ate_rmse(poses: FloatArray, truth: FloatArray) -> float:
    """Absolute trajectory error: root mean square distance of aligned (N, 4, 4) poses."""
    errors = poses[:, :3, 3] - truth[:, :3, 3]
    return float(np.sqrt(np.mean(np.sum(errors**2, axis=1))))


def relative_pose_error(poses: FloatArray, truth: FloatArray) -> tuple[float, float] | None:
    """Mean error of the motion from each pose to the next: length, and angle in degrees.

    None where there is only one pose.
    """
    if len(poses) < 2:
        return None
    errors = np.linalg.inv(_increments(truth)) @ _increments(poses)
    distances = np.linalg.norm(errors[:, :3, 3], axis=1)
    return float(distances.mean()), float(np.rad2deg(_angles(errors)).mean())


def segment_errors(
    poses: FloatArray, truth: FloatArray, starts: Indices | None = None
) -> list[tuple[int, float, float]]:
    """Drift over each segment of the KITTI odometry benchmark (Geiger et al. 2012).

    A segment starts at every tenth pose and ends at the first pose whose true path from there is
    longer than 100, 200, ... 800 m.

    Args:
        poses, truth: (N, 4, 4) of the same instants.
        starts: indices at which segments start; by default every tenth.

    Returns:
        (length m, t_err percent, r_err degrees per 100 m) of each segment; empty for short paths.
    """
    steps = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1)
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    inverse_poses, inverse_truth = np.linalg.inv(poses), np.linalg.inv(truth)
    found = []
    for first in range(0, len(truth), _SEGMENT_STEP) if starts is None else starts:
        for length in SEGMENT_LENGTHS_M:
            last = int(np.searchsorted(distance, distance[first] + length, side="right"))
            if last == len(truth):
                break
            true_motion = inverse_truth[first] @ truth[last]
            error = np.linalg.inv(inverse_poses[first] @ poses[last]) @ true_motion
            t_err = float(np.linalg.norm(error[:3, 3])) / length * 100
            r_err = float(np.rad2deg(_angles(error[None])[0])) / length * 100
            found.append((length, t_err, r_err))
    return found


def _segment_starts(in_truth: Indices, truth_count: int) -> Indices | None:
    """Which compared poses are every tenth frame of the sequence, though the estimate lacks some.

    None where the truth is not a pose for each frame but far denser.
    """
    is_frame_by_frame = 2 * len(in_truth) > truth_count
    return np.flatnonzero(in_truth % _SEGMENT_STEP == 0) if is_frame_by_frame else None


def _by_length(segments: list[tuple[int, float, float]]) -> dict[int, tuple[float, float]]:
    result = {}
    for length in sorted({segment[0] for segment in segments}):
        rows = np.array([segment[1:] for segment in segments if segment[0] == length])
        result[length] = (float(rows[:, 0].mean()), float(rows[:, 1].mean()))
    return result


def _increments(poses: FloatArray) -> FloatArray:
    """(N - 1, 4, 4) T_prev_curr of (N, 4, 4) T_world_camera."""
    return np.linalg.inv(poses[:-1]) @ poses[1:]


def _angles(transforms: FloatArray) -> FloatArray:
    """Rotation angles in radians from the trace, as the benchmark's own program computes them."""
    traces = np.trace(transforms[:, :3, :3], axis1=1, axis2=2)
    return np.arccos(np.clip((traces - 1) / 2, -1.0, 1.0))


def snippet_ate(poses: FloatArray, truth: FloatArray, frames: int = 5) -> SnippetAte:
    """SfMLearner's trajectory error over all snippets of a few consecutive frames.

    In each snippet both trajectories are expressed in its first camera and the estimate is
    multiplied by one least-squares factor. The error is ``sqrt(sum of squares) / frames``: the
    root is taken before dividing, so it is sqrt(frames) smaller than a root mean square. It is
    kept that way because published tables are. It saturates: print `straight_line` beside it.

    Args:
        poses, truth: (N, 4, 4) T_world_camera of the same consecutive frames.
        frames: length of a snippet; the literature has 5 and 3.

    Raises:
        TrajectoryError: fewer poses than one snippet, or counts that differ.
    """
    if len(poses) != len(truth) or len(poses) < frames:
        raise TrajectoryError(
            f"{len(poses)} poses against {len(truth)} true ones, expected equal counts of at "
            f"least the {frames} frames of one snippet"
        )
    estimate, gt = _snippet_positions(poses, frames), _snippet_positions(truth, frames)
    dot = np.sum(gt * estimate, axis=(1, 2))
    square = np.sum(estimate**2, axis=(1, 2))
    scale = np.divide(dot, square, out=np.zeros_like(dot), where=square > 0)
    residual = gt - scale[:, None, None] * estimate
    errors = np.sqrt(np.sum(residual**2, axis=(1, 2))) / frames
    return SnippetAte(
        frames=frames, count=len(errors), mean=float(errors.mean()), std=float(errors.std())
    )


def _snippet_positions(poses: FloatArray, frames: int) -> FloatArray:
    """(N - frames + 1, frames, 3) positions of each snippet in its first camera."""
    count = len(poses) - frames + 1
    first_inverse = np.linalg.inv(poses[:count])
    return np.stack(
        [(first_inverse @ poses[k : k + count])[:, :3, 3] for k in range(frames)], axis=1
    )


def straight_line(count: int) -> FloatArray:
    """The floor "always straight ahead": one unit along the optical axis for each frame.

    Returns:
        (count, 4, 4) T_world_camera.
    """
    return _constant_velocity(count, np.array([0.0, 0.0, 1.0]))


def mean_motion(truth: FloatArray) -> FloatArray:
    """The floor "always the data set's mean motion", which knows the camera's tilt.

    The mean of the linear part of log(T_prev_curr), moved along without turning: turns to either
    side cancel over a data set.

    Args:
        truth: (N, 4, 4) true poses the mean is taken of.

    Returns:
        (N, 4, 4) T_world_camera.
    """
    velocities = np.array([se3_log(increment)[:3] for increment in _increments(truth)])
    return _constant_velocity(len(truth), velocities.mean(axis=0))


def _constant_velocity(count: int, velocity: FloatArray) -> FloatArray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 3] = np.arange(count)[:, None] * velocity
    return poses
