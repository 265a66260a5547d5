"""Errors against what is known: ground-truth depth and motion (synthetic), the way that was driven."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from training.distributed import shared_count

_ROTATION_WEIGHT = 20.0
"""One milliradian counts as much as 2 % of the way."""
_TRANSLATION_FLOOR = 0.1
"""Meters added to the true way, so that a standing car does not divide by zero."""


def log_depth_error(
    depths_b1hw: list[Tensor],
    depth_gt_b1hw: Tensor,
    has_depth_b: Tensor,
    sky_depth: float = 0.0,
) -> Tensor:
    """Mean ``|log d - log d*|`` over the known pixels, averaged over the scales.

    Args:
        depths_b1hw: predictions, any sizes that are not larger than the ground truth.
        depth_gt_b1hw: meters, 0 where unknown.
        has_depth_b: 0 leaves a window out.
        sky_depth: meters; where above 0, the unknown pixels of a window with ground truth are sky, and
            predictions nearer than this are errors there too. No view synthesis teaches the sky:
            without this, an even sky comes out wherever the network likes.
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
        size = (depth.shape[-2], depth.shape[-1])
        share, sky_share, wanted = F.interpolate(maps, size=size, mode="area").split(1, dim=1)
        log_depth = depth.log()
        # The mean over the known part of each coarse pixel.
        error = (log_depth - wanted / share.clamp(min=1e-6)).abs() * share
        error = error + (log_sky - log_depth).clamp(min=0) * sky_share
        total = total + error.sum() / shared_count((share + sky_share).sum())
    return total / len(depths_b1hw)


def motion_error(T_bs44: Tensor, T_gt_bs44: Tensor, has_motion_b: Tensor) -> Tensor:
    """Translation error relative to the way, plus the weighted rotation angle between the two.

    The angle is taken as the chord ``|R - R*|_F / sqrt(2) = 2 sin(angle / 2)``, whose gradient is
    finite everywhere.
    """
    way = T_gt_bs44[..., :3, 3].norm(dim=-1)
    missed = _norm(T_bs44[..., :3, 3] - T_gt_bs44[..., :3, 3])
    turned = _norm((T_bs44 - T_gt_bs44)[..., :3, :3].flatten(-2)) * 0.5**0.5
    error_bs = missed / (way + _TRANSLATION_FLOOR) + _ROTATION_WEIGHT * turned
    weight = (has_motion_b > 0).to(error_bs.dtype).unsqueeze(1).expand_as(error_bs)
    return (error_bs * weight).sum() / shared_count(weight.sum())


def velocity_loss(T_bs44: Tensor, distance_bs: Tensor) -> Tensor:
    """Mean ``| |t| - known way |`` over the windows whose way is known.

    The velocity supervision of Guizilini et al. 2020 (3D Packing for Self-Supervised Monocular
    Depth Estimation): a speedometer is enough to give depth and motion their meters.

    Args:
        T_bs44: predicted motion between the target and each source.
        distance_bs: meters, NaN where unknown.

    Returns:
        Meters; 0 where nothing is known.
    """
    known = torch.isfinite(distance_bs)
    missed = (_norm(T_bs44[..., :3, 3]) - torch.where(known, distance_bs, 0.0)).abs()
    return torch.where(known, missed, 0.0).sum() / shared_count(known.sum())


def _norm(vector: Tensor, softness: float = 1e-6) -> Tensor:
    """Euclidean norm over the last axis, zero with a zero gradient at the origin."""
    return (vector.square().sum(dim=-1) + softness**2).sqrt() - softness
