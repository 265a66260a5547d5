"""The small depth network: EfficientNet-Lite0 encoder, separable decoder."""

from __future__ import annotations

from torch import nn

from training.config import NetworkConfig
from training.networks.encoders.efficientnet_lite0 import (
    TAP_CHANNELS,
    EfficientNetLite0,
    batch_norm,
)
from training.networks.skip_depth_net import PADDING, SkipDepthNet


class _PointwiseConv(nn.Sequential):
    """1x1, normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 1, bias=False), batch_norm(outputs), nn.ReLU(inplace=True)
        )


class _SeparableConv(nn.Sequential):
    """Depthwise 3x3, pointwise 1x1, normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(
                inputs, inputs, 3, padding=1, groups=inputs, bias=False, padding_mode=PADDING
            ),
            *_PointwiseConv(inputs, outputs),
        )


class LiteDepthNet(SkipDepthNet):
    """Depth network for processors without a GPU (3 M parameters, 0.8 GFLOP at 128x416)."""

    def __init__(self, config: NetworkConfig) -> None:
        encoder = EfficientNetLite0()
        super().__init__(
            config,
            encoder,
            taps=TAP_CHANNELS,
            channels=(128, 96, 64, 32, 16),
            reduce=_PointwiseConv,
            merge=_SeparableConv,
        )
        if config.pretrained:
            encoder.load_imagenet()
