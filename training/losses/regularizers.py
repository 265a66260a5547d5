"""Priors: smooth maps, an open explainability mask, and depths of two frames that agree.

The geometry consistency is that of Bian et al. 2019 (Unsupervised Scale-consistent Depth and
Ego-motion Learning from Monocular Video, NeurIPS). Without it, every image may have a scale of
its own.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def second_order(map_b1hw: Tensor) -> Tensor:
    """Mean absolute second differences (Zhou et al. section 3.3), the mixed ones counted twice.

    The paper applies it to "the predicted depth maps"; its published code and results use the
    disparity. A plane has no second differences in disparity, and far pixels do not dominate.
    """
    dx, dy = map_b1hw.diff(dim=-1), map_b1hw.diff(dim=-2)
    dxx, dxy, dyy = dx.diff(dim=-1), dx.diff(dim=-2), dy.diff(dim=-2)
    return dxx.abs().mean() + 2 * dxy.abs().mean() + dyy.abs().mean()


def edge_aware(map_b1hw: Tensor, image_b3hw: Tensor) -> Tensor:
    """First differences of a mean-normalized map, discounted at the edges of the image.

    ``|dx d*| exp(-|dx I|) + |dy d*| exp(-|dy I|)`` with ``d* = d / mean(d)``, so that the term
    cannot be lowered by shrinking all disparities.
    """
    normalized = map_b1hw / map_b1hw.mean(dim=(2, 3), keepdim=True).clamp(min=1e-7)
    errors = []
    for dim in (-1, -2):
        weight = (-image_b3hw.diff(dim=dim).abs().mean(dim=1, keepdim=True)).exp()
        errors.append((normalized.diff(dim=dim).abs() * weight).mean())
    return errors[0] + errors[1]


def mask_cross_entropy(mask_logits_bshw: Tensor) -> Tensor:
    """Mean cross-entropy of the explainability mask towards 1 (Zhou et al. section 3.3).

    Without it E = 0 would be the best mask.
    """
    return F.softplus(-mask_logits_bshw).mean()


def depth_inconsistency(projected_bshw: Tensor, predicted_bshw: Tensor) -> Tensor:
    """``D_diff = |D^a_b - D'_b| / (D^a_b + D'_b)`` of Bian et al. eq. 5, in [0, 1).

    The ratio is the same for depths and for their inverses. The inverses are used because those
    of a plane are affine over the image, so that sampling between pixels is exact.

    Args:
        projected_bshw: inverse depth of the target's points in the source camera (D^a_b).
        predicted_bshw: inverse depth that the source's own prediction has there (D'_b).
    """
    return (projected_bshw - predicted_bshw).abs() / (projected_bshw + predicted_bshw)


def consistency_mask(inconsistency_bshw: Tensor) -> Tensor:
    """The self-discovered mask ``M = 1 - D_diff`` (Bian et al. eq. 7), in (0, 1].

    Moving objects and occluded points contradict the other frame's depth and so count for less.
    It carries no gradient: inconsistent depths must not lower a photometric error.
    """
    return 1 - inconsistency_bshw.detach()
