"""The pinhole camera on tensors. Pixel centers are integers, depth is along +z, K is (b, 3, 3)."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_grid(height: int, width: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Homogeneous pixel coordinates (3, h * w): rows u, v, 1; row by row of the image."""
    axes = (torch.arange(size, device=device, dtype=dtype) for size in (height, width))
    v, u = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([u, v, torch.ones_like(u)]).reshape(3, -1)


def inverse_intrinsics(K_b33: Tensor) -> Tensor:
    """Closed-form inverse of ``[[fx, s, cx], [0, fy, cy], [0, 0, 1]]``, any leading shape."""
    fx, skew, cx = K_b33[..., 0, 0], K_b33[..., 0, 1], K_b33[..., 0, 2]
    fy, cy = K_b33[..., 1, 1], K_b33[..., 1, 2]
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = [
        torch.stack([1 / fx, -skew / (fx * fy), (skew * cy - cx * fy) / (fx * fy)], dim=-1),
        torch.stack([zero, 1 / fy, -cy / fy], dim=-1),
        torch.stack([zero, zero, one], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def scale_intrinsics(K_b33: Tensor, scale_x: float, scale_y: float) -> Tensor:
    """Intrinsics of the resized image.

    The principal point follows the pixel centers: ``c -> (c + 0.5) * s - 0.5``.

    Args:
        K_b33: intrinsics of the original grid, pixels.
        scale_x: new width / old width.
        scale_y: new height / old height.
    """
    scale = K_b33.new_tensor([[scale_x], [scale_y], [1.0]])
    shift = torch.zeros_like(K_b33)
    shift[..., 0, 2] = 0.5 * scale_x - 0.5
    shift[..., 1, 2] = 0.5 * scale_y - 0.5
    return K_b33 * scale + shift
