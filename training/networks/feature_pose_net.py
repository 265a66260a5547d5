"""A pose network that looks at features of the depth network's encoder, not at pixels.

Each frame is encoded once: its features serve its own depth, and its motion in every window it is
part of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.networks import layers

STRIDE = 8
"""Pixels of a cell of the features."""
_FINE, _COARSE = 1, 2
"""Features of the encoder that are used: those of stride 4 know positions best."""
_DESCRIPTOR, _CONTEXT = 32, 16
"""Channels by which a cell is found in a neighboring frame, and of what it shows."""
_REACH = 2
"""Rows above and below in which it is searched for; along the row it may be anywhere."""
_SHARPNESS = 20.0
"""A match that is better by 0.1, as the cosine of descriptors, has the weight of e^2 others."""
_FLOW, _SPREAD, _POSITION = 2, 2, 2
_HEAD = (64, 96, 96)
_STRIDES = (2, 2, 1)
_FARTHEST = 3.0
"""Units of depth; what is farther has hardly any parallax."""
_LEAST_VARIANCE = 0.01
"""Cells squared; keeps the gradient of a standard deviation finite."""


class Flow(NamedTuple):
    """Where the cells of one frame are in another.

    Attributes:
        mean_b2hw: the flow, x first, from the first frame to the second, in cells.
        spread_b2hw: its standard deviation.
        likely_bhwm: what each place is worth: `REACH` rows above to as many below, all columns.
    """

    mean_b2hw: Tensor
    spread_b2hw: Tensor
    likely_bhwm: Tensor


class FeaturePoseOutput(NamedTuple):
    """Prediction of `FeaturePoseNet` for n frames.

    Attributes:
        vectors_bm6: symmetric vectors of neighbors, older from newer, frames in order of time.
        features_bc: the last features, averaged over the image.
        flow: of all orders of two neighbors (o x b): forward in time first, from the older frame.
    """

    vectors_bm6: Tensor
    features_bc: Tensor
    flow: Flow


class FeaturePoseNet(nn.Module):
    """Motions between the neighbors of a window from the features of all its frames.

    Every cell of a frame is searched for in its neighbor: the softmax of the products of their
    descriptors gives where it went, the flow, and how far that is spread (Xu et al., GMFlow, CVPR
    2022, eq. 1 to 3, along the rows around). A few convolutions turn the flow, alone and times the
    depth, into a motion and a weight for each part of the image.

    Half the difference of the outputs for both orders of two neighbors is their motion, so that
    reversing a window inverts its motions and equal frames have none: what a network that takes
    the frames as they come does not learn from a few hundred windows.

    Args:
        tap_channels: channels of the encoder's features, see `EfficientNetLite0`.
        translation_factor, rotation_factor: scale the output of the last layer.
    """

    def __init__(
        self, tap_channels: Sequence[int], *, translation_factor: float, rotation_factor: float
    ) -> None:
        super().__init__()
        merged = _DESCRIPTOR + _CONTEXT
        self.fine = nn.Conv2d(tap_channels[_FINE], merged, 3, 2, padding=1, bias=False)
        self.coarse = nn.Conv2d(tap_channels[_COARSE], merged, 1, bias=False)
        # The encoder's features have any size; the exported graph has it inside the convolutions.
        self.normalize = nn.BatchNorm2d(merged)
        seen = 3 * _FLOW + _SPREAD + _CONTEXT + 1 + _POSITION
        self.convs = nn.Sequential(
            *(
                layers.conv_relu(i, o, 3, s)
                for i, o, s in zip((seen, *_HEAD[:-1]), _HEAD, _STRIDES, strict=True)
            )
        )
        layers.initialize_relu_layers(self)
        self.predict = nn.Conv2d(_HEAD[-1], 2 * 6, 1)
        layers.initialize_prediction(self.predict, gain=0.3)
        factors = [translation_factor] * 3 + [rotation_factor] * 3
        self.register_buffer("factors", torch.tensor(factors), persistent=False)

    def embed(self, taps: Sequence[Tensor], disparity_b1hw: Tensor) -> Tensor:
        """Features of frames (b, c, h / 8, w / 8): descriptors, context and disparity.

        Args:
            taps: features of the encoder.
            disparity_b1hw: of the same frames, at full size.
        """
        merged = self.normalize(self.fine(taps[_FINE]) + self.coarse(taps[_COARSE]))
        descriptor, context = merged.split([_DESCRIPTOR, _CONTEXT], dim=1)
        disparity = F.avg_pool2d(disparity_b1hw.detach(), STRIDE)
        return torch.cat([F.normalize(descriptor, dim=1), F.relu(context), disparity], dim=1)

    def forward(self, features_bnchw: Tensor) -> FeaturePoseOutput:
        """Motions of neighbors, see `training.geometry.se3.transform_from_symmetric_vector`."""
        pairs = [(older, older + 1) for older in range(features_bnchw.shape[1] - 1)]
        orders = [*pairs, *((newer, older) for older, newer in pairs)]
        first, second = (
            torch.stack([features_bnchw[:, order[i]] for order in orders]) for i in (0, 1)
        )
        descriptors, sought = (f[:, :, :_DESCRIPTOR].flatten(0, 1) for f in (first, second))
        flow, context = match(descriptors, sought), first[:, :, _DESCRIPTOR:].flatten(0, 1)
        features = self.convs(_seen(flow, context, len(pairs)))
        value, weight = self.predict(features).float().flatten(2).chunk(2, dim=1)
        mean = (value * weight.softmax(dim=-1)).sum(dim=-1)
        forward, backward = mean.view(2, len(pairs), -1, 6).transpose(1, 2).unbind(0)
        features_bc = features.float().mean(dim=(2, 3)).unflatten(0, (len(orders), -1)).mean(dim=0)
        return FeaturePoseOutput(0.5 * (forward - backward) * self.factors, features_bc, flow)


def _seen(flow: Flow, context_ochw: Tensor, pairs: int) -> Tensor:
    """What the convolutions see of motions: of o orders of two frames, all forward ones first.

    The flow, its spread, the mean flow of the other motions in the same direction of time, the
    flow times the depth; the first frame's context and disparity, and positions in the image.
    """
    mean = flow.mean_b2hw
    in_time = mean.unflatten(0, (2, pairs, -1))
    others = (in_time.sum(dim=1, keepdim=True) - in_time).flatten(0, 2) / max(pairs - 1, 1)
    depth = context_ochw[:, -1:].reciprocal().clamp(0.0, _FARTHEST)
    parts = [mean, flow.spread_b2hw, others, mean * depth, context_ochw, _positions(mean)]
    return torch.cat(parts, dim=1)


def match(first_bchw: Tensor, second_bchw: Tensor) -> Flow:
    """Search for the cells of one frame in another, by descriptors of length 1."""
    device = first_bchw.device.type
    if torch.is_autocast_enabled(device):  # half precision knows the column to a tenth of a cell
        with torch.autocast(device, enabled=False):
            return match(first_bchw.float(), second_bchw.float())
    height, width = first_bchw.shape[-2:]
    padded = F.pad(second_bchw, (0, 0, _REACH, _REACH))
    rows = torch.stack([padded[:, :, i : i + height] for i in range(2 * _REACH + 1)], dim=3)
    sought_bhcm = rows.permute(0, 2, 1, 3, 4).flatten(3)
    likely = (_SHARPNESS * first_bchw.permute(0, 2, 3, 1) @ sought_bhcm).softmax(dim=-1)
    x, y = _places(width, likely)
    moments = torch.stack([x, y, x.square(), y.square()], dim=1)
    mean, square = (likely @ moments).permute(0, 3, 1, 2).chunk(2, dim=1)
    spread = (F.relu(square - mean.square()) + _LEAST_VARIANCE).sqrt()
    start = torch.stack([x[:width], torch.zeros_like(x[:width])])
    return Flow(mean - start[:, None], spread, likely)


def _places(width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Column, from the middle, and row, from the own, of everything a cell is compared with."""
    x = torch.arange(width, dtype=like.dtype, device=like.device) - width / 2
    y = torch.arange(-_REACH, _REACH + 1, dtype=like.dtype, device=like.device)
    return x.repeat(len(y)), y.repeat_interleave(width)


def _positions(like_bchw: Tensor) -> Tensor:
    """Row and column of each cell, from -1 to 1."""
    rows, columns = (
        torch.linspace(-1, 1, size, dtype=like_bchw.dtype, device=like_bchw.device)
        for size in like_bchw.shape[-2:]
    )
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return grid.expand(len(like_bchw), -1, -1, -1)
