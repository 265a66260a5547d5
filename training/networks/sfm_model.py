"""The two networks as one model, coupled only by the loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sfm_ros.errors import ConfigError
from training.batch import Matches, ModelOutput, source_indices, target_index
from training.config import NetworkConfig
from training.geometry import se3
from training.networks import lens
from training.networks.chain import chain_to_target
from training.networks.depth_net import DispNet, VggDepthNet
from training.networks.encoders.efficientnet_lite0 import EfficientNetLite0
from training.networks.feature_matching import REACH, Flow
from training.networks.feature_pose_net import FeaturePoseNet
from training.networks.intrinsics import SharedIntrinsics, WindowIntrinsics
from training.networks.pose_net import FEATURES, PoseNet
from training.networks.skip_depth_net import LiteDepthNet, ResNetDepthNet, SkipDepthNet

_SIDE_MULTIPLE = 32
_DEPTH_NETS: dict[str, Callable[[NetworkConfig], nn.Module]] = {
    "dispnet": DispNet,
    "lite": LiteDepthNet,
    "vgg12": partial(VggDepthNet, levels=6),
    "vgg16": partial(VggDepthNet, levels=7),
    "resnet18": ResNetDepthNet,
    "resnet50": ResNetDepthNet,
}


class _Motion(NamedTuple):
    """What a pose network found in windows; see `ModelOutput` and `PoseOutput`."""

    T_bs44: Tensor
    mask_logits_bshw: list[Tensor]
    features_bc: Tensor
    matches: Matches | None = None


class SfmModel(nn.Module):
    """Depth of the target frame and the motion to the other frames of a window.

    The ``stacked`` pose network takes all frames at once, in order of time (Zhou et al.). The
    ``pair`` network takes each pair of neighbors, forward and backward, and the motions are
    chained. Half the difference of the two outputs is the motion, so that reversing a pair inverts
    it and equal frames give none. Without that, a network trained on little data memorizes at
    which location the car turns left instead of measuring the turn. The ``features`` network does
    the same with features of the depth network's encoder, which it searches for in the neighbors,
    and sees the other frames of the window.

    Lengths are in meters if the ground truth was, else in an unknown unit; the networks' own unit
    is ``config.depth_unit`` of them, for depth and translation alike.

    Attributes:
        needs_source_depths: whether ``forward`` predicts the depth of the sources too, for a loss
            that compares them with the target's.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.depth_unit = config.depth_unit
        self.sequence_length = config.sequence_length
        self.needs_source_depths = False
        self.pairwise = uses_pairs(config)
        self.uses_features = config.pose == "features"
        self.depth_net = _DEPTH_NETS[config.depth](config)
        self.pose_net = _pose_net(config, self.depth_net)
        self.camera: SharedIntrinsics | WindowIntrinsics | None = None
        if config.learned_intrinsics == "shared":
            self.camera = SharedIntrinsics(config.initial_focal)
        elif config.learned_intrinsics == "per_window":
            self.camera = WindowIntrinsics(FEATURES, config.initial_focal)
        self._frozen = _frozen_modules(self.depth_net, config.frozen)
        for module in self._frozen:
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> SfmModel:
        """Set the mode; what is frozen stays in that of inference, its statistics too."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, rgb_bn3hw: Tensor, K_b33: Tensor | None = None) -> ModelOutput:
        """Prediction for windows (b, n, 3, h, w), RGB in [0, 1].

        Args:
            K_b33: intrinsics; needed with ``canonical_focal`` only.
        """
        maps, features = self._looked_at(rgb_bn3hw)
        disparities, source_depths = self._disparities(rgb_bn3hw, maps)
        height, width = rgb_bn3hw.shape[-2:]
        camera = self._lens(K_b33, width, height)
        motion = self._motion_and_masks(rgb_bn3hw, features, camera)
        depths = [self.depth_unit / disparity for disparity in disparities]
        if camera is not None:
            depths = [lens.depth_in_camera(depth, camera) for depth in depths]
            if source_depths is not None:
                source_depths = source_depths * camera.stretch_b.view(-1, 1, 1, 1, 1)
        return ModelOutput(
            depths_b1hw=depths,
            disparities_b1hw=disparities,
            T_source_target_bs44=motion.T_bs44,
            mask_logits_bshw=motion.mask_logits_bshw,
            K_b33=None if self.camera is None else self.camera(motion.features_bc, width, height),
            source_depths_bs1hw=source_depths,
            matches=motion.matches,
        )

    def depth(self, rgb_b3hw: Tensor) -> Tensor:
        """Finest depth (b, 1, h, w) of single images (b, 3, h, w), by the canonical camera."""
        return self.depth_unit / self.depth_net(rgb_b3hw)[0]

    def motion(self, rgb_bn3hw: Tensor) -> Tensor:
        """``T_source_target`` (b, n - 1, 4, 4) of windows, sources in order of time."""
        return self._motion_and_masks(rgb_bn3hw, self._looked_at(rgb_bn3hw)[1], None).T_bs44

    def depth_and_features(self, rgb_b3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Finest depth of single images, and what the pose network looks at (b, c, h, w)."""
        depth_net, pose_net = self._networks_of_features()
        taps = depth_net.encoder(rgb_b3hw)
        disparity = depth_net.decode(taps)[0]
        return self.depth_unit / disparity, pose_net.embed(taps, disparity)

    def motion_of_features(self, features_bnchw: Tensor) -> Tensor:
        """``T_source_target`` (b, n - 1, 4, 4) of windows of features."""
        _, pose_net = self._networks_of_features()
        return self._chained(pose_net(features_bnchw).vectors_bm6, None)

    def parameter_groups(
        self, learning_rate: float, encoder_learning_rate: float | None = None
    ) -> list[dict[str, Any]]:
        """Optimizer groups of what is learned: a pretrained encoder may have its own rate."""
        encoder: list[nn.Parameter] = []
        if isinstance(self.depth_net, SkipDepthNet):
            encoder = list(self.depth_net.encoder.parameters())
        in_encoder = {id(parameter) for parameter in encoder}
        learned = [p for p in self.parameters() if p.requires_grad]
        rest = [p for p in learned if id(p) not in in_encoder]
        encoder = [p for p in encoder if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": rest, "lr": learning_rate, "name": "main"}]
        if encoder:
            rate = learning_rate if encoder_learning_rate is None else encoder_learning_rate
            groups.append({"params": encoder, "lr": rate, "name": "encoder"})
        return groups

    def _networks_of_features(self) -> tuple[SkipDepthNet, FeaturePoseNet]:
        assert isinstance(self.depth_net, SkipDepthNet)
        assert isinstance(self.pose_net, FeaturePoseNet)
        return self.depth_net, self.pose_net

    def _lens(self, K_b33: Tensor | None, width: int, height: int) -> lens.Lens | None:
        if not self.config.canonical_focal:
            return None
        if K_b33 is None:
            raise ValueError("no intrinsics, which network.canonical_focal needs")
        return lens.lens_of(K_b33.float(), width, height, self.config.canonical_focal)

    def _looked_at(self, rgb_bn3hw: Tensor) -> tuple[list[Tensor] | None, Tensor | None]:
        """What a pose network that looks at features needs of all frames; None, None without.

        Returns:
            Disparities (b, n, 1, h, w), finest first, and features (b, n, c, h, w).
        """
        if not self.uses_features:
            return None, None
        depth_net, pose_net = self._networks_of_features()
        size = rgb_bn3hw.shape[:2]
        taps = depth_net.encoder(rgb_bn3hw.flatten(0, 1))
        maps = depth_net.decode(taps)
        features = pose_net.embed(taps, maps[0])
        return [disparity.unflatten(0, size) for disparity in maps], features.unflatten(0, size)

    def _disparities(
        self, rgb_bn3hw: Tensor, maps: list[Tensor] | None
    ) -> tuple[list[Tensor], Tensor | None]:
        """The target's at all scales, and the finest depth of the sources if needed.

        Args:
            maps: disparities (b, n, 1, h, w) of all frames, if they are known already.
        """
        target = target_index(self.sequence_length)
        if maps is None:
            if not self.needs_source_depths:
                return self.depth_net(rgb_bn3hw[:, target]), None
            # One pass, so that batch normalization includes target and sources alike.
            in_a_row = self.depth_net(rgb_bn3hw.flatten(0, 1))
            maps = [d.unflatten(0, rgb_bn3hw.shape[:2]) for d in in_a_row]
        sources = None
        if self.needs_source_depths:
            sources = self.depth_unit / maps[0][:, source_indices(self.sequence_length)]
        return [disparity[:, target] for disparity in maps], sources

    def _motion_and_masks(
        self, rgb_bn3hw: Tensor, features_bnchw: Tensor | None, camera: lens.Lens | None
    ) -> _Motion:
        if rgb_bn3hw.shape[1] != self.sequence_length:
            raise ValueError(
                f"found a window of {rgb_bn3hw.shape[1]} frames, "
                f"expected {self.sequence_length} (network.sequence_length)"
            )
        if self.pose_net is None:
            none = rgb_bn3hw.new_empty(len(rgb_bn3hw), 0, 4, 4)
            return _Motion(none, [], none)
        if self.pairwise:
            vectors, features_bc = self._pair_motions(rgb_bn3hw)
            return _Motion(self._chained(vectors, camera), [], features_bc)
        if features_bnchw is not None:
            found = self._networks_of_features()[1](features_bnchw)
            T_bs44 = self._chained(found.vectors_bm6, camera)
            return _Motion(T_bs44, [], found.features_bc, self._matches(found.flow))
        pose = self.pose_net(rgb_bn3hw)
        vectors = self._in_camera(pose.vectors_bm6, camera)
        T_bs44 = se3.transform_from_pose_vector(vectors)
        return _Motion(T_bs44, pose.mask_logits_bshw, pose.features_bc)

    def _matches(self, flow: Flow) -> Matches:
        """Of the target, in the frame before and, if there is one, the frame after."""
        pairs, target = self.sequence_length - 1, target_index(self.sequence_length)
        sources = [target - 1, *([target] if target < pairs else [])]
        mean, likely = (
            part.unflatten(0, (pairs, -1))[sources].transpose(0, 1)
            for part in (flow.mean_b2hw, flow.likely_bhwm)
        )
        return Matches(sources=sources, flow_bk2hw=mean, likely_bkhwm=likely, reach=REACH)

    def _chained(self, vectors_bm6: Tensor, camera: lens.Lens | None) -> Tensor:
        """Motions to the target from symmetric vectors of neighbors."""
        vectors = self._in_camera(vectors_bm6, camera)
        return chain_to_target(se3.transform_from_symmetric_vector(vectors))

    def _in_camera(self, vectors_bm6: Tensor, camera: lens.Lens | None) -> Tensor:
        """In the unit of length, and as the cameras of the windows have them."""
        if camera is not None:
            vectors_bm6 = lens.vectors_in_camera(vectors_bm6, camera)
        return self._in_length_unit(vectors_bm6)

    def _pair_motions(self, rgb_bn3hw: Tensor) -> tuple[Tensor, Tensor]:
        """Symmetric vectors (b, n - 1, 6) of neighbors, older from newer, and mean features."""
        older, newer = rgb_bn3hw[:, :-1], rgb_bn3hw[:, 1:]
        pairs = torch.cat(
            [torch.stack([older, newer], dim=2), torch.stack([newer, older], dim=2)], dim=1
        )
        count = pairs.shape[1]
        assert self.pose_net is not None
        pose = self.pose_net(pairs.flatten(0, 1))
        forward, backward = pose.vectors_bm6.view(-1, 2, count // 2, 6).unbind(1)
        features_bc = pose.features_bc.unflatten(0, (-1, count)).mean(dim=1)
        return 0.5 * (forward - backward), features_bc

    def _in_length_unit(self, vectors: Tensor) -> Tensor:
        return torch.cat([vectors[..., :3] * self.depth_unit, vectors[..., 3:]], dim=-1)


def _pose_net(config: NetworkConfig, depth_net: nn.Module) -> PoseNet | FeaturePoseNet | None:
    factors = {
        "translation_factor": config.translation_factor,
        "rotation_factor": config.rotation_factor,
    }
    if config.pose == "none":
        return None
    if config.pose == "features":
        assert isinstance(depth_net, SkipDepthNet)
        return FeaturePoseNet(
            depth_net.encoder.tap_channels, canonical_focal=config.canonical_focal, **factors
        )
    return PoseNet(
        2 if uses_pairs(config) else config.sequence_length,
        mask_scales=config.scales if config.explainability_mask else 0,
        **factors,
    )


def _frozen_modules(depth_net: nn.Module, frozen: str) -> list[nn.Module]:
    if frozen == "none":
        return []
    if frozen == "depth":
        return [depth_net]
    assert isinstance(depth_net, LiteDepthNet)
    encoder = depth_net.encoder
    assert isinstance(encoder, EfficientNetLite0)
    return [encoder.stem, encoder.stages[0]]


def uses_pairs(config: NetworkConfig) -> bool:
    """Whether the pose network takes pairs of frames; ``auto`` chooses them for ``lite``."""
    return config.pose == "pair" or (config.pose == "auto" and config.depth == "lite")


def build_model(config: NetworkConfig, width: int, height: int) -> SfmModel:
    """The model of a configuration, initialized, in channels-last layout, in training mode.

    Raises:
        ConfigError: an unknown network, an unsupported size, or a window too short.
    """
    if config.depth not in _DEPTH_NETS:
        raise ConfigError(
            f"network.depth is {config.depth!r}, expected one of: {', '.join(_DEPTH_NETS)}"
        )
    if not 1 <= config.scales <= 4:
        raise ConfigError(f"network.scales is {config.scales}, expected 1 to 4")
    least = 1 if config.pose == "none" else 2
    if config.sequence_length < least:
        raise ConfigError(
            f"network.sequence_length is {config.sequence_length}, expected >= {least}"
        )
    if width % _SIDE_MULTIPLE or height % _SIDE_MULTIPLE or min(width, height) < 64:
        raise ConfigError(
            f"the image size is {width}x{height}, "
            f"expected multiples of {_SIDE_MULTIPLE}, at least 64"
        )
    if config.explainability_mask and (uses_pairs(config) or config.pose in ("features", "none")):
        raise ConfigError(
            "network.explainability_mask needs the stacked pose network: "
            "set network.pose to stacked"
        )
    _check_encoder(config)
    # The convolutions of CPUs and tensor cores are optimized for channels-last.
    return SfmModel(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _check_encoder(config: NetworkConfig) -> None:
    is_resnet = config.depth.startswith("resnet")
    if config.encoder_weights and not is_resnet:
        raise ConfigError(
            f"network.encoder_weights is for the ResNet encoders, network.depth is "
            f"{config.depth}; leave it empty"
        )
    if config.pose == "features" and not (is_resnet or config.depth == "lite"):
        raise ConfigError(
            f"network.pose features needs an encoder, network.depth is {config.depth}; set it to "
            "lite, resnet18 or resnet50"
        )
    if config.pose == "features" and not config.canonical_focal:
        raise ConfigError(
            "network.pose features needs network.canonical_focal, found 0; set it (KITTI: 0.581)"
        )
    if config.frozen == "stem" and config.depth != "lite":
        raise ConfigError(
            f"network.frozen stem is for the lite encoder, network.depth is {config.depth}; set "
            "it to none or depth"
        )
