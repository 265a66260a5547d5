"""Depth networks of plain convolutions and skips: DispNet as SfMLearner uses it, and VGG nets."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import NetworkConfig
from training.networks import layers

_ENCODER_CHANNELS = (32, 64, 128, 256, 512, 512, 512)
_ENCODER_KERNELS = (7, 5, 3, 3, 3, 3, 3)
_DECODER_CHANNELS = (512, 512, 256, 128, 64, 32, 16)


def _down(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    half = layers.conv_relu(inputs, outputs, kernel, stride=2)
    return nn.Sequential(half, layers.conv_relu(outputs, outputs, kernel))


def _convolve_then_down(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    full = layers.conv_relu(inputs, outputs, kernel)
    return nn.Sequential(full, layers.conv_relu(outputs, outputs, kernel, stride=2))


def _upsample(inputs: int, outputs: int) -> nn.Sequential:
    twice = nn.Upsample(scale_factor=2.0, mode="nearest")
    return nn.Sequential(twice, layers.conv_relu(inputs, outputs))


def _channels_last(map_b1hw: Tensor) -> Tensor:
    """The same map, with strides that mark it as channels-last.

    A single channel is in both orders at once; taken as contiguous, it would make the result of a
    concatenation contiguous, which is ten times as slow.
    """
    return map_b1hw.flatten(1, 2).unsqueeze(-1).permute(0, 3, 1, 2)


class DispNet(nn.Module):
    """Depth network of Zhou et al. (31.6 M parameters).

    14 encoder layers, 7 up-convolutions with skips, 4 scales. ``forward`` takes RGB (b, 3, h, w)
    in [0, 1] and returns disparities (b, 1, h / 2^k, w / 2^k), finest first. Any size works: an
    up-convolution is cropped to the skip it meets.

    Args:
        config: scales and range of the disparity.
        levels: number of times the encoder halves the image, at most 7.
        down: creates the two layers of an encoder level from its channels and kernel.
        up: creates the layer that doubles the size, from its channels.
    """

    def __init__(
        self,
        config: NetworkConfig,
        *,
        levels: int = len(_ENCODER_CHANNELS),
        down: Callable[[int, int, int], nn.Module] = _down,
        up: Callable[[int, int], nn.Module] = layers.up_conv_relu,
    ) -> None:
        super().__init__()
        self.scales = config.scales
        encoder = _ENCODER_CHANNELS[:levels]
        decoder = _DECODER_CHANNELS[-levels:]
        self.down = nn.ModuleList(
            down(i, o, k)
            for i, o, k in zip((3, *encoder[:-1]), encoder, _ENCODER_KERNELS[:levels], strict=True)
        )
        # Level 0 is full resolution and has no skip.
        skips = (*reversed(encoder[:-1]), 0)
        before = (encoder[-1], *decoder[:-1])
        self.up = nn.ModuleList(up(i, o) for i, o in zip(before, decoder, strict=True))
        self.merge = nn.ModuleList(
            layers.conv_relu(channels + skip + (level < self.scales - 1), channels)
            for channels, skip, level in zip(decoder, skips, reversed(range(levels)), strict=True)
        )
        layers.initialize_relu_layers(self)
        self.heads = nn.ModuleList(
            layers.DisparityHead(config, own, "zeros") for own in decoder[-config.scales :]
        )

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        features = layers.normalize(rgb_b3hw)
        skips: list[Tensor] = []
        for down in self.down:
            skips.append(features)
            features = down(features)

        disparities: list[Tensor] = []
        levels = reversed(range(len(self.up)))
        for up, merge, level in zip(self.up, self.merge, levels, strict=True):
            skip = skips[level]
            height, width = skip.shape[-2:]
            parts = [up(features)[..., :height, :width]]
            if level > 0:
                parts.append(skip)
            if disparities:
                coarser = F.interpolate(
                    disparities[-1], size=(height, width), mode="bilinear", align_corners=False
                )
                parts.append(_channels_last(coarser.to(parts[0].dtype)))
            features = merge(torch.cat(parts, dim=1))
            if level < self.scales:
                disparities.append(self.heads[self.scales - 1 - level](features))
        return disparities[::-1]


class VggDepthNet(DispNet):
    """DispNet in the style of VGG: convolve at a resolution first, then halve it.

    The up-convolutions upsample to the nearest pixel and convolve, which avoids the checkerboard
    of transposed convolutions (the plain encoder of Godard et al. 2017 and GeoNet). With 7 levels
    it has the 14 + 7 + 7 layers and the size of DispNet (31.6 M parameters), with 6 levels 12
    encoder layers (19.8 M).
    """

    def __init__(self, config: NetworkConfig, *, levels: int) -> None:
        super().__init__(config, levels=levels, down=_convolve_then_down, up=_upsample)
