"""The pose network of SfMLearner, with its explainability mask decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.networks import layers

_CHANNELS = (16, 32, 64, 128, 256, 256, 256)
_KERNELS = (7, 5, 3, 3, 3, 3, 3)
_SHARED_LAYERS = 5
_MASK_CHANNELS = (256, 128, 64, 32, 16)
_MASK_KERNELS = (3, 3, 3, 5, 7)

FEATURES = _CHANNELS[-1]
"""Channels of the bottleneck."""


class PoseOutput(NamedTuple):
    """Prediction of the pose network for stacked frames.

    Attributes:
        vectors_bm6: one pose vector per motion, translation first, float32.
        mask_logits_bshw: one logit per source and pixel, finest first; empty without a decoder.
        features_bc: the bottleneck, averaged over the image.
    """

    vectors_bm6: Tensor
    mask_logits_bshw: list[Tensor]
    features_bc: Tensor


class PoseNet(nn.Module):
    """Seven strided convolutions over stacked frames, averaged to one motion per pair.

    Args:
        frames: number of stacked frames; there are ``frames - 1`` motions.
        translation_factor: scales the last layer's translation output.
        rotation_factor: scales the last layer's rotation output.
        mask_scales: number of explainability masks, finest first; 0 omits the decoder.
    """

    def __init__(
        self,
        frames: int,
        *,
        translation_factor: float,
        rotation_factor: float,
        mask_scales: int = 0,
    ) -> None:
        super().__init__()
        self.motions = frames - 1
        inputs = (3 * frames, *_CHANNELS[:-1])
        self.convs = nn.ModuleList(
            layers.conv_relu(i, o, k, stride=2)
            for i, o, k in zip(inputs, _CHANNELS, _KERNELS, strict=True)
        )
        layers.initialize_relu_layers(self)
        self.predict = nn.Conv2d(_CHANNELS[-1], 6 * self.motions, 1)
        layers.initialize_prediction(self.predict, gain=0.3)
        factors = [translation_factor] * 3 + [rotation_factor] * 3
        self.register_buffer("factors", torch.tensor(factors), persistent=False)
        self.masks = MaskDecoder(self.motions, mask_scales) if mask_scales else None

    def forward(self, frames_bnchw: Tensor) -> PoseOutput:
        """Motions and masks of frames (b, frames, 3, h, w), RGB in [0, 1], in order of time."""
        features = layers.normalize(frames_bnchw.flatten(1, 2))
        inputs: list[Tensor] = []
        for conv in self.convs:
            inputs.append(features)
            features = conv(features)
        mean = self.predict(features).float().mean(dim=(2, 3))
        vectors = mean.view(-1, self.motions, 6) * self.factors
        masks = self.masks(inputs[: _SHARED_LAYERS + 1]) if self.masks is not None else []
        return PoseOutput(vectors, masks, features.float().mean(dim=(2, 3)))


class MaskDecoder(nn.Module):
    """Five transposed convolutions back to full size; one logit per source and pixel."""

    def __init__(self, sources: int, scales: int) -> None:
        super().__init__()
        inputs = (_CHANNELS[_SHARED_LAYERS - 1], *_MASK_CHANNELS[:-1])
        self.ups = nn.ModuleList(
            layers.up_conv_relu(i, o, k)
            for i, o, k in zip(inputs, _MASK_CHANNELS, _MASK_KERNELS, strict=True)
        )
        layers.initialize_relu_layers(self)
        self.scales = scales
        self.heads = nn.ModuleList(
            nn.Conv2d(channels, sources, kernel, padding=(kernel - 1) // 2)
            for channels, kernel in list(zip(_MASK_CHANNELS, _MASK_KERNELS, strict=True))[-scales:]
        )
        for head in self.heads:
            assert isinstance(head, nn.Conv2d)
            layers.initialize_prediction(head)

    def forward(self, shared: list[Tensor]) -> list[Tensor]:
        """Logits, finest first; ``shared`` are the features of the shared layers and the input."""
        logits, features = [], shared[-1]
        for level, up in zip(reversed(range(len(self.ups))), self.ups, strict=True):
            height, width = shared[level].shape[-2:]
            features = up(features)[..., :height, :width]
            if level < self.scales:
                logits.append(self.heads[self.scales - 1 - level](features).float())
        return logits[::-1]
