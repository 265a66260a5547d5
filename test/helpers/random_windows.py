"""Random windows for tests of the networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def random_windows(count: int, frames: int = 3, *, width: int = 96, height: int = 64) -> Tensor:
    """Smooth images (count, frames, 3, h, w) in [0, 1], as different as street scenes."""
    coarse = torch.rand(count * frames, 3, 4, 6)
    fine = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return fine.view(count, frames, 3, height, width)
