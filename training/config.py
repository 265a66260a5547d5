"""The training configuration: the only home of its defaults. Recipes are YAML over these."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sfm_ros.errors import ConfigError
from sfm_ros.options import build, option, read_yaml, with_override

RENAMED = {"data.repeat": "data.set_ratios"}
"""Current names of options by their old ones; recipes and checkpoints may use either."""

_COLOR_CHANGES = ("brightness", "contrast", "gamma", "saturation")
_REGULARIZERS = {"smoothness_weight", "mask_weight"}
METRIC_WEIGHTS = ("depth_supervision_weight", "pose_supervision_weight", "velocity_weight")
"""Of the loss terms that know lengths in meters."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Architecture of the networks and scaling of their outputs."""

    depth: str = option(
        "dispnet",
        "Depth network: dispnet (SfMLearner's), vgg16 or vgg12 (DispNet rewritten, at its size "
        "and one level shorter), resnet18, resnet50, or lite (EfficientNet-Lite0).",
        choices=("dispnet", "vgg16", "vgg12", "resnet18", "resnet50", "lite"),
    )
    pretrained: bool = option(True, "Start the lite encoder from ImageNet weights.")
    encoder_weights: str = option(
        "", "ImageNet weights of a ResNet, a state dict in torchvision's format; empty: none."
    )
    pose: str = option(
        "auto",
        "Pose network: stacked (SfMLearner's: all frames at once), pair (each pair of neighbors, "
        "forward and backward), or auto: pair with lite, else stacked.",
        choices=("auto", "stacked", "pair"),
    )
    scales: int = option(4, "Number of disparity scales.", minimum=1, maximum=6)
    sequence_length: int = option(3, "Frames in a window.", minimum=2, maximum=9)
    explainability_mask: bool = option(False, "Predict the explainability mask (Zhou et al.).")
    disparity_alpha: float = option(
        10.0,
        "Depth = depth_unit / (alpha * sigmoid(x) + beta) (Zhou et al., section 3.5).",
        minimum=1e-6,
    )
    disparity_beta: float = option(0.01, "See disparity_alpha.", minimum=1e-6)
    disparity_bias: float = option(
        -1.5, "Initial bias before the sigmoid; 0 saturates at startup, see the recipes."
    )
    depth_unit: float = option(
        1.0,
        "Length of one network unit; 10 fits the depth range of a street under metric "
        "supervision.",
        minimum=1e-6,
        maximum=1e6,
    )
    translation_factor: float = option(0.1, "Scales the translation output of the pose network.")
    rotation_factor: float = option(0.01, "Scales the rotation output of the pose network.")
    learned_intrinsics: str = option(
        "off",
        "off (use the calibration), shared (learn one camera for the run) or per_window (predict "
        "a camera from every window).",
        choices=("off", "shared", "per_window"),
    )
    initial_focal: float = option(
        0.65,
        "Initial focal length of learned intrinsics, divided by the width; 0.65 is 75 degrees.",
        minimum=0.1,
        maximum=10.0,
    )


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms; a weight of zero disables a term."""

    l1_weight: float = option(1.0, "L1 in the photometric term.", minimum=0.0)
    ssim_weight: float = option(
        0.0, "(1 - SSIM) / 2 in the photometric term (0.85 with 0.15 L1).", minimum=0.0
    )
    minimum_reprojection: bool = option(
        False, "Per pixel, count only the source with the smallest error (Godard et al. 2019)."
    )
    auto_mask: bool = option(
        False, "Ignore pixels that an unmoved source explains at least as well."
    )
    full_resolution: bool = option(
        False,
        "Upsample every scale to full size before warping (Godard et al. 2019), against texture "
        "copies and holes in the small scales; each scale then costs as much as the finest.",
    )
    smoothness: str = option(
        "second_order",
        "second_order (Zhou et al.) or edge_aware (on mean-normalized values).",
        choices=("second_order", "edge_aware"),
    )
    smoothness_of: str = option(
        "disparity",
        "disparity (Zhou et al.'s published code) or depth (the text of the paper).",
        choices=("disparity", "depth"),
    )
    smoothness_weight: float = option(0.5, "Smoothness of the finest scale.", minimum=0.0)
    smoothness_scale_divisor: float = option(2.0, "Divisor per coarser scale.", minimum=1.0)
    mask_weight: float = option(0.0, "Explainability mask: cross-entropy to 1.", minimum=0.0)
    consistency_weight: float = option(
        0.0,
        "Inconsistency of the depths of target and sources, warped onto each other (Bian et al. "
        "2019); gives a sequence one scale.",
        minimum=0.0,
    )
    consistency_mask: bool = option(
        False,
        "Weight the photometric error by the consistency of the two depths (moving objects, "
        "occlusion).",
    )
    velocity_weight: float = option(
        0.0,
        "| predicted - known distance | if a speed or a pose is known (Guizilini et al. 2020).",
        minimum=0.0,
    )
    depth_supervision_weight: float = option(
        0.0, "Scale-aware log-depth error if ground truth is known (rendered data).", minimum=0.0
    )
    sky_depth: float = option(
        0.0,
        "Meters: with depth supervision, pixels without depth in a ground-truth depth map are "
        "sky and must be farther than this (rendered streets); 0: they are unknown (lidar).",
        minimum=0.0,
    )
    pose_supervision_weight: float = option(
        0.0,
        "Motion error if the motion is known: rendered streets, sequences prepared with poses. "
        "The poses may be the odometry's own, refined by geometry, to distill into the pose "
        "network.",
        minimum=0.0,
    )


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which prepared sets are sampled, and how the samples are augmented."""

    prepared: tuple[str, ...] = option((), "Folders written by prepare.py.", kind=str)
    set_ratios: tuple[float, ...] = option(
        (),
        "Fraction of a batch that each set provides, in the order of prepared; empty: by number "
        "of windows. A set of ratio 0 is held out entirely, for validation.",
        kind=float,
        minimum=0.0,
    )
    flip_probability: float = option(0.5, "Mirror a window.", minimum=0.0, maximum=1.0)
    reverse_probability: float = option(
        0.0, "Reverse the order of the frames: a car in reverse gear.", minimum=0.0, maximum=1.0
    )
    scale_crop: float = option(1.15, "Largest zoom before cropping.", minimum=1.0, maximum=4.0)
    color_probability: float = option(0.5, "Change the colors.", minimum=0.0, maximum=1.0)
    color_changes: tuple[str, ...] = option(
        _COLOR_CHANGES, "What is changed, by up to 20 %.", kind=str, choices=_COLOR_CHANGES
    )
    gray_probability: float = option(
        0.2,
        "Convert a window to gray; without it a gray camera costs 0.04 abs_rel.",
        minimum=0.0,
        maximum=1.0,
    )
    validation_ratio: float = option(
        0.1, "Last part of each sequence, never trained on.", minimum=0.0, maximum=0.9
    )
    resident: str = option(
        "auto",
        "Copy the sets to the device once: auto (on a GPU that has room), never, always.",
        choices=("auto", "never", "always"),
    )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Steps and learning rates."""

    steps: int = option(20_000, "Length of the run.", minimum=1)
    batch_size: int = option(4, "Windows per step, of all processes together.", minimum=1)
    learning_rate: float = option(2e-4, "Initial learning rate of Adam.", minimum=0.0)
    encoder_learning_rate: float | None = option(
        None, "Learning rate of a pretrained encoder; null: the same.", kind=float, minimum=0.0
    )
    beta1: float = option(0.9, "Momentum of Adam.", minimum=0.0, maximum=0.9999)
    decay_every: int = option(0, "Multiply the rate by decay_factor; 0: never.", minimum=0)
    decay_factor: float = option(0.65, "See decay_every.", minimum=0.0, maximum=1.0)
    schedule: str = option(
        "step",
        "step, or cosine (down to 2 % of the rate at the last step).",
        choices=("step", "cosine"),
    )
    gradient_clip: float = option(0.0, "Largest norm of the gradient; 0: no limit.", minimum=0.0)
    weight_average: float = option(
        0.0,
        "Decay of a moving average of the weights, used for validation and export; 0: off.",
        minimum=0.0,
        maximum=0.99999,
    )
    precision: str = option(
        "fp32",
        "Autocast of the networks: fp32, bf16, or fp16 (with gradient scaling, for GPUs without "
        "bf16).",
        choices=("fp32", "bf16", "fp16"),
    )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Device, reproducibility and intervals of the run."""

    seed: int = option(0, "Seed of initialization, sampling and augmentation.")
    device: str = option("auto", "A torch device; auto: cuda if available, else cpu.")
    threads: int = option(0, "CPU threads; 0: torch's default.", minimum=0, maximum=1024)
    compile: bool = option(
        False, "torch.compile the networks: a minute at startup; gains nothing on a CPU."
    )
    checkpoint_every: int = option(500, "Steps between checkpoints.", minimum=1)
    validate_every: int = option(500, "Steps between validations.", minimum=1)
    scalars_every: int = option(20, "Steps between logged scalars.", minimum=1)
    images_every: int = option(500, "Steps between logged images.", minimum=1)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One experiment."""

    width: int = option(416, "Width of the network input, pixels.", minimum=32, maximum=8192)
    height: int = option(128, "Height of the network input, pixels.", minimum=32, maximum=8192)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)


def load_config(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> TrainConfig:
    """Read a recipe.

    Args:
        source: a YAML file, or the mapping such a file holds (as ``to_dict`` writes it).
        overrides: ``section.key=value`` strings; the value is parsed as YAML.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range.
    """
    values = dict(source) if isinstance(source, Mapping) else read_yaml(Path(source))
    for text in overrides:
        values = with_override(values, text)
    config = build(TrainConfig, _with_current_names(values))
    _check_combinations(config)
    return config


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Nested dictionaries, lists and scalars, as stored in YAML and checkpoints."""

    def plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in items}

    return asdict(config, dict_factory=plain)


