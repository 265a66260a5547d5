"""Base of the depth networks with a classifier's encoder: a decoder with skips, 4 scales."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.config import NetworkConfig
from training.networks.disparity import Padding, disparity_heads
from training.networks.initialization import initialize_relu_layers

PADDING: Padding = "reflect"
"""Zero padding leaves a dark border of some eight pixels around the depth image."""
Layer = Callable[[int, int], nn.Module]


class SkipDepthNet(nn.Module):
    """Encoder with five features, and a decoder that reduces, upsamples and merges at each level.

    ``forward`` takes RGB (b, 3, h, w) in [0, 1], h and w multiples of 32 and at least 64, and
    returns disparities (b, 1, h / 2^k, w / 2^k), finest first.

    Args:
        config: scales and range of the disparity.
        encoder: RGB to features at strides 2, 4, 8, 16, 32.
        taps: channels of those features.
        channels: of the decoder after the up-samplings to strides 16, 8, 4, 2 and 1.
        reduce: creates a layer that reduces the channels before an up-sampling.
        merge: creates a layer that merges the features with the skip.
    """

    def __init__(
        self,
        config: NetworkConfig,
        encoder: nn.Module,
        *,
        taps: tuple[int, ...],
        channels: tuple[int, ...],
        reduce: Layer,
        merge: Layer,
    ) -> None:
        super().__init__()
        self.scales = config.scales
        before = (taps[-1], *channels[:-1])
        skips = (*reversed(taps[:-1]), 0)
        self.reduce = nn.ModuleList(reduce(i, o) for i, o in zip(before, channels, strict=True))
        self.merge = nn.ModuleList(
            merge(own + skip, own) for own, skip in zip(channels, skips, strict=True)
        )
        initialize_relu_layers(self)
        self.heads = disparity_heads(config, channels, PADDING)
        self.encoder = encoder

    def forward(self, rgb_b3hw: Tensor) -> list[Tensor]:
        taps = self.encoder(rgb_b3hw)
        features = taps[-1]
        disparities: list[Tensor] = []
        for step, (reduce, merge) in enumerate(zip(self.reduce, self.merge, strict=True)):
            level = len(self.reduce) - 1 - step
            # Reducing the channels before the up-sampling costs a quarter of doing it after.
            features = F.interpolate(reduce(features), scale_factor=2.0, mode="nearest")
            if level > 0:
                features = torch.cat([features, taps[level - 1]], dim=1)
            features = merge(features)
            if level < self.scales:
                disparities.append(self.heads[self.scales - 1 - level](features))
        return disparities[::-1]
