"""Lengths for a lens: what the networks predict is what one canonical camera would see.

The image by a focal length f of a scene is that by the canonical focal length c of the scene
stretched along the optical axis by c / f. Its depth and its forward motion are stretched alike,
and a rotation about an axis across the view that shifts the image as far is smaller by f / c.
Depth and focal length are ambiguous in the same way for networks, which do not know the lens
(Yin et al., Metric3D, ICCV 2023, "canonical camera space").

Shape letters as in ``training/batch.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stretch_of(K_b33: Tensor, width: int, canonical_focal: float) -> Tensor:
    """f / c of each window (b,); ``canonical_focal`` is divided by the width."""
    return K_b33[:, 0, 0] / (canonical_focal * width)


def depth_in_camera(depth_bchw: Tensor, stretch_b: Tensor) -> Tensor:
    """Canonical depth as the cameras of the windows have it."""
    return depth_bchw * stretch_b.view(-1, 1, 1, 1)


def vectors_in_camera(vectors_bm6: Tensor, stretch_b: Tensor) -> Tensor:
    """Canonical pose vectors, translation first, as the cameras of the windows have them."""
    one, inverse = torch.ones_like(stretch_b), stretch_b.reciprocal()
    factors_b6 = torch.stack([one, one, stretch_b, inverse, inverse, one], dim=1)
    return vectors_bm6 * factors_b6.unsqueeze(1)
