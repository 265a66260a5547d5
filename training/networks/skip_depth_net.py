"""The depth networks with a classifier's encoder: a decoder with skips, 4 scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import NetworkConfig
from training.networks.encoders.efficientnet_lite0 import EfficientNetLite0, batch_norm
from training.networks.encoders.resnet import ResNet
from training.networks.layers import (
    DisparityHead,
    Padding,
    initialize_relu_layers,
    padding_of,
)

_PADDING: Padding = "reflect"
"""Zero padding before the finest disparity leaves a dark border of some eight pixels around it."""
_BORDER = (2, 2, 2, 2)
"""Pixels that two layers take without padding, the last level's and a head's."""
_LEVELS = 5
_Layer = Callable[[int, int], nn.Module]


class SkipDepthNet(nn.Module):
    """Encoder with five features, and a decoder that reduces, upsamples and merges at each level.

    ``forward`` takes RGB (b, 3, h, w) in [0, 1], h and w multiples of 32 and at least 64, and
    returns disparities (b, 1, h / 2^k, w / 2^k), finest first.

    Args:
        config: scales and range of the disparity.
        encoder: RGB to features at strides 2, 4, 8, 16, 32.
        channels: of the decoder after the up-samplings to strides 16, 8, 4, 2 and, unless the
            finest disparity is made of sub-pixels, 1.
        reduce: creates a layer that reduces the channels before an up-sampling.
        merge: creates a layer that merges the features with the skip, padded or not.
        sub_pixel: creates a head that turns the features of stride 2, with a border of one pixel,
            into the finest disparity.
    """

    def __init__(
        self,
        config: NetworkConfig,
        encoder: EfficientNetLite0 | ResNet,
        *,
        channels: tuple[int, ...],
        reduce: _Layer,
        merge: Callable[[int, int, bool], nn.Module],
        sub_pixel: Callable[[NetworkConfig, int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.scales = config.scales
        *skips, bottleneck = (0, *encoder.tap_channels)
        before = (bottleneck, *channels[:-1])
        self._levels = range(_LEVELS - 1, _LEVELS - 1 - len(channels), -1)
        self._padded_at = None if sub_pixel is None else self._levels[-1]
        are_padded = [level != self._padded_at for level in self._levels]
        self.reduce = nn.ModuleList(reduce(i, o) for i, o in zip(before, channels, strict=True))
        self.merge = nn.ModuleList(
            merge(own + skips[level], own, is_padded)
            for level, own, is_padded in zip(self._levels, channels, are_padded, strict=True)
        )
        initialize_relu_layers(self)
        self.heads = nn.ModuleList(
            DisparityHead(config, own, _PADDING, is_padded)
            for level, own, is_padded in zip(self._levels, channels, are_padded, strict=True)
            if level < config.scales
        )
        self.sub_pixel = None if sub_pixel is None else sub_pixel(config, channels[-1])
        self.encoder = encoder

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        return self.decode(self.encoder(rgb_b3hw))

    def decode(self, taps: list[Tensor]) -> list[Tensor]:
        """The disparities from the features of the encoder."""
        features = taps[-1]
        disparities: list[Tensor] = []
        for level, reduce, merge in zip(self._levels, self.reduce, self.merge, strict=True):
            # Reducing the channels before the up-sampling costs a quarter of doing it after.
            features = F.interpolate(reduce(features), scale_factor=2.0, mode="nearest")
            if level > 0:
                features = torch.cat([features, taps[level - 1]], dim=1)
            if level == self._padded_at:
                features = F.pad(features, _BORDER, mode=_PADDING)
            features = merge(features)
            if level < self.scales:
                disparities.append(self.heads[len(disparities)](features))
        if self.sub_pixel is not None:
            disparities.append(self.sub_pixel(features))
        return disparities[::-1]


class LiteDepthNet(SkipDepthNet):
    """Depth network for processors without a GPU.

    3 M parameters, 0.5 billion multiply-adds at 128x416.
    """

    def __init__(self, config: NetworkConfig) -> None:
        encoder = EfficientNetLite0()
        super().__init__(
            config,
            encoder,
            channels=(128, 96, 64, 32),
            reduce=_pointwise,
            merge=_separable,
            sub_pixel=_SubPixelHead,
        )
        if config.pretrained:
            encoder.load_imagenet()


class ResNetDepthNet(SkipDepthNet):
    """Depth network of the GeoNet and Monodepth2 kind.

    14.3 M parameters with ``resnet18``, 32.5 M with ``resnet50``; the decoder's channels are those
    of Godard et al. 2019. Starts from ``config.encoder_weights`` if that names a file.
    """

    def __init__(self, config: NetworkConfig) -> None:
        encoder = ResNet(config.depth)
        super().__init__(
            config,
            encoder,
            channels=(256, 128, 64, 32, 16),
            reduce=_conv_elu,
            merge=_conv_elu,
        )
        if config.encoder_weights:
            encoder.load_weights(Path(config.encoder_weights).expanduser())


class _SubPixelHead(nn.Module):
    """The finest disparity from features of half its size, four values for each of their pixels.

    At full size a decoder has no more features to merge, and each of its layers takes as long as
    two of the encoder on a CPU (Shi et al., CVPR 2016, "efficient sub-pixel convolution").
    """

    def __init__(self, config: NetworkConfig, channels: int) -> None:
        super().__init__()
        self.refine = _separable(channels, channels, False)
        initialize_relu_layers(self.refine)
        self.disparity = DisparityHead(config, channels, _PADDING, False, kernel=1, outputs=4)

    def forward(self, features: Tensor) -> Tensor:
        return sub_pixels_in_place(self.disparity(self.refine(features)))


def sub_pixels_in_place(parts_b4hw: Tensor) -> Tensor:
    """(b, 4, h, w) to (b, 1, 2 h, 2 w): the four of a pixel, row by row, beside each other.

    As ``pixel_shuffle``, but columns first and then rows: exported as one operation on six axes it
    takes four times as long on a CPU.
    """
    batch, _, height, width = parts_b4hw.shape
    rows = parts_b4hw.reshape(batch, 2, 2, height * width).transpose(2, 3)
    rows = rows.reshape(batch, 2, height, 2 * width).transpose(1, 2)
    return rows.reshape(batch, 1, 2 * height, 2 * width)


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), batch_norm(outputs), nn.ReLU(inplace=True)
    )


def _separable(inputs: int, outputs: int, is_padded: bool) -> nn.Sequential:
    # Reflection is an operation of its own, which takes as long as a layer on a CPU.
    padding = padding_of(is_padded, "zeros")
    depthwise = nn.Conv2d(inputs, inputs, 3, groups=inputs, bias=False, **padding)
    return nn.Sequential(depthwise, *_pointwise(inputs, outputs))


def _conv_elu(inputs: int, outputs: int, is_padded: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, **padding_of(is_padded, _PADDING))
    return nn.Sequential(conv, nn.ELU(inplace=True))
