"""The explainability mask (Zhou et al. section 3.3): how far each source pixel can be believed."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mask_regulariser(mask_logits_bshw: Tensor) -> Tensor:
    """Mean cross-entropy of the mask towards 1; without it E = 0 would be the best mask."""
    return F.softplus(-mask_logits_bshw).mean()
