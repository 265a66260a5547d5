"""Priors that keep a map smooth and the explainability mask open."""

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