def flat_items(config: TrainConfig) -> dict[str, Any]:
    """``{"section.key": value}`` of a whole configuration."""
    items: dict[str, Any] = {}
    for key, value in to_dict(config).items():
        if isinstance(value, dict):
            items.update({f"{key}.{inner}": leaf for inner, leaf in value.items()})
        else:
            items[key] = value
    return items


def _with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the values in which renamed options have their current names."""
    result = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    for old, new in RENAMED.items():
        (section, old_key), new_key = old.split("."), new.split(".")[1]
        block = result.get(section)
        if not isinstance(block, dict) or old_key not in block:
            continue
        if new_key in block:
            raise ConfigError(f"'{old}' is now called '{new}': give the latter only")
        warnings.warn(f"'{old}' is now called '{new}'", FutureWarning, stacklevel=3)
        block[new_key] = block.pop(old_key)
    return result


def _check_combinations(config: TrainConfig) -> None:
    data, network = config.data, config.network
    if config.optim.precision != "fp32" and max(config.width, config.height) <= 64:
        # torch's CPU kernel leaves the weight gradient of a 16-bit convolution over one pixel
        # uninitialized, and the pose network reduces such an image to one pixel.
        raise ConfigError(
            f"'optim.precision' {config.optim.precision} needs an image wider or higher than 64 "
            f"pixels, not {config.width}x{config.height}; use fp32"
        )
    if network.learned_intrinsics == "shared" and (
        data.scale_crop > 1 or data.flip_probability > 0
    ):
        raise ConfigError(
            "'network.learned_intrinsics' shared means one camera for all windows, but scaling, "
            "cropping and flipping change it per window; set 'data.scale_crop' to 1 and "
            "'data.flip_probability' to 0, or use per_window"
        )
    if data.reverse_probability > 0 and network.sequence_length % 2 == 0:
        raise ConfigError(
            "'data.reverse_probability' needs an odd 'network.sequence_length' (the target of a "
            f"window of {network.sequence_length} is not its middle); set it to 0"
        )
    _check_set_ratios(data)
    _check_objective(config.objective)


def _check_set_ratios(data: DataConfig) -> None:
    if not data.set_ratios:
        return
    if len(data.set_ratios) != len(data.prepared):
        raise ConfigError(
            f"'data.set_ratios' has {len(data.set_ratios)} ratios for {len(data.prepared)} sets "
            "in 'data.prepared'; give one ratio per set, or none"
        )
    if sum(data.set_ratios) <= 0:
        raise ConfigError("'data.set_ratios' are all zero, expected at least one above zero")


def _check_objective(objective: ObjectiveConfig) -> None:
    if objective.auto_mask and not objective.minimum_reprojection:
        raise ConfigError(
            "'objective.auto_mask' compares the best source with an unmoved one; set "
            "'objective.minimum_reprojection' to true"
        )
    weights = {f.name for f in fields(objective) if f.name.endswith("_weight")} - _REGULARIZERS
    if not any(getattr(objective, name) for name in weights):
        names = ", ".join(f"objective.{name}" for name in sorted(weights))
        raise ConfigError(
            f"the objective teaches nothing: only regularizers have a weight; set one of {names}"
        )
