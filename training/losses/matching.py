"""Errors of features that were searched for in other frames, against known depth and motion.

Shape letters as in ``training/batch.py``; k sources, m places.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from training.batch import Matches
from training.distributed import shared_count
from training.geometry.camera import pixel_grid, scale_intrinsics
from training.geometry.warp import project_target
from training.losses.supervision import soft_norm

_SURPRISE_WEIGHT = 0.7
"""Of the divergence from the right places, beside the error of the flow."""
_LEAST_LIKELY = 1e-12


def matching_error(
    matches: Matches,
    depth_b1hw: Tensor,
    T_source_target_bs44: Tensor,
    K_b33: Tensor,
    counts_b: Tensor,
) -> Tensor:
    """``log(1 + |flow - flow*|)`` and the surprise at the right places, mean over known cells.

    The flow alone would not do: it is a mean over places, which hardly changes while the right
    ones are worth nothing. Those are the four cells around where a point went, by bilinear
    weights; the divergence of what was found from these is 0 if the mean is right to a part of a
    cell.

    Args:
        depth_b1hw: of the target, meters, 0 if unknown.
        K_b33: of that grid.
        counts_b: 0 excludes a window.
    """
    _, neighbors, _, height, width = matches.flow_bk2hw.shape
    known = F.interpolate(depth_b1hw.float(), size=(height, width), mode="nearest-exact")
    known = known * (counts_b > 0).view(-1, 1, 1, 1)
    seen = project_target(
        torch.where(known > 0, known, 1.0).repeat_interleave(neighbors, dim=0),
        T_source_target_bs44[:, matches.sources].flatten(0, 1),
        scale_intrinsics(
            K_b33, width / depth_b1hw.shape[-1], height / depth_b1hw.shape[-2]
        ).repeat_interleave(neighbors, dim=0),
    )
    cells = pixel_grid(height, width, device=known.device, dtype=known.dtype)
    right = torch.stack([seen.u_bhw, seen.v_bhw], dim=1) - cells[:2].view(2, height, width)
    reach = right.new_tensor(matches.reach).view(2, 1, 1)
    counts = (known > 0).repeat_interleave(neighbors, dim=0) & seen.valid()
    counts = counts[:, 0] & (right.abs() <= reach).all(dim=1)

    error = soft_norm((matches.flow_bk2hw.float().flatten(0, 1) - right).movedim(1, -1)).log1p()
    surprise = _divergence(matches.likely_bkhwm.float().flatten(0, 1), right, matches.reach)
    cost = torch.where(counts, error + _SURPRISE_WEIGHT * surprise, 0.0)
    return cost.sum() / shared_count(counts.sum())


def _divergence(likely_bhwm: Tensor, right_b2hw: Tensor, reach: tuple[int, int]) -> Tensor:
    """Kullback and Leibler's (b, h, w), of what was found from the cells around what is right."""
    across, down = reach
    first = right_b2hw.floor()
    part_x, part_y = (right_b2hw - first).unbind(1)
    divergence = torch.zeros_like(part_x)
    for next_x, next_y in itertools.product((0, 1), repeat=2):
        weight = (part_x if next_x else 1 - part_x) * (part_y if next_y else 1 - part_y)
        column = (first[:, 0] + next_x).clamp(-across, across) + across
        row = (first[:, 1] + next_y).clamp(-down, down) + down
        place = (row * (2 * across + 1) + column).long().unsqueeze(-1)
        found = likely_bhwm.gather(-1, place).squeeze(-1).clamp_min(_LEAST_LIKELY)
        divergence = divergence + weight * (weight.clamp_min(_LEAST_LIKELY).log() - found.log())
    return divergence
