"""Input normalization and disparity output of the networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from training.config import NetworkConfig
from training.networks.initialization import initialize_prediction

Padding = Literal["zeros", "reflect"]


def normalize(rgb: Tensor) -> Tensor:
    """RGB in [0, 1] to about [-1, 1], as the ImageNet weights of the encoder expect it.

    ``(255 rgb - 127) / 128``, bit for bit, in channels-last order as the first layer reads it;
    otherwise it would be reordered in the forward and in the backward pass.
    """
    return (rgb * (255 / 128) - 127 / 128).contiguous(memory_format=torch.channels_last)


def disparity_heads(
    config: NetworkConfig, channels: Sequence[int], padding_mode: Padding
) -> nn.ModuleList:
    """One head for each of the scales, coarsest first; ``channels`` are those of the decoder."""
    return nn.ModuleList(
        DisparityHead(
            own,
            alpha=config.disparity_alpha,
            beta=config.disparity_beta,
            bias=config.disparity_bias,
            padding_mode=padding_mode,
        )
        for own in channels[-config.scales :]
    )


class DisparityHead(nn.Module):
    """Features to disparity ``alpha * sigmoid(x) + beta`` (Zhou et al. section 3.5), in float32.

    Args:
        channels: of the features.
        alpha, beta: the range of the disparity is (beta, alpha + beta).
        bias: initial x; 0 would start at half of the range, far too near for a street.
        padding_mode: of the 3x3 convolution.
    """

    def __init__(
        self, channels: int, *, alpha: float, beta: float, bias: float, padding_mode: Padding
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.conv = nn.Conv2d(channels, 1, 3, padding=1, padding_mode=padding_mode)
        initialize_prediction(self.conv, gain=0.3, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.alpha * torch.sigmoid(self.conv(features).float()) + self.beta
