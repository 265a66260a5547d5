"""How far a synthesized view is from the image it should be. All float32, RGB in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from training.distributed import shared_count

_C1 = 0.01**2
_C2 = 0.03**2


@dataclass(frozen=True)
class LocalMoments:
    """Images (..., c, h, w) with their 3x3 local moments, formed on demand and kept.

    Attributes:
        image: the images.
    """

    image: Tensor

    @cached_property
    def mean(self) -> Tensor:
        """Local mean."""
        return box_mean(self.image)

    @cached_property
    def variance(self) -> Tensor:
        """Local population variance."""
        return box_mean(self.image.square()) - self.mean.square()


class _BoxMean(torch.autograd.Function):
    """Sums of shifted views, which on a CPU cost a tenth of avg_pool2d.

    The gradient is written out: left to autograd, every shifted view would fill an image of
    zeros on the way back.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        padded = F.pad(image.flatten(0, -4), (1, 1, 1, 1), mode="reflect")
        rows = (padded[..., :-2, :] + padded[..., 1:-1, :]).add_(padded[..., 2:, :])
        return _sum_columns(rows).mul_(1 / 9).view_as(image)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        padded = F.pad(gradient, (1, 1, 1, 1))
        rows = (padded[..., :-2, :] + padded[..., 1:-1, :]).add_(padded[..., 2:, :])
        # The border was reflected: what it read there belongs to the row one further in.
        rows[..., 1, :] += padded[..., 1, :]
        rows[..., -2, :] += padded[..., -2, :]
        total = _sum_columns(rows)
        total[..., 1] += rows[..., 1]
        total[..., -2] += rows[..., -2]
        return total.mul_(1 / 9)


def _sum_columns(padded: Tensor) -> Tensor:
    return (padded[..., :-2] + padded[..., 1:-1]).add_(padded[..., 2:])


def box_mean(image: Tensor) -> Tensor:
    """Mean of each 3x3 neighborhood of (..., c, h, w), the image reflected at its border."""
    return _BoxMean.apply(image)


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
        target: the images to match, (b, 1, c, h, w).
        views_bschw: a synthesized view a source.

    Returns:
        (b, s, h, w), not negative.
    """
    error = views_bschw.new_zeros(())
    if l1_weight:
        error = error + l1_weight * (views_bschw - target.image).abs().mean(dim=2)
    if ssim_weight:
        similarity = ssim(target, LocalMoments(views_bschw)).mean(dim=2)
        error = error + ssim_weight * (0.5 * (1 - similarity))
    return error


def mean_over_sources(
    error_bshw: Tensor, valid_bshw: Tensor, confidence_bshw: Tensor | None = None
) -> Tensor:
    """Mean over all sources and pixels that see the target (Zhou et al. eq. 1, normalized).

    ``confidence_bshw`` in [0, 1] lowers the error where it is doubted, not the count it is divided
    by (Zhou et al. eq. 3, Bian et al. eq. 8).
    """
    weight = valid_bshw.to(error_bshw.dtype)
    count = shared_count(weight.sum())
    if confidence_bshw is not None:
        weight = weight * confidence_bshw
    return (error_bshw * weight).sum() / count


def minimum_over_sources(
    error_bshw: Tensor,
    valid_bshw: Tensor,
    still_error_bshw: Tensor | None,
    confidence_bshw: Tensor | None = None,
) -> Tensor:
    """Per-pixel minimum reprojection (Godard et al. 2019), optionally auto-masked.

    A pixel hidden in one source is usually seen in another. With ``still_error_bshw``, the
    error of the unmoved sources, a pixel which no motion explains better than standing still adds
    a constant: it teaches nothing (cars that drive along, a stopped camera, the sky).
    ``confidence_bshw`` weighs the error of the source that was chosen; it has no say in the choice,
    or the source that is doubted most would win.
    """
    unseen = torch.finfo(error_bshw.dtype).max
    best, chosen = torch.where(valid_bshw, error_bshw, unseen).min(dim=1)
    moving: Tensor | None = None
    if still_error_bshw is not None:
        still = still_error_bshw.amin(dim=1)
        moving = best < still
    if confidence_bshw is not None:
        best = best * confidence_bshw.gather(1, chosen.unsqueeze(1)).squeeze(1)
    if moving is not None:
        return torch.where(moving, best, still).mean()
    seen = valid_bshw.any(dim=1)
    return torch.where(seen, best, 0.0).sum() / shared_count(seen.sum())
