"""Alignment of an estimated trajectory with the ground truth.

Two families of tools compare trajectories and use the same words for different things.

* The TUM RGB-D tools and their successor evo keep the world frames of the files: ``none``,
  ``scale``, ``se3`` and ``sim3`` are evo's none, ``-s``, ``-a`` and ``-as``.
* The KITTI odometry tools first express each trajectory in its own first camera (the first common
  pose becomes the identity): ``origin`` does only that; ``origin_scale``, ``6dof`` and ``7dof``
  continue from there. For ``6dof`` and ``7dof`` the change of world frame alone would cancel out;
  its only effect is the rounding of the rotations in the files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.geometry import make_transform

ALIGNMENTS = ("none", "scale", "se3", "sim3", "origin", "origin_scale", "6dof", "7dof")
"""Alignment methods, see `align_trajectories`."""
REBASED = ("origin", "origin_scale", "6dof", "7dof")
"""Methods that start with each trajectory in its own first camera."""
FITTED = ("se3", "sim3", "6dof", "7dof")
"""Methods that fit a rigid motion or a similarity to the positions; they need three poses."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AlignedTrajectories:
    """An estimate aligned with the ground truth.

    Attributes:
        poses: (N, 4, 4) aligned estimate.
        ground_truth: (N, 4, 4) ground truth in the world frame of the comparison.
        scale: factor applied to the translations of the estimate.
    """

    poses: FloatArray
    ground_truth: FloatArray
    scale: float


def align_trajectories(
    poses: FloatArray, ground_truth: FloatArray, alignment: str
) -> AlignedTrajectories:
    """Align estimated poses with the ground-truth poses of the same stamps.

    * ``none``: unchanged.
    * ``scale``: only the scale of the best similarity (`umeyama`).
    * ``se3``, ``sim3``: the best rigid motion, or similarity, of the positions: translations are
      multiplied by the scale, then the rigid part is applied from the left.
    * ``origin``: each trajectory in its own first camera.
    * ``origin_scale``: ``origin``, then the scale sum(gt * estimate) / sum(estimate^2).
    * ``6dof``, ``7dof``: ``origin``, then as ``se3`` and ``sim3``.

    Args:
        poses, ground_truth: (N, 4, 4) T_world_camera.
        alignment: one of `ALIGNMENTS`.

    Raises:
        TrajectoryError: unknown alignment.
    """
    if alignment in REBASED:
        # Not the transpose: files round rotations, and the first pose must become the identity.
        poses, ground_truth = (
            np.linalg.inv(poses[0]) @ poses,
            np.linalg.inv(ground_truth[0]) @ ground_truth,
        )
    aligned, scale = align(poses, ground_truth, alignment)
    return AlignedTrajectories(poses=aligned, ground_truth=ground_truth, scale=scale)


def align(poses: FloatArray, ground_truth: FloatArray, alignment: str) -> tuple[FloatArray, float]:
    """The fit of `align_trajectories`, without the change to the first camera.

    Returns:
        (N, 4, 4) aligned poses, and the scale.

    Raises:
        TrajectoryError: unknown alignment.
    """
    if alignment not in ALIGNMENTS:
        raise TrajectoryError(
            f"the alignment is '{alignment}', expected one of {', '.join(ALIGNMENTS)}"
        )
    if alignment in ("none", "origin"):
        return poses, 1.0
    result = np.array(poses)
    if alignment == "origin_scale":
        scale = least_squares_scale(poses[:, :3, 3], ground_truth[:, :3, 3])
        result[:, :3, 3] *= scale
        return result, scale
    with_scale = alignment in ("scale", "sim3", "7dof")
    scale, R, t = umeyama(poses[:, :3, 3], ground_truth[:, :3, 3], with_scale)
    result[:, :3, 3] *= scale
    return (result if alignment == "scale" else make_transform(R, t) @ result), scale


def umeyama(
    source: FloatArray, target: FloatArray, with_scale: bool
) -> tuple[float, FloatArray, FloatArray]:
    """Least-squares similarity ``target ~ s R source + t`` (Umeyama 1991, equations 34 to 42).

    For collinear points the rotation about their line is arbitrary; for coincident points the
    scale is 1.

    Args:
        source, target: (N, 3) corresponding points.
        with_scale: if False, s = 1.

    Returns:
        s, R (3, 3), t (3,).
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_centered, target_centered = source - source_mean, target - target_mean
    covariance = target_centered.T @ source_centered / len(source)
    U, singular, Vt = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt))])
    R = U @ np.diag(signs) @ Vt
    variance = np.mean(np.sum(source_centered**2, axis=1))
    scale = float(singular @ signs / variance) if with_scale and variance > 0 else 1.0
    return scale, R, target_mean - scale * R @ source_mean


def least_squares_scale(estimate: FloatArray, ground_truth: FloatArray) -> float:
    """The scale s that minimizes |ground truth - s estimate|^2; 0 for an estimate of zeros."""
    denominator = float(np.sum(estimate**2))
    return float(np.sum(ground_truth * estimate)) / denominator if denominator > 0 else 0.0
