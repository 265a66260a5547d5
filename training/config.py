"""Typed configuration of training: the only home of its defaults. Recipes are YAML over these."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sfm_ros.errors import ConfigError
from training.config_values import Limits, build, plain, read_yaml, with_override


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Which networks, and how their outputs are read."""

    depth: str = "dispnet"
    """``dispnet`` (SfMLearner's), ``vgg16`` or ``vgg12`` (DispNet rewritten, at its size and one
    level shorter), ``resnet18``, ``resnet50``, or ``lite`` (EfficientNet-Lite0)."""
    pretrained: bool = True
    """Start the ``lite`` encoder from ImageNet weights."""
    encoder_weights: str = ""
    """ImageNet weights of a ResNet: a state-dict file in torchvision's format; empty: none."""
    pose: str = "auto"
    """``stacked`` (SfMLearner's: all frames at once), ``pair`` (each pair of neighbors, forwards
    and backwards), or ``auto``: pair with ``lite``, else stacked."""
    scales: int = 4
    sequence_length: int = 3
    explainability_mask: bool = False
    disparity_alpha: float = 10.0
    """Depth = unit / (alpha * sigmoid(x) + beta), paper section 3.5."""
    disparity_beta: float = 0.01
    disparity_bias: float = -1.5
    """Initial bias before the sigmoid; 0 saturates the start-up, see the recipes."""
    depth_unit: float = 1.0
    """Length of one network unit; 10 makes the depth range of a street with metric supervision."""
    translation_factor: float = 0.1
    rotation_factor: float = 0.01
    learned_intrinsics: str = "off"
    """``off`` (believe the calibration), ``shared`` (learn one camera for the run) or
    ``per_window`` (guess it from every window)."""
    initial_focal: float = 0.65
    """Focal length at the start of learned intrinsics over the width; 0.65 sees 75 degrees."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms; a zero weight switches a term off."""

    l1_weight: float = 1.0
    """Weight of the mean absolute difference inside the photometric term."""
    ssim_weight: float = 0.0
    """Weight of (1 - SSIM) / 2 inside the photometric term (variant A: 0.85 beside 0.15 L1)."""
    minimum_reprojection: bool = False
    auto_mask: bool = False
    full_resolution: bool = False
    """Enlarge every scale to full size before warping (Godard et al. 2019), against the texture
    copies and holes of the small scales; costs as much as so many finest scales."""
    smoothness: str = "second_order"
    """``second_order`` (Zhou et al.) or ``edge_aware`` (on mean-normalized values)."""
    smoothness_of: str = "disparity"
    """``disparity`` (Zhou et al.'s published code) or ``depth`` (as the paper's text says)."""
    smoothness_weight: float = 0.5
    smoothness_scale_divisor: float = 2.0
    """The smoothness weight is divided by this at each coarser scale."""
    mask_weight: float = 0.0
    """Cross-entropy of the explainability mask towards 1."""
    consistency_weight: float = 0.0
    """Depths of target and sources, warped onto each other, must agree (Bian et al. 2019): one
    scale over a sequence."""
    consistency_mask: bool = False
    """Weigh the photometric error by how well the two depths agree (moving things, occlusion)."""
    velocity_weight: float = 0.0
    """| predicted way - known way | where a speed or a pose is known (Guizilini et al. 2020)."""
    depth_supervision_weight: float = 0.0
    """Scale-aware log-depth error where the ground truth is known (synthetic data)."""
    sky_depth: float = 0.0
    """Meters: with depth supervision, pixels of a ground-truth depth map that have none are sky, and must
    be farther than this (rendered streets); 0: they are unknown (laser scans)."""
    pose_supervision_weight: float = 0.0
    """Motion error where the motion is known: rendered streets, drives prepared with poses. These
    may be the odometry's own, refined by geometry, for the pose network to learn from."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which prepared sets, and what is done to their samples."""

    prepared: tuple[str, ...] = ()
    """Folders written by prepare.py."""
    repeat: tuple[float, ...] = ()
    """Share of each set in a batch, in the order of ``prepared``; empty: by number of windows.

    A set with share 0 is never trained on: all of it is held out, for validation."""
    flip_probability: float = 0.5
    reverse_probability: float = 0.0
    """Play a window backwards, so that the pose net sees a car that reverses."""
    scale_crop: float = 1.15
    color_probability: float = 0.5
    """How often the colors of a window are changed."""
    color_changes: tuple[str, ...] = ("brightness", "contrast", "gamma", "saturation")
    """Which of their properties, each by up to 20 %."""
    gray_probability: float = 0.2
    """Train on gray images too: a gray camera costs an unprepared net 0.04 abs_rel."""
    validation_ratio: float = 0.1
    """The last part of each sequence, never trained on."""
    resident: str = "auto"
    """Copy the sets to the device once: ``auto`` on a GPU they fit into, ``never``, ``always``."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Steps and rates."""

    steps: int = 20_000
    batch_size: int = 4
    learning_rate: float = 2e-4
    encoder_learning_rate: float | None = None
    """Rate of a pretrained encoder; None: the same."""
    beta1: float = 0.9
    decay_every: int = 0
    """Multiply the rate by ``decay_factor`` every so many steps; 0: never."""
    decay_factor: float = 0.65
    schedule: str = "step"
    """``step`` or ``cosine`` (to 2 % of the rate at the last step)."""
    gradient_clip: float = 0.0
    weight_average: float = 0.0
    """Decay of a moving average of the weights, used for validation and export; 0: off."""
    precision: str = "fp32"
    """Autocast of the networks: ``fp32``, ``bf16``, or ``fp16`` with its gradients scaled, for
    GPUs that have no bf16."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where the run lives and how often it says something."""

    seed: int = 0
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 leaves torch's own choice."""
    compile: bool = False
    """torch.compile of the networks: a minute before the first step; gains nothing on a CPU."""
    checkpoint_every: int = 500
    validate_every: int = 500
    scalars_every: int = 20
    images_every: int = 500


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One experiment."""

    width: int = 416
    height: int = 128
    network: NetworkConfig = field(default_factory=NetworkConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)


CHOICES: dict[str, tuple[str, ...]] = {
    "data.color_changes": ("brightness", "contrast", "gamma", "saturation"),
    "data.resident": ("auto", "never", "always"),
    "network.depth": ("dispnet", "vgg16", "vgg12", "resnet18", "resnet50", "lite"),
    "network.pose": ("auto", "stacked", "pair"),
    "network.learned_intrinsics": ("off", "shared", "per_window"),
    "objective.smoothness": ("second_order", "edge_aware"),
    "objective.smoothness_of": ("disparity", "depth"),
    "optim.schedule": ("step", "cosine"),
    "optim.precision": ("fp32", "bf16", "fp16"),
}
"""Values a text may take, by dotted name."""

RANGES: dict[str, tuple[float, float]] = {
    "width": (32, 8192),
    "height": (32, 8192),
    "network.scales": (1, 6),
    "network.sequence_length": (2, 9),
    "network.depth_unit": (1e-6, 1e6),
    "network.initial_focal": (0.1, 10),
    "objective.l1_weight": (0, math.inf),
    "objective.ssim_weight": (0, math.inf),
    "objective.smoothness_weight": (0, math.inf),
    "objective.smoothness_scale_divisor": (1, math.inf),
    "objective.mask_weight": (0, math.inf),
    "objective.consistency_weight": (0, math.inf),
    "objective.velocity_weight": (0, math.inf),
    "objective.depth_supervision_weight": (0, math.inf),
    "objective.sky_depth": (0, math.inf),
    "objective.pose_supervision_weight": (0, math.inf),
    "data.flip_probability": (0, 1),
    "data.reverse_probability": (0, 1),
    "data.scale_crop": (1, 4),
    "data.color_probability": (0, 1),
    "data.gray_probability": (0, 1),
    "data.validation_ratio": (0, 0.9),
    "optim.steps": (1, math.inf),
    "optim.batch_size": (1, math.inf),
    "optim.learning_rate": (0, math.inf),
    "optim.encoder_learning_rate": (0, math.inf),
    "optim.beta1": (0, 0.9999),
    "optim.decay_every": (0, math.inf),
    "optim.decay_factor": (0, 1),
    "optim.gradient_clip": (0, math.inf),
    "optim.weight_average": (0, 0.99999),
    "run.threads": (0, 1024),
    "run.checkpoint_every": (1, math.inf),
    "run.validate_every": (1, math.inf),
    "run.scalars_every": (1, math.inf),
    "run.images_every": (1, math.inf),
}
"""Smallest and largest value of the numbers that have one, by dotted name."""


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> TrainConfig:
    """Read a recipe.

    Args:
        source: a YAML file, or the mapping such a file holds (as ``to_dict`` writes it).
        overrides: ``section.key=value`` texts over it; the value is read as YAML.

    Raises:
        ConfigError: a key is unknown, a value has the wrong type or lies out of its range.
    """
    values = dict(source) if isinstance(source, Mapping) else read_yaml(Path(source))
    for text in overrides:
        values = with_override(values, text)
    config = build(TrainConfig, values, prefix="", limits=Limits(CHOICES, RANGES))
    _check_together(config)
    return config


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Plain nested dictionaries, lists and scalars: what YAML and checkpoints hold."""
    return plain(asdict(config))


