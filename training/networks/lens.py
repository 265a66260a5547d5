"""Lengths for a lens: what the networks predict is what one canonical camera would see.

The image by a focal length f of a scene is that by the canonical focal length c of the scene
stretched along the optical axis by c / f. Its depth and its forward motion are stretched alike,
and a rotation about an axis across the view that shifts the image as far is smaller by f / c.
Depth and focal length are ambiguous in the same way for networks, which do not know the lens
(Yin et al., Metric3D, ICCV 2023, "canonical camera space").

Nor do they know where the optical axis meets the image. The canonical camera has it in the middle:
the image by an axis elsewhere is that of a scene sheared along it, so that who drives ahead
drives to the side, too. A principal point 5 of 240 pixels off turns the motion by 1.2 degrees.

Shape letters as in ``training/batch.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Lens(NamedTuple):
    """The cameras of windows beside the canonical one.

    Attributes:
        stretch_b: focal length, divided by the canonical one.
        shift_b2: principal point from the middle of the image, divided by the focal length.
    """

    stretch_b: Tensor
    shift_b2: Tensor


def lens_of(K_b33: Tensor, width: int, height: int, canonical_focal: float) -> Lens:
    """Of the cameras of windows; ``canonical_focal`` is divided by the width."""
    middle = K_b33.new_tensor([width - 1, height - 1]) / 2
    focal_b = K_b33[:, 0, 0]
    shift_b2 = (K_b33[:, :2, 2] - middle) / focal_b.unsqueeze(-1)
    return Lens(focal_b / (canonical_focal * width), shift_b2)


def depth_in_camera(depth_bchw: Tensor, lens: Lens) -> Tensor:
    """Canonical depth as the cameras of the windows have it."""
    return depth_bchw * lens.stretch_b.view(-1, 1, 1, 1)


def vectors_in_camera(vectors_bm6: Tensor, lens: Lens) -> Tensor:
    """Canonical pose vectors, translation first, as the cameras of the windows have them."""
    x, y, z, around_x, around_y, around_z = vectors_bm6.unbind(-1)
    stretch = lens.stretch_b.unsqueeze(-1)
    right, down = (shift_b.unsqueeze(-1) for shift_b in lens.shift_b2.unbind(-1))
    ahead = z * stretch
    parts = [
        x - right * ahead,
        y - down * ahead,
        ahead,
        around_x / stretch - right * around_z,
        around_y / stretch - down * around_z,
        around_z,
    ]
    return torch.stack(parts, dim=-1)
