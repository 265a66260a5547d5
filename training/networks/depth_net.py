"""DispNet as SfMLearner uses it: 14 encoder layers, 7 up-convolutions with skips, 4 scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import NetworkConfig
from training.networks.disparity import DisparityHead, normalise
from training.networks.initialisation import initialise_relu_layers

_ENCODER_CHANNELS = (32, 64, 128, 256, 512, 512, 512)
_ENCODER_KERNELS = (7, 5, 3, 3, 3, 3, 3)
_DECODER_CHANNELS = (512, 512, 256, 128, 64, 32, 16)


def _conv_relu(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding), nn.ReLU(inplace=True)
    )


def _down(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        _conv_relu(inputs, outputs, kernel=kernel, stride=2),
        _conv_relu(outputs, outputs, kernel=kernel),
    )


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1),
        nn.ReLU(inplace=True),
    )


class DispNet(nn.Module):
    """Depth network of Zhou et al. (31.6 M parameters).

    ``forward`` takes RGB (b, 3, h, w) in [0, 1] and returns disparities (b, 1, h / 2^k, w / 2^k),
    finest first. Any size works: an up-convolution is cropped to the skip it meets.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.scales = config.scales
        inputs = (3, *_ENCODER_CHANNELS[:-1])
        self.down = nn.ModuleList(
            _down(i, o, k)
            for i, o, k in zip(inputs, _ENCODER_CHANNELS, _ENCODER_KERNELS, strict=True)
        )
        # Level 0 is full resolution, which has no skip.
        skips = (*reversed(_ENCODER_CHANNELS[:-1]), 0)
        before = (_ENCODER_CHANNELS[-1], *_DECODER_CHANNELS[:-1])
        self.up = nn.ModuleList(_up(i, o) for i, o in zip(before, _DECODER_CHANNELS, strict=True))
        levels = range(len(_DECODER_CHANNELS) - 1, -1, -1)
        self.merge = nn.ModuleList(
            _conv_relu(channels + skip + (1 if level < self.scales - 1 else 0), channels)
            for channels, skip, level in zip(_DECODER_CHANNELS, skips, levels, strict=True)
        )
        initialise_relu_layers(self)
        self.heads = nn.ModuleList(
            DisparityHead(
                channels,
                alpha=config.disparity_alpha,
                beta=config.disparity_beta,
                bias=config.disparity_bias,
                padding_mode="zeros",
            )
            for channels in _DECODER_CHANNELS[-self.scales :]
        )

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        features = normalise(rgb_b3hw)
        skips: list[Tensor] = []
        for down in self.down:
            skips.append(features)
            features = down(features)

        disparities: list[Tensor] = []
        for up, merge, level in zip(
            self.up, self.merge, range(len(self.up) - 1, -1, -1), strict=True
        ):
            skip = skips[level]
            height, width = skip.shape[-2:]
            parts = [up(features)[..., :height, :width]]
            if level > 0:
                parts.append(skip)
            if disparities:
                coarser = F.interpolate(
                    disparities[-1], size=(height, width), mode="bilinear", align_corners=False
                )
                parts.append(coarser.to(parts[0].dtype))
            features = merge(torch.cat(parts, dim=1))
            if level < self.scales:
                disparities.append(self.heads[self.scales - 1 - level](features))
        return disparities[::-1]
