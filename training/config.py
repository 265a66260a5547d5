"""Typed configuration of training: the only home of its defaults. Recipes are YAML over these."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Which networks, and how their outputs are read."""

    depth: str = "dispnet"
    """``dispnet`` (SfMLearner's) or ``lite`` (EfficientNet-Lite0 encoder, separable decoder)."""
    pretrained: bool = True
    """Start the ``lite`` encoder from ImageNet weights."""
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


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss terms; a zero weight switches a term off."""

    l1_weight: float = 1.0
    """Weight of the mean absolute difference inside the photometric term."""
    ssim_weight: float = 0.0
    """Weight of (1 - SSIM) / 2 inside the photometric term (variant A: 0.85 beside 0.15 L1)."""
    minimum_reprojection: bool = False
    auto_mask: bool = False
    smoothness: str = "second_order"
    """``second_order`` (Zhou et al.) or ``edge_aware`` (on mean-normalised disparity)."""
    smoothness_weight: float = 0.5
    smoothness_scale_divisor: float = 2.0
    """The smoothness weight is divided by this at each coarser scale."""
    mask_weight: float = 0.0
    """Cross-entropy of the explainability mask towards 1."""
    depth_supervision_weight: float = 0.0
    """Scale-aware log-depth error where the truth is known (synthetic data)."""
    pose_supervision_weight: float = 0.0
    """Motion error where the truth is known (synthetic data)."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which prepared sets, and what is done to their samples."""

    prepared: tuple[str, ...] = ()
    """Folders written by prepare.py."""
    repeat: tuple[float, ...] = ()
    """Share of each set in a batch, in the order of ``prepared``; empty: by number of windows."""
    flip_probability: float = 0.5
    reverse_probability: float = 0.0
    """Play a window backwards, so that the pose net sees a car that reverses."""
    scale_crop: float = 1.15
    colour_probability: float = 0.5
    grey_probability: float = 0.2
    """Train on grey pictures too: a gray camera costs an unprepared net 0.04 abs_rel."""
    validation_share: float = 0.1
    """The last part of each sequence, never trained on."""


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
    """Decay of an exponential moving average of the weights, used for validation and export; 0: off."""
    precision: str = "fp32"
    """``fp32`` or ``bf16`` autocast of the networks."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Where the run lives and how often it says something."""

    seed: int = 0
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 leaves torch's own choice."""
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
