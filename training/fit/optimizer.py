"""The optimizer, its learning rate over the steps, and the moving average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.config import OptimConfig

Tensors = tuple[Tensor, ...] | list[Tensor]
COSINE_END = 0.02
"""Fraction of the rate that is left at the last step of the cosine schedule."""


def load_optimizer(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Restore the moments of a saved state; the settings are those of the recipe.

    ValueError or another error of the kind if the state does not fit the weights.
    """
    groups = [
        {**own, "params": saved["params"]}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for weights, moments in optimizer.state.items():
        found = [moments[name].shape for name in ("exp_avg", "exp_avg_sq")]
        if found != [weights.shape] * 2 or moments["step"].numel() != 1:
            raise ValueError(f"a state of {found[0]} for weights of {weights.shape}")


def rate_factor(optim: OptimConfig, step: int) -> float:
    """Factor on the learning rate in the step numbered ``step`` (from 0)."""
    warmup = min(1.0, (step + 1) / optim.warmup) if optim.warmup else 1.0
    return warmup * _schedule(optim, step)


def _schedule(optim: OptimConfig, step: int) -> float:
    if optim.schedule == "cosine":
        progress = min(1.0, step / optim.steps)
        return COSINE_END + (1.0 - COSINE_END) * 0.5 * (1.0 + math.cos(math.pi * progress))
    return optim.decay_factor ** (step // optim.decay_every) if optim.decay_every else 1.0


class WeightAverage(AveragedModel):
    """Exponential moving average of a model's weights and buffers; ``module`` is the model of it.

    Args:
        decay: fraction of the average kept per step; at the t-th update min(decay, t / (9 + t)),
            so that the initial weights do not linger.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, multi_avg_fn=self._average, use_buffers=True)
        self._decay = decay
        self.resume_at(0)

    def resume_at(self, step: int) -> None:
        """Continue after this many updates; the initial weights count as one."""
        self.n_averaged.fill_(step + 1)

    def _average(self, averaged: Tensors, current: Tensors, _: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)  # counters of batches
            return
        # The argument is the same counter on the device; reading it there would synchronize.
        count = int(self.n_averaged)
        decay = min(self._decay, count / (9 + count))
        get_ema_multi_avg_fn(decay)(averaged, current, count)
