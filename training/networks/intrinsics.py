"""Intrinsics learned together with depth and motion (after Gordon et al. 2019, section 3.3).

A focal length is observable when the camera turns: a rotation shifts the image by an amount that
depends on nothing else. Straight driving alone does not constrain it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GAIN = 5.0
"""Learning rate of the shared camera relative to the optimizer's: it corrects a focal length that
is 10 % off in some 150 steps of 2e-4 instead of 700."""


class SharedIntrinsics(nn.Module):
    """One camera for the whole run: four numbers.

    Args:
        start_focal: initial focal length divided by the image width.
    """

    def __init__(self, start_focal: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(_start(start_focal) / _GAIN)

    def forward(self, features_bc: Tensor, width: int, height: int) -> Tensor:
        """Intrinsics (b, 3, 3) of a grid, pixels; the features only determine b."""
        return _camera((_GAIN * self.raw).expand(features_bc.shape[0], -1), width, height)


class WindowIntrinsics(nn.Module):
    """A camera for each window, predicted from the features of the pose network.

    Args:
        channels: of the pose network's bottleneck.
        start_focal: initial focal length divided by the image width.
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
    return torch.tensor([math.log(math.expm1(ratio)) for ratio in (focal, focal, 0.5, 0.5)])


def _camera(raw_b4: Tensor, width: int, height: int) -> Tensor:
    """fx, fy relative to the width, cx and cy to width and height; pixel centers at integers."""
    fx, fy, cx, cy = F.softplus(raw_b4.float()).unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    rows = [
        torch.stack([fx * width, zero, cx * width - 0.5], dim=-1),
        torch.stack([zero, fy * width, cy * height - 0.5], dim=-1),
        torch.stack([zero, zero, one], dim=-1),
    ]
    return torch.stack(rows, dim=-2)
