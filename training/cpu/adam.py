"""Adam in one pass over the weights, for a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class FusedAdam(torch.optim.Adam):
    """``torch.optim.Adam`` with the fused CPU kernel; the arithmetic stays the same.

    The kernel copies every tensor that is not contiguous, there and back, and the weights of the
    convolutions are in channels-last order; it even mixes up the elements if weights and gradients
    differ in their order. So all are brought into the order of the weights and passed to the
    kernel as contiguous tensors of another shape.
    """

    def __init__(self, params: Any, *, lr: float = 1e-3, betas: tuple[float, float]) -> None:
        super().__init__(params, lr=lr, betas=betas, fused=True)

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        # The lists are weights, gradients, first and second moments; then some of scalars.
        found = super()._init_group(group, *lists)
        weights, *others = lists[:4]
        for index, weight in enumerate(weights):
            order = _order(weight)
            for tensors in others:
                if _order(tensors[index]) != order:
                    tensors[index].data = torch.empty_like(weight).copy_(tensors[index])
            if order == _CHANNELS_LAST:
                for tensors in (weights, *others):
                    tensors[index] = tensors[index].permute(0, 2, 3, 1)
        return found


_CHANNELS_LAST = (False, True)


def _order(tensor: Tensor) -> tuple[bool, bool]:
    """Whether a tensor is contiguous, and whether it is channels-last; it may be both."""
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return tensor.is_contiguous(), last
