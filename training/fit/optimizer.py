"""Adam, one pass over the weights a step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class FusedAdam(torch.optim.Adam):
    """``torch.optim.Adam`` with the fused kernel, on a CPU three times as fast as without.

    The CPU kernel copies every tensor that is not contiguous, there and back, and the weights of
    the convolutions lie in channels-last order; with weights and gradients in different orders it
    even mixes up their elements. So all are brought into the order of the weights, and handed over
    as what they are in memory: contiguous tensors of another shape. The arithmetic, element by
    element, stays the same.
    """

    def __init__(self, params: Any, *, lr: float = 1e-3, beta1: float = 0.9) -> None:
        super().__init__(params, lr=lr, betas=(beta1, 0.999), fused=True)

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        # The lists are weights, gradients, first and second moments; then some of scalars.
        found = super()._init_group(group, *lists)
        weights, *others = lists[:4]
        for place, weight in enumerate(weights):
            order = _order(weight)
            for tensors in others:
                if _order(tensors[place]) != order:
                    tensors[place].data = torch.empty_like(weight).copy_(tensors[place])
            if order == _CHANNELS_LAST:
                for tensors in (weights, *others):
                    tensors[place] = tensors[place].permute(0, 2, 3, 1)
        return found


_CHANNELS_LAST = (False, True)


def _order(tensor: Tensor) -> tuple[bool, bool]:
    """Whether the elements lie in the order of the axes, and channels last; both may be true."""
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.is_contiguous(), last