def flat_items(config: TrainConfig) -> dict[str, Any]:
    """``{"section.key": value}`` of a whole configuration."""
    items: dict[str, Any] = {}
    for key, value in to_dict(config).items():
        if isinstance(value, dict):
            items.update({f"{key}.{inner}": leaf for inner, leaf in value.items()})
        else:
            items[key] = value
    return items


def _check_together(config: TrainConfig) -> None:
    shares, sets = config.data.repeat, config.data.prepared
    if shares and len(shares) != len(sets):
        raise ConfigError(
            f"'data.repeat' has {len(shares)} shares for {len(sets)} sets in 'data.prepared'; "
            "give one share a set, or none"
        )
    if shares and (min(shares) < 0 or sum(shares) <= 0):
        raise ConfigError(f"'data.repeat' is {list(shares)}, expected shares >= 0, not all zero")
    if config.optim.precision != "fp32" and max(config.width, config.height) <= 64:
        # torch's CPU kernel leaves the weight gradient of a 16-bit convolution over one pixel
        # uninitialized, and the pose network comes down to one pixel.
        raise ConfigError(
            f"'optim.precision' {config.optim.precision} needs an image wider or higher than 64 "
            f"pixels, not {config.width}x{config.height}; use fp32"
        )
    if config.network.learned_intrinsics == "shared" and (
        config.data.scale_crop > 1 or config.data.flip_probability > 0
    ):
        raise ConfigError(
            "'network.learned_intrinsics' shared means one camera for all windows, and scaling, "
            "cropping and flipping give each another; set 'data.scale_crop' to 1 and "
            "'data.flip_probability' to 0, or use per_window"
        )
    _check_objective(config.objective)
    if config.data.reverse_probability > 0 and config.network.sequence_length % 2 == 0:
        raise ConfigError(
            "'data.reverse_probability' needs an odd 'network.sequence_length' (the target of a "
            f"window of {config.network.sequence_length} is not its middle); set it to 0"
        )


def _check_objective(objective: ObjectiveConfig) -> None:
    if objective.auto_mask and not objective.minimum_reprojection:
        raise ConfigError(
            "'objective.auto_mask' compares the better source with standing still; set "
            "'objective.minimum_reprojection' to true"
        )
    teachers = (
        "l1_weight",
        "ssim_weight",
        "consistency_weight",
        "velocity_weight",
        "depth_supervision_weight",
        "pose_supervision_weight",
    )
    if not any(getattr(objective, name) for name in teachers):
        raise ConfigError(
            "the objective teaches nothing: give one of 'objective."
            + "', 'objective.".join(teachers)
            + "' a value above 0"
        )
