"""Errors of features that were searched for in other frames, against known depth and motion.

Shape letters as in ``training/batch.py``; k sources, m places.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.batch import Matches
from training.distributed import shared_count
from training.geometry.camera import pixel_grid, scale_intrinsics
from training.geometry.warp import project_target
from training.losses.supervision import soft_norm

_SURPRISE_WEIGHT = 0.7
"""Of ``-log`` of what the right place is worth, beside the error of the flow."""
_LEAST_LIKELY = 1e-12


def matching_error(
    matches: Matches,
    depth_b1hw: Tensor,
    T_source_target_bs44: Tensor,
    K_b33: Tensor,
    counts_b: Tensor,
) -> Tensor:
    """``log(1 + |flow - flow*|)`` and the surprise at the right place, mean over known cells.

    The flow alone would not do: it is a mean over all places, which hardly changes while the
    right one is worth nothing.

    Args:
        depth_b1hw: of the target, meters, 0 if unknown.
        K_b33: of that grid.
        counts_b: 0 excludes a window.
    """
    _, neighbors, _, height, width = matches.flow_bk2hw.shape
    reach = matches.likely_bkhwm.shape[-1] // width // 2
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
    down = right[:, 1]
    counts = (known > 0).repeat_interleave(neighbors, dim=0) & seen.valid()
    counts = counts[:, 0] & (down.abs() <= reach + 0.5)

    flow, likely = matches.flow_bk2hw.float().flatten(0, 1), matches.likely_bkhwm.flatten(0, 1)
    error = soft_norm((flow - right).movedim(1, -1)).log1p()
    row = down.round().clamp(-reach, reach) + reach
    place = (row * width + seen.u_bhw.round().clamp(0, width - 1)).long().unsqueeze(-1)
    surprise = -likely.float().gather(-1, place).squeeze(-1).clamp_min(_LEAST_LIKELY).log()
    cost = torch.where(counts, error + _SURPRISE_WEIGHT * surprise, 0.0)
    return cost.sum() / shared_count(counts.sum())
