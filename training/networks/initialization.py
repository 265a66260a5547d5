"""Initial weights that preserve the signal from the first layer to the last.

PyTorch's default attenuates it to about 0.4 per layer: a seven-layer pose network then outputs its
bias for any input, and never recovers.
"""

from __future__ import annotations

import math

from torch import nn


def initialize_relu_layers(module: nn.Module) -> None:
    """He et al. initialization for every convolution of a module whose layers precede a ReLU.

    A transposed convolution of stride k adds up only 1 / k^2 of its taps at one output pixel; its
    fan-in counts those.
    """
    for layer in module.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            taps = (
                layer.kernel_size[0] * layer.kernel_size[1] / (layer.stride[0] * layer.stride[1])
            )
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
