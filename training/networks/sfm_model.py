"""The two networks as one model, coupled only by the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sfm_ros.errors import ConfigError
from training.batch import ModelOutput, source_indices, target_index
from training.config import NetworkConfig
from training.geometry.se3 import (
    rigid_inverse,
    transform_from_pose_vector,
    transform_from_symmetric_vector,
)
from training.networks.depth_net import DispNet
from training.networks.lite_depth_net import LiteDepthNet
from training.networks.pose_net import PoseNet

_SIDE_MULTIPLE = 32


class SfmModel(nn.Module):
    """Depth of the target frame and the motion to the other frames of a window.

    With ``dispnet`` the pose network sees all frames stacked in order of time (Zhou et al.). With
    ``lite`` one pose network looks at each pair of neighbours, forwards and backwards, and the
    motions are chained. Half the difference of the two looks is the motion, so that reversing a
    pair inverts it and equal frames stand still. Without that, a network with little data
    remembers which place turns left instead of seeing the turn.

    Lengths are in metres if the truth was, else in an unknown unit; the networks' own unit is
    ``config.depth_unit`` of them, for depth and translation alike.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.depth_unit = config.depth_unit
        self.sequence_length = config.sequence_length
        self.pairwise = config.depth == "lite"
        self.depth_net: DispNet | LiteDepthNet
        self.depth_net = LiteDepthNet(config) if config.depth == "lite" else DispNet(config)
        self.pose_net = PoseNet(
            2 if self.pairwise else config.sequence_length,
            translation_factor=config.translation_factor,
            rotation_factor=config.rotation_factor,
            mask_scales=config.scales if config.explainability_mask else 0,
        )

    def forward(self, rgb_bn3hw: Tensor) -> ModelOutput:
        """Everything the loss needs of a window (b, n, 3, h, w), RGB in [0, 1]."""
        disparities = self.depth_net(rgb_bn3hw[:, target_index(self.sequence_length)])
        T_source_target, mask_logits = self._motion_and_masks(rgb_bn3hw)
        return ModelOutput(
            depths_b1hw=[self.depth_unit / disparity for disparity in disparities],
            disparities_b1hw=disparities,
            T_source_target_bs44=T_source_target,
            mask_logits_bshw=mask_logits,
        )

    def depth(self, rgb_b3hw: Tensor) -> Tensor:
        """Finest depth (b, 1, h, w) of single pictures (b, 3, h, w)."""
        return self.depth_unit / self.depth_net(rgb_b3hw)[0]

    def motion(self, rgb_bn3hw: Tensor) -> Tensor:
        """``T_source_target`` (b, n - 1, 4, 4) of windows, sources in order of time."""
        return self._motion_and_masks(rgb_bn3hw)[0]

    def parameter_groups(
        self, learning_rate: float, encoder_learning_rate: float | None = None
    ) -> list[dict[str, Any]]:
        """Optimiser groups: a pretrained encoder may learn at its own rate."""
        encoder: list[nn.Parameter] = []
        if isinstance(self.depth_net, LiteDepthNet):
            encoder = list(self.depth_net.encoder.parameters())
        in_encoder = {id(parameter) for parameter in encoder}
        rest = [p for p in self.parameters() if id(p) not in in_encoder]
        groups: list[dict[str, Any]] = [{"params": rest, "lr": learning_rate, "name": "main"}]
        if encoder:
            rate = learning_rate if encoder_learning_rate is None else encoder_learning_rate
            groups.append({"params": encoder, "lr": rate, "name": "encoder"})
        return groups

    def _motion_and_masks(self, rgb_bn3hw: Tensor) -> tuple[Tensor, list[Tensor]]:
        if rgb_bn3hw.shape[1] != self.sequence_length:
            raise ValueError(
                f"found a window of {rgb_bn3hw.shape[1]} frames, "
                f"expected {self.sequence_length} (network.sequence_length)"
            )
        if not self.pairwise:
            vectors, masks = self.pose_net(rgb_bn3hw)
            return transform_from_pose_vector(self._in_length_unit(vectors)), masks
        vectors = self._in_length_unit(self._pair_vectors(rgb_bn3hw))
        return chain_to_target(transform_from_symmetric_vector(vectors)), []

    def _pair_vectors(self, rgb_bn3hw: Tensor) -> Tensor:
        """Symmetric vectors (b, n - 1, 6) of neighbours, older from newer."""
        older, newer = rgb_bn3hw[:, :-1], rgb_bn3hw[:, 1:]
        both_ways = torch.cat(
            [torch.stack([older, newer], dim=2), torch.stack([newer, older], dim=2)], dim=1
        )
        vectors, _ = self.pose_net(both_ways.flatten(0, 1))
        forwards, backwards = vectors.view(-1, 2, self.sequence_length - 1, 6).unbind(1)
        return 0.5 * (forwards - backwards)

    def _in_length_unit(self, vectors: Tensor) -> Tensor:
        return torch.cat([vectors[..., :3] * self.depth_unit, vectors[..., 3:]], dim=-1)


def chain_to_target(T_older_newer_bp44: Tensor) -> Tensor:
    """Motions between neighbours to motions between each source and the target.

    Args:
        T_older_newer_bp44: (b, n - 1, 4, 4); number i maps frame i + 1 into frame i.

    Returns:
        ``T_source_target`` (b, n - 1, 4, 4), sources in order of time.
    """
    steps = T_older_newer_bp44.unbind(1)
    length = len(steps) + 1
    target = target_index(length)
    result = []
    for source in source_indices(length):
        between = steps[min(source, target) : max(source, target)]
        T_first_last = between[0]
        for step in between[1:]:
            # Autocast would round a matrix product to bfloat16; a sum of products it leaves alone.
            T_first_last = (T_first_last.unsqueeze(-1) * step.unsqueeze(-3)).sum(dim=-2)
        result.append(T_first_last if source < target else rigid_inverse(T_first_last))
    return torch.stack(result, dim=1)


def build_model(config: NetworkConfig, width: int, height: int) -> SfmModel:
    """The model of a configuration, initialised, in channels-last layout, in training mode.

    Raises:
        ConfigError: an unknown network, a size it cannot take, or a window too short.
    """
    if config.depth not in ("dispnet", "lite"):
        raise ConfigError(f"network.depth is {config.depth!r}, expected dispnet or lite")
    if not 1 <= config.scales <= 4:
        raise ConfigError(f"network.scales is {config.scales}, expected 1 to 4")
    if config.sequence_length < 2:
        raise ConfigError(f"network.sequence_length is {config.sequence_length}, expected >= 2")
    if width % _SIDE_MULTIPLE or height % _SIDE_MULTIPLE or min(width, height) < 64:
        raise ConfigError(
            f"the image size is {width}x{height}, "
            f"expected multiples of {_SIDE_MULTIPLE}, at least 64"
        )
    if config.depth == "lite" and config.explainability_mask:
        raise ConfigError(
            "network.explainability_mask needs the stacked pose network: "
            "set network.depth to dispnet"
        )
    # Channels last is what the convolutions of a CPU and of tensor cores are written for.
    return SfmModel(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
