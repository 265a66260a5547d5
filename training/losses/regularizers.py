"""Priors that keep a map smooth and the explainability mask open."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def second_order(map_b1hw: Tensor) -> Tensor:
    """Mean absolute second differences (Zhou et al. section 3.3), the mixed ones counted twice.

    The paper applies it to "the predicted depth maps"; its published code and results use the
    disparity. A plane has no second differences in disparity, and far pixels do not dominate.
    """
    dx, dy = _dx(map_b1hw), _dy(map_b1hw)
    return _dx(dx).abs().mean() + 2 * _dy(dx).abs().mean() + _dy(dy).abs().mean()


def edge_aware(map_b1hw: Tensor, image_b3hw: Tensor) -> Tensor:
    """First differences of a mean-normalized map, discounted at the edges of the image.

    ``|dx d*| exp(-|dx I|) + |dy d*| exp(-|dy I|)`` with ``d* = d / mean(d)``, so that the term
    cannot be lowered by shrinking all disparities.
    """
    normalized = map_b1hw / map_b1hw.mean(dim=(2, 3), keepdim=True).clamp(min=1e-7)
    weight_x = (-_dx(image_b3hw).abs().mean(dim=1, keepdim=True)).exp()
    weight_y = (-_dy(image_b3hw).abs().mean(dim=1, keepdim=True)).exp()
    return (_dx(normalized).abs() * weight_x).mean() + (_dy(normalized).abs() * weight_y).mean()


def mask_cross_entropy(mask_logits_bshw: Tensor) -> Tensor:
    """Mean cross-entropy of the explainability mask towards 1 (Zhou et al. section 3.3).

    Without it E = 0 would be the best mask.
    """
    return F.softplus(-mask_logits_bshw).mean()


def _dx(image: Tensor) -> Tensor:
    return image[..., :, 1:] - image[..., :, :-1]


def _dy(image: Tensor) -> Tensor:
    return image[..., 1:, :] - image[..., :-1, :]
