"""Errors against known quantities: ground-truth depth and motion, and the distance driven."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.distributed import shared_count
from training.losses.photometric import mean_over_sources

_ROTATION_WEIGHT = 20.0
"""One milliradian counts as much as 2 % of the distance."""
_MIN_DISTANCE = 0.1
"""Meters added to the true distance, so that a standing car does not divide by zero."""
FAR_M = 80.0
"""What is farther is taught to be far, not how far: triangulation does not reach there."""
_SKY_M = 100.0
"""Depth from which on nothing far counts as too near."""
_QUADRATIC, _LARGE, _SLOPE = 0.05, 1.5, 0.3
"""Errors of log depth below which the loss is quadratic, and from which on it has this slope: a
semi-dense teacher has outliers, at the edges of what is near most of all. Without any slope a
bright wall that is once taken for the sky would be so forever."""
_TOO_FAR = 1.0
"""Error of log depth above which the relative error counts no more: 2.7 times too far."""
_FAR_WEIGHT = 0.5
"""Of a pixel that is far or sky: in doubt, what is bright is an obstacle."""
_SCALE_WEIGHTS = (1.0, 0.5, 0.25)
"""Of the finest scales; the coarser ones follow by themselves."""


def log_depth_error(
    depths_b1hw: list[Tensor], depth_gt_b1hw: Tensor, has_depth_b: Tensor, sky_depth: float = 0.0
) -> Tensor:
    """Mean ``|log d - log d*|`` over the known pixels, averaged over the scales.

    Args:
        depths_b1hw: predictions, any sizes not larger than the ground truth.
        depth_gt_b1hw: meters, 0 if unknown.
        has_depth_b: 0 excludes a window.
        sky_depth: meters; if above 0, the unknown pixels of a window with ground truth are sky,
            and predictions nearer than this are errors there too. View synthesis does not
            constrain a uniform sky, which could otherwise be at any depth.
    """
    in_ground_truth = has_depth_b.view(-1, 1, 1, 1) > 0
    known = (depth_gt_b1hw > 0) & in_ground_truth
    sky = (depth_gt_b1hw <= 0) & in_ground_truth & (sky_depth > 0)
    log_gt = torch.where(known, depth_gt_b1hw, 1.0).log()
    log_sky = math.log(sky_depth) if sky_depth > 0 else 0.0
    weights = torch.cat([known, sky], dim=1).to(depth_gt_b1hw.dtype)
    maps = torch.cat([weights, weights[:, :1] * log_gt], dim=1)
    total = depth_gt_b1hw.new_zeros(())
    for depth in depths_b1hw:
        reduced = F.interpolate(maps, size=depth.shape[-2:], mode="area")
        known_ratio, sky_ratio, log_sum = reduced.split(1, dim=1)
        log_depth = depth.log()
        # Against the mean over the known part of each coarse pixel.
        error = (log_depth - log_sum / known_ratio.clamp(min=1e-6)).abs() * known_ratio
        error = error + (log_sky - log_depth).clamp(min=0) * sky_ratio
        total = total + error.sum() / shared_count((known_ratio + sky_ratio).sum())
    return total / len(depths_b1hw)


def teacher_error(
    depths_b1hw: list[Tensor], depth_known_b1hw: Tensor, has_depth_b: Tensor
) -> Tensor:
    """Half robust ``|log d - log d*|``, half ``|d - d*| / d*``, over the known pixels.

    The second (abs_rel of Eigen et al. 2014) costs more where a prediction is too far: in doubt at
    the edge of an obstacle, the obstacle. Summed over scales of falling weight.
    A pixel known to be far (`FAR_M`, the sky) only costs if it is predicted too near. Coarser
    scales are compared with single pixels, because a mean over an edge is no depth of the scene.

    Args:
        depths_b1hw: predictions, finest first, meters; of more than three the first three count.
        depth_known_b1hw: meters, 0 if unknown.
        has_depth_b: 0 excludes a window.
    """
    known_b1hw = depth_known_b1hw * (has_depth_b > 0).view(-1, 1, 1, 1)
    total = depth_known_b1hw.new_zeros(())
    for weight, depth in zip(_SCALE_WEIGHTS, depths_b1hw, strict=False):
        known = F.interpolate(known_b1hw, size=depth.shape[-2:], mode="nearest-exact")
        counts = known > 0
        error = depth.log() - torch.where(counts, known.clamp(max=_SKY_M), 1.0).log()
        is_far = known > FAR_M
        too_near = _FAR_WEIGHT * _huber((-error).clamp(min=0))
        cost = torch.where(is_far, too_near, _robust(error))
        cost = torch.where(counts, cost, 0.0)
        total = total + weight * cost.sum() / shared_count(counts.sum())
    return total


def _robust(error: Tensor) -> Tensor:
    size, relative = error.abs(), error.clamp(max=_TOO_FAR).expm1().abs()
    both = 0.5 * (_huber(size.clamp(max=_LARGE)) + _huber(relative))
    return both + _SLOPE * (size - _LARGE).clamp(min=0)


def _huber(size: Tensor) -> Tensor:
    return torch.where(
        size < _QUADRATIC, size.square() / (2 * _QUADRATIC), size - 0.5 * _QUADRATIC
    )


def motion_error(T_bs44: Tensor, T_gt_bs44: Tensor, has_motion_b: Tensor) -> Tensor:
    """Translation error relative to the distance, plus the weighted rotation error.

    The rotation error is the chord ``|R - R*|_F / sqrt(2) = 2 sin(angle / 2)``, whose gradient is
    finite everywhere.
    """
    distance = T_gt_bs44[..., :3, 3].norm(dim=-1)
    translation_error = soft_norm(T_bs44[..., :3, 3] - T_gt_bs44[..., :3, 3])
    rotation_error = soft_norm((T_bs44 - T_gt_bs44)[..., :3, :3].flatten(-2)) * 0.5**0.5
    error_bs = translation_error / (distance + _MIN_DISTANCE) + _ROTATION_WEIGHT * rotation_error
    return mean_over_sources(error_bs, (has_motion_b > 0).unsqueeze(1).expand_as(error_bs))


def velocity_loss(T_bs44: Tensor, distance_bs: Tensor) -> Tensor:
    """Mean ``| |t| - known distance |`` over the windows whose distance is known.

    The velocity supervision of Guizilini et al. 2020 (3D Packing for Self-Supervised Monocular
    Depth Estimation): a speedometer suffices to give depth and motion their meters.

    Args:
        T_bs44: predicted motion between the target and each source.
        distance_bs: meters, NaN if unknown.

    Returns:
        Meters; 0 if nothing is known.
    """
    known = torch.isfinite(distance_bs)
    error = (soft_norm(T_bs44[..., :3, 3]) - torch.where(known, distance_bs, 0.0)).abs()
    return torch.where(known, error, 0.0).sum() / shared_count(known.sum())


def soft_norm(vector: Tensor, softness: float = 1e-6) -> Tensor:
    """Euclidean norm over the last axis, zero with a zero gradient at the origin."""
    return (vector.square().sum(dim=-1) + softness**2).sqrt() - softness
