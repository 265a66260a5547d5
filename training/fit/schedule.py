"""The learning rate over the steps."""

from __future__ import annotations

import math

from training.config import OptimConfig

COSINE_END = 0.02
"""Share of the rate that is left at the last step of the cosine schedule."""


def rate_factor(optim: OptimConfig, step: int) -> float:
    """What the learning rate is multiplied by in the step numbered ``step`` (from 0)."""
    if optim.schedule == "cosine":
        progress = min(1.0, step / optim.steps)
        return COSINE_END + (1.0 - COSINE_END) * 0.5 * (1.0 + math.cos(math.pi * progress))
    return optim.decay_factor ** (step // optim.decay_every) if optim.decay_every else 1.0
