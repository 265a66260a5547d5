"""The small depth network: EfficientNet-Lite0 encoder, separable decoder with skips, 4 scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import NetworkConfig
from training.networks.disparity import DisparityHead, Padding, normalise
from training.networks.encoders.efficientnet_lite0 import (
    TAP_CHANNELS,
    EfficientNetLite0,
    batch_norm,
)
from training.networks.initialisation import initialise_relu_layers

_DECODER_CHANNELS = (128, 96, 64, 32, 16)
"""Channels after the up-samplings to strides 16, 8, 4, 2 and 1."""
_PADDING: Padding = "reflect"
"""Zero padding leaves a dark frame of some eight pixels around the depth image."""


class _SeparableConv(nn.Sequential):
    """Depthwise 3x3, pointwise 1x1, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(
                inputs, inputs, 3, padding=1, groups=inputs, bias=False, padding_mode=_PADDING
            ),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            batch_norm(outputs),
            nn.ReLU(inplace=True),
        )


class LiteDepthNet(nn.Module):
    """Depth network for processors without a GPU (3 M parameters, 0.8 GFLOP at 128x416).

    ``forward`` takes RGB (b, 3, h, w) in [0, 1], h and w multiples of 32 and at least 64, and
    returns disparities (b, 1, h / 2^k, w / 2^k), finest first.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.scales = config.scales
        skips = (*reversed(TAP_CHANNELS[:-1]), 0)
        before = (TAP_CHANNELS[-1], *_DECODER_CHANNELS[:-1])
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 1, bias=False), batch_norm(o), nn.ReLU(inplace=True))
            for i, o in zip(before, _DECODER_CHANNELS, strict=True)
        )
        self.merge = nn.ModuleList(
            _SeparableConv(channels + skip, channels)
            for channels, skip in zip(_DECODER_CHANNELS, skips, strict=True)
        )
        initialise_relu_layers(self)
        self.heads = nn.ModuleList(
            DisparityHead(
                channels,
                alpha=config.disparity_alpha,
                beta=config.disparity_beta,
                bias=config.disparity_bias,
                padding_mode=_PADDING,
            )
            for channels in _DECODER_CHANNELS[-self.scales :]
        )
        self.encoder = EfficientNetLite0()
        if config.pretrained:
            self.encoder.load_imagenet()

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        taps = self.encoder(normalise(rgb_b3hw))
        features = taps[-1]
        disparities: list[Tensor] = []
        for step, (reduce, merge) in enumerate(zip(self.reduce, self.merge, strict=True)):
            level = len(self.reduce) - 1 - step
            # Thinning the channels before the up-sampling costs a quarter of doing it after.
            features = F.interpolate(reduce(features), scale_factor=2.0, mode="nearest")
            if level > 0:
                features = torch.cat([features, taps[level - 1]], dim=1)
            features = merge(features)
            if level < self.scales:
                disparities.append(self.heads[self.scales - 1 - level](features))
        return disparities[::-1]
