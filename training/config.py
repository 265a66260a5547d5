"""The training configuration: the only home of its defaults. Recipes are YAML over these."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sfm_ros.errors import ConfigError
from sfm_ros.options import build, option, read_yaml, with_override
from training.config_model import NetworkConfig, ObjectiveConfig

RENAMED = {"data.repeat": "data.set_ratios"}
"""Current names of options by their old ones; recipes and checkpoints may use either."""

_COLOR_CHANGES = ("brightness", "contrast", "gamma", "saturation")
_REGULARIZERS = {"smoothness_weight", "mask_weight"}
_OF_THE_MOTION = ("pose_supervision_weight", "velocity_weight")
METRIC_WEIGHTS = (
    "depth_supervision_weight",
    "pose_supervision_weight",
    "velocity_weight",
    "teacher_weight",
)
"""Of the loss terms that know lengths in meters."""


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
    still_probability: float = option(
        0.0,
        "Show the target with noise in place of all frames: a car that stands.",
        minimum=0.0,
        maximum=1.0,
    )
    scale_crop: float = option(1.15, "Largest zoom before cropping.", minimum=1.0, maximum=4.0)
    aspect_change: float | None = option(
        None,
        "Largest ratio, minus one, of the zooms of width and height; null: they are independent.",
        kind=float,
        minimum=0.0,
    )
    color_probability: float = option(0.5, "Change the colors.", minimum=0.0, maximum=1.0)
    color_changes: tuple[str, ...] = option(
        _COLOR_CHANGES, "What is changed.", kind=str, choices=_COLOR_CHANGES
    )
    color_strength: float = option(0.2, "Largest change of each.", minimum=0.0, maximum=0.9)
    gray_probability: float = option(
        0.2,
        "Convert a window to gray; without it a gray camera costs 0.04 abs_rel.",
        minimum=0.0,
        maximum=1.0,
    )
    degrade_probability: float = option(
        0.0,
        "Each of these, to what the networks see: overexposure, blur, noise, JPEG, a shadow.",
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
    warmup: int = option(0, "Steps over which the rate rises from 0.", minimum=0)
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
    if data.still_probability > 0 and (config.objective.l1_weight or config.objective.ssim_weight):
        raise ConfigError(
            "'data.still_probability' shows images without motion, from which view synthesis "
            "learns that all is far; set it to 0, or 'objective.l1_weight' and 'ssim_weight'"
        )
    _check_set_ratios(data)
    _check_objective(config.objective)
    _check_motion(config)


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


def _check_motion(config: TrainConfig) -> None:
    network, objective = config.network, config.objective
    if network.sequence_length < 2 and network.pose != "none":
        raise ConfigError(
            f"'network.sequence_length' is {network.sequence_length}, but the pose network "
            f"'{network.pose}' compares frames; set it to 2 or more, or 'network.pose' to none"
        )
    if objective.matching_weight and network.pose != "features":
        raise ConfigError(
            "'objective.matching_weight' needs a pose network that searches for features; set "
            "'network.pose' to features, or the weight to 0"
        )
    if network.pose == "none" and network.learned_intrinsics == "per_window":
        raise ConfigError(
            "'network.learned_intrinsics' per_window is predicted by the pose network, and "
            "'network.pose' is none"
        )
    if network.canonical_focal and network.learned_intrinsics != "off":
        raise ConfigError(
            "'network.canonical_focal' needs the calibration; set 'network.learned_intrinsics' "
            "to off"
        )
    for name in _OF_THE_MOTION:
        if network.pose == "none" and getattr(objective, name) > 0:
            raise ConfigError(
                f"'objective.{name}' compares the predicted motion, and 'network.pose' is none; "
                "set it to 0"
            )
    compares_images = objective.l1_weight > 0 or objective.ssim_weight > 0
    if compares_images and network.pose == "none" and not objective.known_motion:
        raise ConfigError(
            "the photometric loss needs a motion, and 'network.pose' is none: set "
            "'objective.known_motion' to true, or 'objective.l1_weight' and "
            "'objective.ssim_weight' to 0"
        )
    if compares_images and network.sequence_length < 2:
        raise ConfigError(
            "the photometric loss compares frames, and 'network.sequence_length' is "
            f"{network.sequence_length}; set it to 3"
        )
