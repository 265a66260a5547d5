"""Motions between neighbors to motions between the target and every other frame of a window."""

from __future__ import annotations

import torch
from torch import Tensor

from training.batch import source_indices, target_index
from training.geometry import se3


def chain_to_target(T_older_newer_bp44: Tensor) -> Tensor:
    """Motions between neighbors to motions between each source and the target.

    Args:
        T_older_newer_bp44: (b, n - 1, 4, 4); number i maps frame i + 1 into frame i.

    Returns:
        ``T_source_target`` (b, n - 1, 4, 4), sources in order of time.
    """
    steps = T_older_newer_bp44.unbind(1)
    length = len(steps) + 1
    target = target_index(length)
    result = []
    for source in source_indices(length):
        between = steps[min(source, target) : max(source, target)]
        T_first_last = between[0]
        for step in between[1:]:
            # Autocast would round a matrix product to bfloat16, but not a sum of products.
            T_first_last = (T_first_last.unsqueeze(-1) * step.unsqueeze(-3)).sum(dim=-2)
        result.append(T_first_last if source < target else se3.rigid_inverse(T_first_last))
    return torch.stack(result, dim=1)
