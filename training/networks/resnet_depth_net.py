"""The residual depth networks: ResNet encoder, plain convolutions in the decoder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from training.config import NetworkConfig
from training.networks.encoders.resnet import ResNet
from training.networks.skip_depth_net import PADDING, SkipDepthNet


def _conv_elu(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode=PADDING), nn.ELU(inplace=True)
    )


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
            taps=encoder.tap_channels,
            channels=(256, 128, 64, 32, 16),
            reduce=_conv_elu,
            merge=_conv_elu,
        )
        if config.encoder_weights:
            encoder.load_weights(Path(config.encoder_weights).expanduser())
