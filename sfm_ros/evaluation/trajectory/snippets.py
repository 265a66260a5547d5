"""Errors over short snippets, as published by SfMLearner and its successors, and their baselines.

A snippet is a few consecutive frames with its own scale, taken from the ground truth: these
figures contain almost no information about drift or scale, and saturate. They exist because
published tables use them. Never print one without the baselines, which use no image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.formats.trajectory import Indices
from sfm_ros.geometry import se3_log

FORWARD_OPTICAL = (0.0, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SnippetError:
    """Mean and population standard deviation over all snippets of ``frames`` frames."""

    frames: int
    count: int
    mean: float
    std: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.std:.4f}"


def snippet_ate(
    poses: FloatArray, ground_truth: FloatArray, frames: int = 5, starts: Indices | None = None
) -> SnippetError:
    """SfMLearner's trajectory error over all snippets of a few consecutive frames.

    In each snippet both trajectories are expressed in its first camera and the estimate is
    multiplied by one least-squares scale. The error is ``sqrt(sum of squares) / frames``: the
    root is taken before dividing, so it is sqrt(frames) smaller than a root mean square. Published
    tables use this definition.

    Args:
        poses, ground_truth: (N, 4, 4) T_world_camera of the same consecutive frames.
        frames: length of a snippet; the literature uses 5 and 3.
        starts: indices at which snippets start; by default all N - frames + 1.

    Raises:
        TrajectoryError: fewer poses than one snippet, different counts, or no start.
    """
    starts = _check(poses, ground_truth, frames, starts)
    estimate, gt = (_snippets(p, frames, starts)[..., :3, 3] for p in (poses, ground_truth))
    dot = np.sum(gt * estimate, axis=(1, 2))
    square = np.sum(estimate**2, axis=(1, 2))
    scale = np.divide(dot, square, out=np.zeros_like(dot), where=square > 0)
    residual = gt - scale[:, None, None] * estimate
    return _summary(np.sqrt(np.sum(residual**2, axis=(1, 2))) / frames, frames)


def snippet_re(
    poses: FloatArray, ground_truth: FloatArray, frames: int = 5, starts: Indices | None = None
) -> SnippetError:
    """The rotation error published by SfMLearner's PyTorch successors, in radians.

    In each snippet both trajectories are expressed in its first camera; the error is the sum of
    the angles between ground-truth and estimated rotations, divided by the number of frames
    including the first one, whose angle is zero. Arguments and errors are those of `snippet_ate`.
    """
    starts = _check(poses, ground_truth, frames, starts)
    estimate, gt = (_snippets(p, frames, starts)[..., :3, :3] for p in (poses, ground_truth))
    between = gt @ np.linalg.inv(estimate)
    twice_sine = np.linalg.norm(
        np.stack([between[..., i, j] - between[..., j, i] for i, j in ((0, 1), (1, 2), (0, 2))]),
        axis=0,
    )
    twice_cosine = np.trace(between, axis1=-2, axis2=-1) - 1
    return _summary(np.arctan2(twice_sine, twice_cosine).sum(axis=1) / frames, frames)


def _check(
    poses: FloatArray, ground_truth: FloatArray, frames: int, starts: Indices | None
) -> npt.NDArray[np.intp]:
    if len(poses) != len(ground_truth) or len(poses) < frames:
        raise TrajectoryError(
            f"{len(poses)} poses for {len(ground_truth)} ground-truth poses, expected equal "
            f"counts of at least the {frames} frames of a snippet"
        )
    if starts is None:
        return np.arange(len(poses) - frames + 1)
    if not len(starts):
        raise TrajectoryError(f"there are no {frames} consecutive frames without a gap")
    return starts


def _summary(errors: FloatArray, frames: int) -> SnippetError:
    return SnippetError(
        frames=frames, count=len(errors), mean=float(errors.mean()), std=float(errors.std())
    )


def _snippets(poses: FloatArray, frames: int, starts: Indices) -> FloatArray:
    """(S, frames, 4, 4) poses of each snippet in its first camera."""
    first_inverse = np.linalg.inv(poses[starts])
    return np.stack([first_inverse @ poses[starts + k] for k in range(frames)], axis=1)


def straight_line(
    count: int, step: float = 1.0, forward: tuple[float, float, float] = FORWARD_OPTICAL
) -> FloatArray:
    """The straight line baseline (count, 4, 4): the same step in each frame.

    ``forward`` is a unit vector in the axes of the poses.
    """
    return _constant_velocity(count, step * np.array(forward))


def mean_motion(ground_truth: FloatArray) -> FloatArray:
    """The mean motion baseline (N, 4, 4), N >= 2, which includes the tilt of the camera.

    The mean of the linear part of log(T_prev_curr), applied in each frame without rotation: left
    and right turns cancel over a data set.
    """
    velocities = np.array([se3_log(T_prev_curr)[:3] for T_prev_curr in increments(ground_truth)])
    return _constant_velocity(len(ground_truth), velocities.mean(axis=0))


def increments(poses: FloatArray) -> FloatArray:
    """(N - 1, 4, 4) T_prev_curr of (N, 4, 4) T_world_camera."""
    return np.linalg.inv(poses[:-1]) @ poses[1:]


def _constant_velocity(count: int, velocity: FloatArray) -> FloatArray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, 3] = np.arange(count)[:, None] * velocity
    return poses
