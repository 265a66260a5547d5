"""Cameras that are learned with depth and motion (after Gordon et al. 2019, section 3.3).

A wrong focal length shows where the camera turns: a rotation moves the image by an amount that
depends on nothing else. Straight driving alone tells nothing of it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GAIN = 5.0
"""Steps of the shared camera against the optimizer's rate: it has four numbers to find, and finds
a focal length that is 10 % off in some 150 steps of 2e-4 instead of 700."""


class SharedIntrinsics(nn.Module):
    """One camera for the whole run: four numbers.

    Args:
        start_focal: focal length at the start, as a share of the image's width.
    """

    def __init__(self, start_focal: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(_start(start_focal) / _GAIN)

    def forward(self, features_bc: Tensor, width: int, height: int) -> Tensor:
        """Intrinsics (b, 3, 3) of a grid, pixels; the features only tell how many."""
        return _camera((_GAIN * self.raw).expand(features_bc.shape[0], -1), width, height)


class WindowIntrinsics(nn.Module):
    """A camera for each window, from what the pose network saw.

    Args:
        channels: of the pose network's bottleneck.
        start_focal: focal length at the start, as a share of the image's width.
    """

    def __init__(self, channels: int, start_focal: float) -> None:
        super().__init__()
        self.predict = nn.Linear(channels, 4)
        nn.init.zeros_(self.predict.weight)
        with torch.no_grad():
            self.predict.bias.copy_(_start(start_focal))

    def forward(self, features_bc: Tensor, width: int, height: int) -> Tensor:
        """Intrinsics (b, 3, 3) of a grid, pixels."""
        # bfloat16 would round the focal length to 0.4 %.
        with torch.autocast(device_type=features_bc.device.type, enabled=False):
            return _camera(self.predict(features_bc.float()), width, height)


def _start(focal: float) -> Tensor:
    """Softplus of these is (focal, focal, 0.5, 0.5): square pixels, the center of the image."""
    return torch.tensor([math.log(math.expm1(share)) for share in (focal, focal, 0.5, 0.5)])


def _camera(raw_b4: Tensor, width: int, height: int) -> Tensor:
    """fx, fy as shares of the width, cx and cy of width and height; pixel centers at integers."""
    fx, fy, cx, cy = F.softplus(raw_b4.float()).unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = [
        torch.stack([fx * width, zero, cx * width - 0.5], dim=-1),
        torch.stack([zero, fy * width, cy * height - 0.5], dim=-1),
        torch.stack([zero, zero, one], dim=-1),
    ]
    return torch.stack(rows, dim=-2)
