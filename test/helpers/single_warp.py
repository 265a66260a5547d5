"""View synthesis from a single source, for tests."""

from __future__ import annotations

from torch import Tensor

from training.geometry.warp import warp_sources


def warp(
    image_bchw: Tensor, depth_b1hw: Tensor, T_source_target_b44: Tensor, K_b33: Tensor
) -> tuple[Tensor, Tensor]:
    """The source as the target camera would see it, and its validity (b, 1, h, w)."""
    sources, T = image_bchw.unsqueeze(1), T_source_target_b44.unsqueeze(1)
    warped, valid, _ = warp_sources(sources, depth_b1hw, T, K_b33)
    return warped.squeeze(1), valid
