"""The motion of a camera from flow and depth, by weighted least squares, as a part of a network.

Shape letters as in ``training/batch.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MotionEquations(NamedTuple):
    """Linear equations of a motion: two for each of m points.

    Attributes:
        rows_b62m: factors of the motion.
        moved_b12m: what they should add up to, as slopes.
    """

    rows_b62m: Tensor
    moved_b12m: Tensor

    def errors(self, motion_b6: Tensor) -> Tensor:
        """What a motion leaves unexplained (b, 1, 2, m), as slopes."""
        explained = (motion_b6[..., None, None] * self.rows_b62m).sum(dim=1, keepdim=True)
        return self.moved_b12m - explained


def motion_equations(
    start_b2hw: Tensor, end_b2hw: Tensor, inv_depth_b1hw: Tensor
) -> MotionEquations:
    """Of points of known depth that move in the image.

    A point seen in the direction p with the inverse depth q is seen in p' after the motion (R, t).
    With the rotation vector r, p'' halfway between p and p', and s, which is t in the orientation
    halfway between the frames, each coordinate of ``p' - p = (r x p'' + q s)``, less p' times the
    third one, is linear in (s, r): Longuet-Higgins and Prazdny, Proc. R. Soc. B 1980, eq. 2.5, for
    motions of any size. What is left out changes its sign with the motion.

    The motion (s, r) is the symmetric vector of the transform from the first frame to the second,
    see `training.geometry.se3.transform_from_symmetric_vector`.

    Args:
        start_b2hw, end_b2hw: p and p', as slopes x / z and y / z.
        inv_depth_b1hw: q.
    """
    x, y = end_b2hw.flatten(2).unbind(1)
    mid_x, mid_y = (0.5 * (start_b2hw + end_b2hw)).flatten(2).unbind(1)
    near = inv_depth_b1hw.flatten(1)
    none = torch.zeros_like(near)
    across = [near, none, -x * near, -x * mid_y, 1 + x * mid_x, -mid_y]
    down = [none, near, -y * near, -1 - y * mid_y, y * mid_x, mid_x]
    rows = torch.stack([torch.stack(across, dim=1), torch.stack(down, dim=1)], dim=2)
    return MotionEquations(rows, (end_b2hw - start_b2hw).flatten(2).unsqueeze(1))


def solve_motion(
    equations: MotionEquations, weights_b2m: Tensor, prior_b6: Tensor, information_b6: Tensor
) -> Tensor:
    """The motion (b, 6) that fits best, by weighted least squares, and is near a prior.

    Args:
        weights_b2m: of the equations.
        prior_b6: a motion.
        information_b6: weights of its numbers, above 0; they keep what is not seen near it.
    """
    rows = equations.rows_b62m.flatten(2)
    # From the prior on, so that what is added up are small numbers.
    left = equations.errors(prior_b6).flatten(2)
    weighted = rows * weights_b2m.flatten(1).unsqueeze(1)
    normal = weighted @ torch.cat([rows, left], dim=1).transpose(1, 2)
    diagonal = torch.eye(6, 7, device=normal.device, dtype=normal.dtype)
    return prior_b6 + solve_positive(normal + diagonal * information_b6.unsqueeze(-1))


def solve_positive(system_bnm: Tensor) -> Tensor:
    """``x`` of ``A x = b`` for positive definite A, given as [A | b] (b, n, n + 1).

    Gauss-Jordan elimination, which needs no pivoting there, by operations that every run time of
    the exported networks has.
    """
    count = system_bnm.shape[1]
    unit = torch.eye(count, device=system_bnm.device, dtype=system_bnm.dtype)
    for k in range(count):
        row = system_bnm[:, k : k + 1] / system_bnm[:, k : k + 1, k : k + 1]
        system_bnm = system_bnm - (system_bnm[:, :, k : k + 1] - unit[:, k : k + 1]) * row
    return system_bnm[:, :, count]
