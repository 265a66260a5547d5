"""A pose network that looks at features of the depth network's encoder, not at pixels.

Each frame is encoded once: its features serve its own depth, and its motion in every window it is
part of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.networks import layers
from training.networks.pose_net import PoseOutput

CHANNELS = 48
"""Of the features of a frame, at stride 8."""
_FINE, _COARSE = 1, 2
"""Features of the encoder that are used: those of stride 4 know positions best."""
_HEAD = (128, 128, 192, 192)
_STRIDES = (2, 1, 2, 1)


class FeaturePoseNet(nn.Module):
    """Motion between the frames of a window from the features of each.

    Args:
        tap_channels: channels of the encoder's features, see `EfficientNetLite0`.
        frames: of a window.
        translation_factor, rotation_factor: scale the output of the last layer.
    """

    def __init__(
        self,
        tap_channels: Sequence[int],
        frames: int,
        *,
        translation_factor: float,
        rotation_factor: float,
    ) -> None:
        super().__init__()
        self.fine = nn.Conv2d(tap_channels[_FINE], CHANNELS, 3, 2, padding=1, bias=False)
        self.coarse = nn.Conv2d(tap_channels[_COARSE], CHANNELS, 1, bias=False)
        # The encoder's features have any size; the exported graph has it inside the convolutions.
        self.normalize = nn.BatchNorm2d(CHANNELS)
        inputs = (frames * CHANNELS, *_HEAD[:-1])
        self.convs = nn.Sequential(
            *(
                layers.conv_relu(i, o, 3, s)
                for i, o, s in zip(inputs, _HEAD, _STRIDES, strict=True)
            )
        )
        layers.initialize_relu_layers(self)
        self.motions = frames - 1
        self.predict = nn.Conv2d(_HEAD[-1], 6 * self.motions, 1)
        layers.initialize_prediction(self.predict, gain=0.3)
        factors = [translation_factor] * 3 + [rotation_factor] * 3
        self.register_buffer("factors", torch.tensor(factors), persistent=False)

    def embed(self, taps: Sequence[Tensor]) -> Tensor:
        """Features, not negative, of frames (b, c, h / 8, w / 8) from those of the encoder."""
        return self.normalize(self.fine(taps[_FINE]) + self.coarse(taps[_COARSE])).relu()

    def forward(self, features_bnchw: Tensor) -> PoseOutput:
        """Motions of windows of features, frames in order of time."""
        features = self.convs(features_bnchw.flatten(1, 2))
        mean = self.predict(features).float().mean(dim=(2, 3))
        vectors_bm6 = mean.view(-1, self.motions, 6) * self.factors
        return PoseOutput(vectors_bm6, [], features.float().mean(dim=(2, 3)))
