"""A pose network that looks at features of the depth network's encoder, not at pixels.

Each frame is encoded once: its features serve its own depth, and its motion in every window it is
part of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.networks import layers
from training.networks.pose_net import PoseOutput

_FINE, _COARSE = 1, 2
"""Features of the encoder that are used: those of stride 4 know positions best."""
_MERGED = 48
"""Channels of both together, at stride 8."""
_ROLES = 3
"""Of a frame in a motion: the older of two neighbors, the newer, or one of the others."""
_HEAD = (64, 96, 128, 128)
"""Channels; the first for each role, from each frame alone."""
_STRIDES = (1, 2, 1)


class FeaturePoseNet(nn.Module):
    """Motions between the neighbors of a window from the features of all its frames.

    Half the difference of the outputs for both orders of two neighbors is their motion, so that
    reversing a window inverts its motions and equal frames have none: what a network that takes
    the frames as they come does not learn from a few hundred windows.

    The first convolution over several frames is a sum of one for each of them. It is done with the
    frame, once for each role, instead of again for each motion and order.

    Args:
        tap_channels: channels of the encoder's features, see `EfficientNetLite0`.
        translation_factor, rotation_factor: scale the output of the last layer.
    """

    def __init__(
        self, tap_channels: Sequence[int], *, translation_factor: float, rotation_factor: float
    ) -> None:
        super().__init__()
        self.fine = nn.Conv2d(tap_channels[_FINE], _MERGED, 3, 2, padding=1, bias=False)
        self.coarse = nn.Conv2d(tap_channels[_COARSE], _MERGED, 1, bias=False)
        # The encoder's features have any size; the exported graph has it inside the convolutions.
        self.normalize = nn.BatchNorm2d(_MERGED)
        self.roles = nn.Conv2d(_MERGED, _ROLES * _HEAD[0], 3, 2, padding=1)
        self.convs = nn.Sequential(
            *(
                layers.conv_relu(i, o, 3, s)
                for i, o, s in zip(_HEAD[:-1], _HEAD[1:], _STRIDES, strict=True)
            )
        )
        layers.initialize_relu_layers(self)
        # The sum over the roles precedes the ReLU, not each part of it.
        nn.init.normal_(self.roles.weight, std=(2 / (_ROLES * _MERGED * 9)) ** 0.5)
        self.predict = nn.Conv2d(_HEAD[-1], 6, 1)
        layers.initialize_prediction(self.predict, gain=0.3)
        factors = [translation_factor] * 3 + [rotation_factor] * 3
        self.register_buffer("factors", torch.tensor(factors), persistent=False)

    def embed(self, taps: Sequence[Tensor]) -> Tensor:
        """Features of frames (b, c, h / 16, w / 16) from those of the encoder."""
        merged = self.normalize(self.fine(taps[_FINE]) + self.coarse(taps[_COARSE]))
        return self.roles(merged)  # type: ignore[no-any-return]

    def forward(self, features_bnchw: Tensor) -> PoseOutput:
        """Symmetric vectors (b, n - 1, 6) of neighbors, older from newer, frames in order of time.

        See `training.geometry.se3.transform_from_symmetric_vector`.
        """
        frames = [frame.chunk(_ROLES, dim=1) for frame in features_bnchw.unbind(1)]
        pairs = [(older, older + 1) for older in range(len(frames) - 1)]
        orders = [*pairs, *((newer, older) for older, newer in pairs)]
        seen = torch.stack([_seen(frames, first, second) for first, second in orders], dim=1)
        features = self.convs(F.relu(seen).flatten(0, 1))
        mean = self.predict(features).float().mean(dim=(2, 3))
        forward, backward = mean.view(-1, 2, len(pairs), 6).unbind(1)
        features_bc = features.float().mean(dim=(2, 3)).unflatten(0, (-1, len(orders))).mean(dim=1)
        return PoseOutput(0.5 * (forward - backward) * self.factors, [], features_bc)


def _seen(frames: Sequence[Sequence[Tensor]], first: int, second: int) -> Tensor:
    """Two frames and the mean of the others, each in its role."""
    seen = frames[first][0] + frames[second][1]
    others = [roles[2] for i, roles in enumerate(frames) if i not in (first, second)]
    return seen + sum(others[1:], others[0]) / len(others) if others else seen
