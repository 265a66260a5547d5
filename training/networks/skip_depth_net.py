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
    Padding,
    disparity_heads,
    initialize_relu_layers,
    padding_of,
)

_PADDING: Padding = "reflect"
"""Zero padding leaves a dark border of some eight pixels around the depth image."""
_LAST_PADDED = 1
"""Level whose features are padded for the finest one, too, if only ``merge`` looks at neighbors:
at full size a padding takes as long on a processor as a convolution."""
_BORDER = (2, 2, 2, 2)
"""One pixel for the layer of a level, and one for its head, or for both of the next level."""
_Layer = Callable[[int, int], nn.Module]


class SkipDepthNet(nn.Module):
    """Encoder with five features, and a decoder that reduces, upsamples and merges at each level.

    ``forward`` takes RGB (b, 3, h, w) in [0, 1], h and w multiples of 32 and at least 64, and
    returns disparities (b, 1, h / 2^k, w / 2^k), finest first.

    Args:
        config: scales and range of the disparity.
        encoder: RGB to features at strides 2, 4, 8, 16, 32.
        channels: of the decoder after the up-samplings to strides 16, 8, 4, 2 and 1.
        reduce: creates a layer that reduces the channels before an up-sampling.
        merge: creates a layer that merges the features with the skip.
        pad_once: whether ``merge`` does not pad from `_LAST_PADDED` on.
    """

    def __init__(
        self,
        config: NetworkConfig,
        encoder: EfficientNetLite0 | ResNet,
        *,
        channels: tuple[int, ...],
        reduce: _Layer,
        merge: Callable[[int, int, bool], nn.Module],
        pad_once: bool,
    ) -> None:
        super().__init__()
        self.scales = config.scales
        *skips, bottleneck = (0, *encoder.tap_channels)
        before = (bottleneck, *channels[:-1])
        self.reduce = nn.ModuleList(reduce(i, o) for i, o in zip(before, channels, strict=True))
        self._pads_once = pad_once
        are_padded = [not pad_once or level > _LAST_PADDED for level in reversed(range(5))]
        self.merge = nn.ModuleList(
            merge(own + skip, own, is_padded)
            for own, skip, is_padded in zip(channels, reversed(skips), are_padded, strict=True)
        )
        initialize_relu_layers(self)
        self.heads = disparity_heads(config, channels, _PADDING, are_padded)
        self.encoder = encoder

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        return self.decode(self.encoder(rgb_b3hw))

    def decode(self, taps: list[Tensor]) -> list[Tensor]:
        """The disparities from the features of the encoder."""
        features = taps[-1]
        disparities: list[Tensor] = []
        for step, (reduce, merge) in enumerate(zip(self.reduce, self.merge, strict=True)):
            level = len(self.reduce) - 1 - step
            # Reducing the channels before the up-sampling costs a quarter of doing it after.
            features = F.interpolate(reduce(features), scale_factor=2.0, mode="nearest")
            if level > 0:
                features = torch.cat([features, taps[level - 1]], dim=1)
            if self._pads_once and level == _LAST_PADDED:
                features = F.pad(features, _BORDER, mode=_PADDING)
            features = merge(features)
            if level < self.scales:
                disparities.append(self.heads[self.scales - 1 - level](features))
        return disparities[::-1]


class LiteDepthNet(SkipDepthNet):
    """Depth network for processors without a GPU (3 M parameters, 0.8 GFLOP at 128x416)."""

    def __init__(self, config: NetworkConfig) -> None:
        encoder = EfficientNetLite0()
        super().__init__(
            config,
            encoder,
            channels=(128, 96, 64, 32, 16),
            reduce=_pointwise,
            merge=_separable,
            pad_once=True,
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
            pad_once=False,
        )
        if config.encoder_weights:
            encoder.load_weights(Path(config.encoder_weights).expanduser())


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False), batch_norm(outputs), nn.ReLU(inplace=True)
    )


def _separable(inputs: int, outputs: int, is_padded: bool) -> nn.Sequential:
    padding = padding_of(is_padded, _PADDING)
    depthwise = nn.Conv2d(inputs, inputs, 3, groups=inputs, bias=False, **padding)
    return nn.Sequential(depthwise, *_pointwise(inputs, outputs))


def _conv_elu(inputs: int, outputs: int, is_padded: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, **padding_of(is_padded, _PADDING))
    return nn.Sequential(conv, nn.ELU(inplace=True))
