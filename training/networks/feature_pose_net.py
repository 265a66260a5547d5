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

from training.batch import target_index
from training.geometry.camera import pixel_grid
from training.networks import layers
from training.networks.feature_matching import Flow, match
from training.networks.motion_solver import motion_equations, solve_motion

STRIDE = 8
"""Pixels of a cell of the features."""
_FINE, _COARSE = 1, 2
"""Features of the encoder that are used: those of stride 4 know positions best."""
_DESCRIPTOR, _CONTEXT = 32, 16
"""Channels by which a cell is found in a neighboring frame, and of what it shows."""
_FLOW, _SPREAD, _POSITION = 2, 4, 2
_NEAR, _FAR = 32, (64, 96)
"""Channels at the size of the features, and at a half and a quarter of it."""
_TRUST, _MOST_TRUST = -6.0, 6.0
"""Logarithm of what a prior of a motion is worth, beside all cells together: at first, at most."""
_FINEST = 0.5
"""The corrections of flow (cells) and logarithm of depth are about this small."""
_OUTLIER = 0.3
"""Cells; a flow that is off by so much counts half."""
_FARTHEST = 3.0
"""Units of depth; what is farther has hardly any parallax."""


class FeaturePoseOutput(NamedTuple):
    """Prediction of `FeaturePoseNet` for n frames.

    Attributes:
        vectors_bm6: symmetric vectors of neighbors, older from newer, frames in order of time.
        features_bc: the last features, averaged over the image.
        flow: of all pairs of neighbors (p x b), from the frame that is nearer to the target.
    """

    vectors_bm6: Tensor
    features_bc: Tensor
    flow: Flow


