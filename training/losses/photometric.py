"""How far a synthesised view is from the picture it should be. All float32, RGB in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_C1 = 0.01**2
_C2 = 0.03**2


@dataclass(frozen=True, slots=True)
class LocalMoments:
    """Pictures (..., c, h, w) with their 3x3 local mean and variance, reused over the sources."""

    image: Tensor
    mean: Tensor
    variance: Tensor


def box_mean(image: Tensor) -> Tensor:
    """Mean of each 3x3 neighbourhood of (..., c, h, w), the picture reflected at its border."""
    # Sums of shifted views: on a CPU several times as fast as avg_pool2d, which took a fifth of a
    # training step.
    padded = F.pad(image.flatten(0, -4), (1, 1, 1, 1), mode="reflect")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return (total * (1 / 9)).view_as(image)


def local_moments(image: Tensor) -> LocalMoments:
    """Local mean and variance of pictures (..., c, h, w)."""
    mean = box_mean(image)
    return LocalMoments(image, mean, box_mean(image.square()) - mean.square())


def ssim(x: LocalMoments, y: LocalMoments) -> Tensor:
    """Structural similarity (Wang et al. 2004) per channel and pixel, in [-1, 1]; SSIM(x, x) = 1.

    Uniform 3x3 windows and population moments, as Monodepth and its descendants use it. The shapes
    of ``x`` and ``y`` broadcast.
    """
    product = x.mean * y.mean
    covariance = box_mean(x.image * y.image) - product
    numerator = (2 * product + _C1) * (2 * covariance + _C2)
    squares = x.mean.square() + y.mean.square()
    return numerator / ((squares + _C1) * (x.variance + y.variance + _C2))


def photometric_error(
    target: LocalMoments, views_bschw: Tensor, *, l1_weight: float, ssim_weight: float
) -> Tensor:
    """``l1_weight * |target - view| + ssim_weight * (1 - SSIM) / 2``, mean of the channels.

    Args:
        target: the pictures to match, (b, 1, c, h, w).
        views_bschw: a synthesised view a source.

    Returns:
        (b, s, h, w), not negative.
    """
    error = views_bschw.new_zeros(())
    if l1_weight:
        error = error + l1_weight * (target.image - views_bschw).abs().mean(dim=2)
    if ssim_weight:
        similarity = ssim(target, local_moments(views_bschw)).mean(dim=2)
        error = error + ssim_weight * (0.5 * (1 - similarity))
    return error


def mean_over_sources(error_bshw: Tensor, valid_bshw: Tensor) -> Tensor:
    """Mean over all sources and pixels that see the target (Zhou et al. eq. 1, normalised)."""
    weight = valid_bshw.to(error_bshw.dtype)
    return (error_bshw * weight).sum() / weight.sum().clamp(min=1)


def minimum_over_sources(
    error_bshw: Tensor, valid_bshw: Tensor, still_error_bshw: Tensor | None
) -> Tensor:
    """Per-pixel minimum reprojection (Godard et al. 2019), optionally auto-masked.

    A pixel hidden in one source is usually seen in another. With ``still_error_bshw``, the
    error of the unmoved sources, a pixel which no motion explains better than standing still adds
    a constant: it teaches nothing (cars that drive along, a stopped camera, the sky).
    """
    unseen = torch.finfo(error_bshw.dtype).max
    best = torch.where(valid_bshw, error_bshw, unseen).amin(dim=1)
    if still_error_bshw is not None:
        return torch.minimum(best, still_error_bshw.amin(dim=1)).mean()
    seen = valid_bshw.any(dim=1)
    return torch.where(seen, best, 0.0).sum() / seen.sum().clamp(min=1)
