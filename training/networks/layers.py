"""What the networks share: input normalization, layers, initial weights, disparity output.

The initial weights preserve the signal from the first layer to the last. PyTorch's default
attenuates it to about 0.4 per layer: a seven-layer pose network then outputs its bias for any
input, and never recovers.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sfm_ros.errors import ConfigError
from training.config import NetworkConfig

Padding = Literal["zeros", "reflect"]
MIDDLE, HALF_RANGE = 127, 128
"""Of the gray levels, by which the ImageNet weights of the encoder normalize."""


def normalize(rgb: Tensor) -> Tensor:
    """RGB in [0, 1] to about [-1, 1], as the ImageNet weights of the encoder expect it.

    ``(255 rgb - 127) / 128``, bit for bit, in channels-last order as the first layer reads it;
    otherwise it would be reordered in the forward and in the backward pass.
    """
    normalized = rgb * (255 / HALF_RANGE) - MIDDLE / HALF_RANGE
    return normalized.contiguous(memory_format=torch.channels_last)


def conv_relu(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution whose stride alone reduces the size, ReLU."""
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU(inplace=True)
    )


def up_conv_relu(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Transposed convolution that doubles the size, ReLU."""
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, output_padding=1),
        nn.ReLU(inplace=True),
    )


def initialize_relu_layers(module: nn.Module) -> None:
    """He et al. initialization for every convolution of a module whose layers precede a ReLU.

    A transposed convolution of stride k adds up only 1 / k^2 of its taps at one output pixel; its
    fan-in counts those.
    """
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_channels * taps)))
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def initialize_prediction(layer: nn.Conv2d, *, gain: float = 1.0, bias: float = 0.0) -> None:
    """Xavier initialization of a layer that predicts linearly, scaled by ``gain``."""
    nn.init.xavier_uniform_(layer.weight, gain=gain)
    if layer.bias is not None:
        nn.init.constant_(layer.bias, bias)


def load_state(module: nn.Module, state: Mapping[str, Tensor], problem: str) -> None:
    """Load weights; ``problem`` with the first differences is a ConfigError if they do not fit."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(f"{problem}: {textwrap.shorten(str(error), 400)}") from error


def padding_of(is_padded: bool, mode: Padding) -> dict[str, Any]:
    """Arguments of a 3x3 convolution that keeps the size, or does not pad at all.

    Reflecting no pixel is an operation of its own in exported graphs, which costs a copy.
    """
    return {"padding": 1, "padding_mode": mode} if is_padded else {}


class DisparityHead(nn.Module):
    """Features to disparity ``alpha * sigmoid(x) + beta`` (Zhou et al. section 3.5), in float32.

    Args:
        config: the range of the disparity is (beta, alpha + beta); ``disparity_bias`` is the
            initial x: 0 would start at half of the range, far too near for a street.
        channels: of the features.
        padding_mode: of the convolution.
        is_padded: whether it pads; else the disparity is smaller by its border.
        kernel: 3, or 1 for a pixel alone.
        outputs: number of disparities of a pixel.
    """

    def __init__(
        self,
        config: NetworkConfig,
        channels: int,
        padding_mode: Padding,
        is_padded: bool = True,
        *,
        kernel: int = 3,
        outputs: int = 1,
    ) -> None:
        super().__init__()
        self.alpha, self.beta = config.disparity_alpha, config.disparity_beta
        padding = padding_of(is_padded, padding_mode)
        self.conv = nn.Conv2d(channels, outputs, kernel, **padding)
        initialize_prediction(self.conv, gain=0.3, bias=config.disparity_bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.alpha * torch.sigmoid(self.conv(features).float()) + self.beta