class FeaturePoseNet(nn.Module):
    """Motions between the neighbors of a window from the features of all its frames.

    Every cell of a frame is searched for in its neighbor: the softmax of the products of their
    descriptors gives where it went, the flow, and how far that is spread (Xu et al., GMFlow, CVPR
    2022, eq. 1 to 3, in the cells around). A few convolutions correct the flow and the depth,
    weigh the cells, as one on a moving car should not count, and guess a motion. The motion that
    explains the flow best, near the guess, is found by least squares, as in geometry: it is as
    exact as the mean of all cells, and its lengths are those of the depth. A second time, what it
    does not explain counts less, and it is kept near the other motions of the window, by weights
    that are learned, too.

    The cells of the target are searched for in the frames before and after it, and so on outward:
    a window of an odd number of frames is the same forward and backward, so that reversing it
    inverts its motions. That is what a network that takes the frames as they come does not learn
    from a few hundred windows.

    Args:
        tap_channels: channels of the encoder's features, see `EfficientNetLite0`.
        canonical_focal: focal length of the camera that has seen the frames, divided by the width.
        translation_factor, rotation_factor: scale the guess.
    """

    def __init__(
        self,
        tap_channels: Sequence[int],
        *,
        canonical_focal: float,
        translation_factor: float,
        rotation_factor: float,
    ) -> None:
        super().__init__()
        self.canonical_focal = canonical_focal
        merged = _DESCRIPTOR + _CONTEXT
        self.fine = nn.Conv2d(tap_channels[_FINE], merged, 3, 2, padding=1, bias=False)
        self.coarse = nn.Conv2d(tap_channels[_COARSE], merged, 1, bias=False)
        # The encoder's features have any size; the exported graph has it inside the convolutions.
        self.normalize = nn.BatchNorm2d(merged)
        last = nn.Conv2d(merged, merged, 1, bias=False)
        self.deepen = nn.Sequential(layers.conv_relu(merged, merged), last)
        seen = 3 * _FLOW + _SPREAD + _CONTEXT + 1 + _POSITION
        self.near = nn.Sequential(layers.conv_relu(seen, _NEAR), layers.conv_relu(_NEAR, _NEAR))
        self.far = nn.Sequential(
            *(layers.conv_relu(i, o, 3, 2) for i, o in zip((_NEAR, *_FAR[:-1]), _FAR, strict=True))
        )
        self.back = nn.Conv2d(_FAR[-1], _NEAR, 1)
        self.merge = layers.conv_relu(_NEAR, _NEAR)
        layers.initialize_relu_layers(self)
        nn.init.zeros_(last.weight)
        self.refine = nn.Conv2d(_NEAR, 2 + 2 + 1, 1)
        self.guess = nn.Conv2d(_FAR[-1], 4 * 6, 1)
        for layer in (self.refine, self.guess):
            layers.initialize_prediction(layer, gain=0.3)
        factors = [translation_factor] * 3 + [rotation_factor] * 3
        self.factors: Tensor
        self.register_buffer("factors", torch.tensor(factors), persistent=False)

    def embed(self, taps: Sequence[Tensor], disparity_b1hw: Tensor) -> Tensor:
        """Features of frames (b, c, h / 8, w / 8): descriptors, context and disparity.

        Args:
            taps: features of the encoder.
            disparity_b1hw: of the same frames, at full size.
        """
        merged = self.normalize(self.fine(taps[_FINE]) + self.coarse(taps[_COARSE]))
        merged = merged + self.deepen(merged)
        descriptor, context = merged.split([_DESCRIPTOR, _CONTEXT], dim=1)
        disparity = _mean_of_cells(disparity_b1hw.detach())
        return torch.cat([F.normalize(descriptor, dim=1), F.relu(context), disparity], dim=1)

    def forward(self, features_bnchw: Tensor) -> FeaturePoseOutput:
        """Motions of neighbors, see `training.geometry.se3.transform_from_symmetric_vector`."""
        orders = _outward(features_bnchw.shape[1])
        first, second = (
            torch.stack([features_bnchw[:, order[i]] for order in orders]) for i in (0, 1)
        )
        descriptors, sought = (f[:, :, :_DESCRIPTOR].flatten(0, 1) for f in (first, second))
        flow, context = match(descriptors, sought), first[:, :, _DESCRIPTOR:].flatten(0, 1)
        # -1 where the first frame of a pair is the older one.
        signs = features_bnchw.new_tensor([float(order[0] - order[1]) for order in orders])
        near = self.near(_seen(flow, context, signs))
        far = self.far(near)
        back = F.interpolate(self.back(far), size=near.shape[-2:], mode="nearest")
        refined = self.refine(self.merge(F.relu(near + back))).float()
        guessed = self.guess(far).float()
        motion, mean = self._solved(signs, flow, context[:, -1:], refined, guessed)
        motions = motion.unflatten(0, (len(orders), -1)) * signs.view(-1, 1, 1)
        return FeaturePoseOutput(
            vectors_bm6=motions.transpose(0, 1),
            features_bc=far.float().mean(dim=(2, 3)).unflatten(0, (len(orders), -1)).mean(dim=0),
            flow=flow._replace(mean_b2hw=mean),
        )

    def _solved(
        self, signs_p: Tensor, flow: Flow, disparity: Tensor, refined: Tensor, guessed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Motions (b, 6) from the first frames to the second, and the corrected flow."""
        logits, correction, nearer = refined.split([2, 2, 1], dim=1)
        weights = logits.flatten(1).softmax(dim=-1).unflatten(1, (2, -1))
        mean = flow.mean_b2hw.float() + _FINEST * correction
        inv_depth = disparity.float() * (_FINEST * nearer).clamp(-1.0, 1.0).exp()
        focal = self.canonical_focal * mean.shape[-1]
        start = _cells(mean) / focal
        equations = motion_equations(start, start + mean / focal, inv_depth)

        guess, place, *trust = guessed.flatten(2).chunk(4, dim=1)
        guess = (guess * place.softmax(dim=-1)).sum(dim=-1) * self.factors
        in_guess, in_others = (_trust(logits) for logits in trust)
        motion = solve_motion(equations, weights, guess, in_guess)

        error = (focal / _OUTLIER) * equations.errors(motion).squeeze(1)
        weights = weights / (1 + error.square().sum(dim=1, keepdim=True))  # Cauchy's
        if len(signs_p) > 1:
            both = in_guess + in_others
            guess = (in_guess * guess + in_others * _others(motion, signs_p)) / both
            in_guess = both
        return solve_motion(equations, weights, guess, in_guess), mean


def _mean_of_cells(map_b1hw: Tensor) -> Tensor:
    """Mean over each cell of the features; a third of the time of a pooling on a processor."""
    cells = map_b1hw.unflatten(-1, (-1, STRIDE)).unflatten(-3, (-1, STRIDE))
    return cells.mean(dim=-1).mean(dim=-2)


def _trust(logits_b6m: Tensor) -> Tensor:
    """Information of a prior (b, 6)."""
    return (logits_b6m.mean(dim=-1) + _TRUST).clamp(-2 * _MOST_TRUST, _MOST_TRUST).exp()


def _outward(count: int) -> list[tuple[int, int]]:
    """The pairs of neighbors in order of time, each from the frame nearer to the target."""
    target = target_index(count)
    return [(k + 1, k) if k < target else (k, k + 1) for k in range(count - 1)]


def _others(values: Tensor, signs_p: Tensor) -> Tensor:
    """The mean over the other pairs (p x b, ...), in the direction of time of each; 0 of none."""
    pairs = len(signs_p)
    of_pairs = values.unflatten(0, (pairs, -1))
    signs = signs_p.view(-1, *[1] * (of_pairs.dim() - 1))
    in_time = of_pairs * signs
    others = (in_time.sum(dim=0, keepdim=True) - in_time) * signs
    return others.flatten(0, 1) / max(pairs - 1, 1)


def _seen(flow: Flow, context_pchw: Tensor, signs_p: Tensor) -> Tensor:
    """What the convolutions see of the motions of p pairs.

    The flow, its spreads, the mean flow of the other pairs in the same direction of time, the flow
    times the depth; the first frame's context and disparity, and positions in the image.
    """
    mean = flow.mean_b2hw
    depth = context_pchw[:, -1:].reciprocal().clamp(0.0, _FARTHEST)
    parts = [
        mean,
        flow.spread_b4hw,
        _others(mean, signs_p),
        mean * depth,
        context_pchw,
        _positions(mean),
    ]
    return torch.cat(parts, dim=1)


def _positions(like_bchw: Tensor) -> Tensor:
    """Row and column of each cell, from -1 to 1."""
    rows, columns = (
        torch.linspace(-1, 1, size, dtype=like_bchw.dtype, device=like_bchw.device)
        for size in like_bchw.shape[-2:]
    )
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return grid.expand(len(like_bchw), -1, -1, -1)


def _cells(like_b2hw: Tensor) -> Tensor:
    """Column and row of each cell (1, 2, h, w), from the middle of the image."""
    height, width = like_b2hw.shape[-2:]
    grid = pixel_grid(height, width, device=like_b2hw.device, dtype=like_b2hw.dtype)
    middle = grid.new_tensor([width - 1, height - 1]) / 2
    return (grid[:2] - middle.unsqueeze(-1)).view(1, 2, height, width)
