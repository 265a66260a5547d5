"""Photometric error of a synthesized view. All float32, RGB in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from training.config import ObjectiveConfig
from training.distributed import shared_count

_C1 = 0.01**2
_C2 = 0.03**2


@dataclass(frozen=True)
class LocalMoments:
    """Images (..., c, h, w) with their 3x3 local moments, computed on demand and cached.

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


def box_mean(image: Tensor) -> Tensor:
    """Mean of each 3x3 neighborhood of (..., c, h, w), the image reflected at its border.

    A sum of shifted views, which on a CPU costs a fifth of ``avg_pool2d``.
    """
    padded = F.pad(image.flatten(0, -4), (1, 1, 1, 1), mode="reflect")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return (total / 9).view_as(image)


def ssim(x: LocalMoments, y: LocalMoments) -> Tensor:
    """Structural similarity (Wang et al. 2004) per channel and pixel, in [-1, 1]; SSIM(x, x) = 1.

    Uniform 3x3 windows and population moments, as in Monodepth and its descendants. The shapes of
    ``x`` and ``y`` broadcast.
    """
    product = x.mean * y.mean
    covariance = box_mean(x.image * y.image) - product
    numerator = (2 * product + _C1) * (2 * covariance + _C2)
    squares = x.mean.square() + y.mean.square()
    return numerator / ((squares + _C1) * (x.variance + y.variance + _C2))


def photometric_error(
    target: LocalMoments, views_bs3hw: Tensor, config: ObjectiveConfig
) -> Tensor:
    """``l1_weight * |target - view| + ssim_weight * (1 - SSIM) / 2``, mean over the channels.

    Args:
        target: the images to match, (b, 1, 3, h, w).
        views_bs3hw: a synthesized view per source.
        config: holds the weights.

    Returns:
        (b, s, h, w), not negative.
    """
    error = views_bs3hw.new_zeros(())
    if config.l1_weight:
        error = error + config.l1_weight * (views_bs3hw - target.image).abs().mean(dim=2)
    if config.ssim_weight:
        similarity = ssim(target, LocalMoments(views_bs3hw)).mean(dim=2)
        error = error + config.ssim_weight * (0.5 * (1 - similarity))
    return error


def mean_over_sources(
    error_bshw: Tensor, valid_bshw: Tensor, confidence_bshw: Tensor | None = None
) -> Tensor:
    """Mean over all sources and valid pixels (Zhou et al. eq. 1, normalized).

    ``confidence_bshw`` in [0, 1] scales the error, not the count it is divided by (Zhou et al.
    eq. 3, Bian et al. eq. 8).
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

    A pixel occluded in one source is usually visible in another. With ``still_error_bshw``, the
    error of the unmoved sources, a pixel that no motion explains better than standing still adds
    a constant without a gradient (cars driving ahead, a stopped camera, the sky).
    ``confidence_bshw`` scales the error of the chosen source; it does not affect the choice, which
    would otherwise fall on the source of the lowest confidence.
    """
    invalid = torch.finfo(error_bshw.dtype).max
    best, chosen = torch.where(valid_bshw, error_bshw, invalid).min(dim=1)
    error = best
    if confidence_bshw is not None:
        error = best * confidence_bshw.gather(1, chosen.unsqueeze(1)).squeeze(1)
    if still_error_bshw is not None:
        still = still_error_bshw.amin(dim=1)
        return torch.where(best < still, error, still).mean()
    visible = valid_bshw.any(dim=1)
    return torch.where(visible, error, 0.0).sum() / shared_count(visible.sum())
