"""Rigid motion from network outputs: differentiable, float32-safe, exact at no motion.

A pose vector is ``(tx, ty, tz, rx, ry, rz)``: the translation first, then the axis-angle rotation
in radians. Shape letters as in ``training/batch.py``.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALL_ANGLE_SQUARED = 1e-6


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rotation matrices by Rodrigues' formula.

    ``R = I + A [r] + B [r]^2`` with ``A = sin(x) / x``, ``B = (1 - cos(x)) / x^2``, ``x = |r|``,
    and ``[r]^2 = r r^T - x^2 I``. Near zero both follow their Taylor series, so value and gradient
    are finite there.

    Args:
        axis_angle: (..., 3), radians.

    Returns:
        (..., 3, 3) of the same dtype.
    """
    squared = axis_angle.square().sum(dim=-1, keepdim=True)
    small = squared < _SMALL_ANGLE_SQUARED
    # The unused branch of `where` must stay finite too, or its gradient becomes NaN.
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    a = torch.where(small, 1 - squared / 6, torch.sin(angle) / angle)
    # 1 - cos(x) cancels in float32; 2 sin^2(x/2) does not.
    b = torch.where(small, 0.5 - squared / 24, 2 * torch.sin(angle / 2).square() / safe)
    cross = axis_angle.new_tensor(
        [[0, 0, 0, 0, 0, -1, 0, 1, 0], [0, 0, 1, 0, 0, 0, -1, 0, 0], [0, -1, 0, 1, 0, 0, 0, 0, 0]]
    )
    unit = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    # Not as a matrix product, which automatic mixed precision would round.
    skew = ((a * axis_angle).unsqueeze(-1) * cross).sum(dim=-2).unflatten(-1, (3, 3))
    outer = (b * axis_angle).unsqueeze(-1) * axis_angle.unsqueeze(-2)
    return unit * (1 - b * squared).unsqueeze(-1) + outer + skew


def transform_from_parts(rotation: Tensor, translation: Tensor) -> Tensor:
    """Homogeneous (..., 4, 4) from rotation (..., 3, 3) and translation (..., 3)."""
    top = torch.cat([rotation, translation.unsqueeze(-1)], dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom = torch.cat([bottom[..., :3], torch.ones_like(bottom[..., 3:])], dim=-1)
    return torch.cat([top, bottom], dim=-2)


def transform_from_pose_vector(vector: Tensor) -> Tensor:
    """Transforms (..., 4, 4) from pose vectors (..., 6), translation first.

    The rotation is the exponential of the last three numbers; the translation is taken as it is
    (it is not multiplied by the left Jacobian), as in Zhou et al.
    """
    return transform_from_parts(rotation_from_axis_angle(vector[..., 3:]), vector[..., :3])


def transform_from_symmetric_vector(vector: Tensor) -> Tensor:
    """Transforms (..., 4, 4) from (..., 6) whose negative gives exactly the inverse transform.

    The translation is taken in the orientation halfway between the two frames:
    ``T = [exp(r) | exp(r / 2) t]``.
    """
    half = rotation_from_axis_angle(0.5 * vector[..., 3:])
    translation = (half * vector[..., None, :3]).sum(dim=-1)
    return transform_from_parts(rotation_from_axis_angle(vector[..., 3:]), translation)


def rigid_inverse(T_a_b: Tensor) -> Tensor:
    """``T_b_a`` of a rigid ``T_a_b`` (..., 4, 4), by transposition, without loss of precision."""
    rotation = T_a_b[..., :3, :3]
    translation = -(rotation * T_a_b[..., :3, 3:]).sum(dim=-2)
    return transform_from_parts(rotation.transpose(-1, -2), translation)
