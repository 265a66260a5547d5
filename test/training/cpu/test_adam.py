"""The fused optimizer against torch's own."""

from __future__ import annotations

import torch
from torch import nn

from training.cpu.adam import FusedAdam


def test_fused_adam_matches_adam_in_any_layout() -> None:
    shapes = ((8, 6, 3, 3), (4, 1, 3, 3), (5, 7, 1, 1), (9,))

    def weights() -> list[nn.Parameter]:
        torch.manual_seed(0)
        made = [torch.randn(shape) for shape in shapes]
        return [
            nn.Parameter(w.to(memory_format=torch.channels_last) if w.dim() == 4 else w)
            for w in made
        ]

    mine, theirs = weights(), weights()
    own = FusedAdam(mine, lr=0.01, betas=(0.8, 0.999))
    reference = torch.optim.Adam(theirs, lr=0.01, betas=(0.8, 0.999))
    for _ in range(4):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn(a.shape)  # not in the layout of its weight
            b.grad = a.grad.clone()
            if torch.rand(()) < 0.5:
                a.grad = torch.empty_like(a).copy_(a.grad)
        own.step()
        reference.step()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(own.state[a]["exp_avg"], reference.state[b]["exp_avg"])
