"""View synthesis by inverse warping. The only caller of ``grid_sample`` in the project."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.geometry.camera import inverse_intrinsics, pixel_grid

_MIN_RELATIVE_DEPTH = 1e-3
"""Source depth / target depth below which a point counts as behind the camera."""


def warp(
    image_source_bchw: Tensor,
    depth_target_b1hw: Tensor,
    T_source_target_b44: Tensor,
    K_b33: Tensor,
) -> tuple[Tensor, Tensor]:
    """The source image as the target camera would see it.

    Zhou et al. eq. 2, ``p_s ~ K T_source_target D(p_t) K^-1 p_t``, followed by bilinear sampling
    of the source at ``p_s``. No motion returns the source image bit for bit.

    Args:
        image_source_bchw: source image, any channels.
        depth_target_b1hw: depth of the target along +z, > 0, unit of the translation.
        T_source_target_b44: maps target coordinates into the source camera.
        K_b33: intrinsics of this grid, pixels, shared by the two images.

    Returns:
        The warped image (b, c, h, w) and its validity (b, 1, h, w), bool: the point lies before
        the source camera and inside its image. Outside, the warped image repeats the border.
        Computed in float32 (float64 for float64 input), whatever autocast says.
    """
    with torch.autocast(device_type=image_source_bchw.device.type, enabled=False):
        dtype = torch.float64 if image_source_bchw.dtype == torch.float64 else torch.float32
        image = image_source_bchw.to(dtype)
        u, v, ahead = _source_pixels(
            depth_target_b1hw.to(dtype), T_source_target_b44.to(dtype), K_b33.to(dtype)
        )
        height, width = image.shape[-2:]
        with torch.no_grad():
            inside = (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
            valid = (inside & ahead).unsqueeze(1)
        return _sample(image, u, v), valid


def _source_pixels(
    depth_b1hw: Tensor, T_b44: Tensor, K_b33: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Where each target pixel lies in the source image: u, v and "ahead", each (b, h, w).

    Written as a displacement of the homogeneous pixel, divided by its depth:
    ``p_s ~ p_t + K (R - I) K^-1 p_t + K t / D``. The two matrices are formed once per image, and
    no motion leaves the pixel where it was without a rounding error.
    """
    batch, _, height, width = depth_b1hw.shape
    grid = pixel_grid(height, width, device=depth_b1hw.device, dtype=depth_b1hw.dtype)
    identity = torch.eye(3, device=T_b44.device, dtype=T_b44.dtype)
    rotation_b33 = K_b33 @ (T_b44[:, :3, :3] - identity) @ inverse_intrinsics(K_b33)
    translation_b31 = K_b33 @ T_b44[:, :3, 3:]

    moved = grid + (rotation_b33 @ grid + translation_b31 * depth_b1hw.flatten(2).reciprocal())
    x, y, z = moved.view(batch, 3, height, width).unbind(1)
    ahead = z.detach() > _MIN_RELATIVE_DEPTH
    inverse_z = z.clamp(min=_MIN_RELATIVE_DEPTH).reciprocal()
    return x * inverse_z, y * inverse_z, ahead


def _sample(image_bchw: Tensor, u_bhw: Tensor, v_bhw: Tensor) -> Tensor:
    """Bilinear samples at pixels (u, v), the border repeated outside."""
    height, width = image_bchw.shape[-2:]
    # grid_sample wants coordinates divided by the image size. On a canvas whose sides are powers
    # of two this division is exact, so that whole pixels stay whole pixels.
    canvas_height, canvas_width = _power_of_two(height), _power_of_two(width)
    extra = (0, canvas_width - width, 0, canvas_height - height)
    canvas = F.pad(image_bchw, extra, mode="replicate")
    grid = torch.stack(
        [
            (2 * u_bhw + 1) * (1 / canvas_width) - 1,
            (2 * v_bhw + 1) * (1 / canvas_height) - 1,
        ],
        dim=-1,
    )
    return F.grid_sample(canvas, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length()
