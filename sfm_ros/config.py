"""The run-time configuration: the only home of its defaults.

ROS parameters, ``config/sfm.yaml`` and the documentation derive from the dataclasses here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sfm_ros import options
from sfm_ros.errors import ConfigError
from sfm_ros.options import build, live_option, option, read_yaml
from sfm_ros.safety import limits

_MOST = 1e6
"""Limit of options without one of their own, so that squares and sums stay finite."""


RENAMED = {
    "refine.max_corners": "refine.max_features",
    "refine.prior_share": "refine.prior_sigma_ratio",
    "refine.velocity_share": "refine.velocity_sigma_ratio",
    "noise.unseen_m": "noise.gap_distance_m",
    "node.mounting_wait_s": "node.extrinsics_wait_s",
    "node.delivery": "node.image_queue",
}
"""Options of version 0.1 by the names they have now: an old file is refused with the new name."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which networks run, and on what."""

    bundle: str = option(
        "default", "Folder of a model bundle, or the name of a shipped one ('default')."
    )
    engine: str = option(
        "auto",
        "Inference engine; auto takes the fastest that works on this machine.",
        choices=("auto", "onnx"),
    )
    threads: int = option(2, "CPU threads of one inference (ONNX Runtime).", minimum=1, maximum=64)


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How a camera image becomes the network's input."""

    input: str = option(
        "auto",
        "Whether the images are rectified already: auto decides by the distortion in camera_info, "
        "rectified uses P and does not undistort, raw always undistorts.",
        choices=("auto", "rectified", "raw"),
    )
    max_megapixels: float = option(
        float(limits.IMAGE_MEGAPIXELS),
        "A compressed image or image file of more million pixels is refused before it is decoded.",
        minimum=0.001,
        maximum=1000.0,
    )


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Which frames may form one window."""

    max_gap_s: float = live_option(
        0.5,
        "A longer time between two frames starts a new segment; the pose is held across the gap.",
        minimum=0.0,
        maximum=_MOST,
    )


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """Limits of usable images and plausible outputs; a motion that fails is not integrated."""

    min_depth_spread: float = live_option(
        0.05,
        "Standard deviation over mean of the inverse depth below which depth is reported as flat.",
        minimum=0.0,
    )
    max_speed: float = live_option(
        70.0,
        "Fastest plausible motion, published units per second; 0 disables the check.",
        minimum=0.0,
        maximum=_MOST,
    )
    max_rotation_deg_per_s: float = live_option(
        200.0, "Fastest plausible rotation; 0 disables the check.", minimum=0.0, maximum=_MOST
    )
    min_contrast: float = live_option(
        3.0,
        "Standard deviation in gray levels of the means of 8x8 pixels below which an image shows "
        "nothing (covered lens, glare); 0 disables the check.",
        minimum=0.0,
        maximum=128.0,
    )
    min_structure: float = live_option(
        0.25,
        "Fraction of the contrast that means of 8x8 pixels must keep: noise keeps 0.12, a scene "
        "0.8; 0 disables the check.",
        minimum=0.0,
        maximum=1.0,
    )
    max_exposure_jump: float = live_option(
        40.0,
        "A larger change of the mean brightness between two images, in gray levels, starts a new "
        "segment; 0 disables the check.",
        minimum=0.0,
        maximum=255.0,
    )
    reject_frozen: bool = live_option(
        True,
        "Reject an image identical to the one before: the camera hangs. Disable it for simulated "
        "cameras without noise, which may stand still.",
    )


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """Geometric correction of the predicted motion by tracked keypoints and predicted depth."""

    enabled: bool = live_option(True, "Correct the pose network's motion by tracked keypoints.")
    max_features: int = live_option(
        100, "Most keypoints tracked between two frames.", minimum=10, maximum=2000
    )
    min_inliers: int = live_option(
        25, "With fewer inliers the network's motion is kept.", minimum=6, maximum=2000
    )
    sigma_px: float = live_option(
        0.15,
        "Standard deviation of a tracked keypoint, pixels of the network input.",
        minimum=0.01,
        maximum=_MOST,
    )
    sigma_depth: float = live_option(
        0.3,
        "Standard deviation of the predicted depth over the depth.",
        minimum=0.0,
        maximum=_MOST,
    )
    prior_sigma_ratio: float = live_option(
        1.0,
        "Standard deviation of the network's translation over its length.",
        minimum=0.001,
        maximum=_MOST,
    )
    velocity_sigma_ratio: float = live_option(
        0.015,
        "Standard deviation of the change of translation between frames over its length.",
        minimum=0.001,
        maximum=_MOST,
    )
    max_correction_deg: float = live_option(
        10.0, "A correction with a larger rotation is rejected.", minimum=0.0, maximum=180.0
    )


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """Conversion of network units to published units."""

    source: str = option(
        "model",
        "model: the bundle states whether its units are meters; fixed: multiply by 'factor' to "
        "get meters; none: publish network units, marked as such.",
        choices=("model", "fixed", "none"),
    )
    factor: float = option(
        1.0, "Meters per network unit, for source 'fixed'.", minimum=1e-6, maximum=_MOST
    )


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Covariance of the published odometry: a random walk in the distance traveled."""

    translation_per_m: float = live_option(
        0.1,
        "Standard deviation of position after one published unit of travel.",
        minimum=0.0,
        maximum=_MOST,
    )
    rotation_deg_per_m: float = live_option(
        0.5,
        "Standard deviation of heading after one published unit of travel.",
        minimum=0.0,
        maximum=_MOST,
    )
    gap_distance_m: float = live_option(
        20.0,
        "Distance in published units whose noise is added for an unobserved motion (a gap, a "
        "rejected output).",
        minimum=0.0,
        maximum=_MOST,
    )


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """Topics, frames and image queue of the ROS node."""

    odom_frame: str = option("odom", "Fixed frame of the odometry (REP 105).")
    base_frame: str = option("base_link", "Child frame if TF connects it with the camera.")
    extrinsics_wait_s: float = option(
        1.0,
        "How long the first image waits for TF to connect base_frame with the camera; after that "
        "the odometry is that of the camera itself.",
        minimum=0.0,
        maximum=60.0,
    )
    publish_odometry: bool = live_option(True, "Publish ~/odometry.")
    publish_tf: bool = live_option(True, "Broadcast the odometry on /tf.")
    invert_tf: bool = option(
        False,
        "Broadcast child -> odom instead of odom -> child, for a tree in which the child already "
        "has another parent (two localization sources).",
    )
    publish_path: bool = live_option(True, "Publish ~/path while somebody subscribes.")
    publish_depth: bool = live_option(
        True, "Publish ~/depth/image and ~/depth/camera_info while somebody subscribes."
    )
    publish_depth_color: bool = live_option(
        True, "Publish ~/depth/image_color, depth as colors, while somebody subscribes."
    )
    publish_points: bool = live_option(True, "Publish ~/points while somebody subscribes.")
    publish_status: bool = live_option(True, "Publish ~/status at every change and once a second.")
    path_length: int = option(
        2000, "Poses kept in ~/path; 0 disables the path.", minimum=0, maximum=1000000
    )
    trajectory_length: int = option(
        36000, "Poses kept for ~/save_trajectory.", minimum=1, maximum=10000000
    )
    trajectory_file: str = live_option(
        "sfm_trajectory.tum",
        "File written by ~/save_trajectory, in TUM format. At the start it may be any path; while "
        "the node runs only a name with the same ending in the same folder.",
    )
    trajectory_folder: str = option(
        "", "Folder of trajectory_file, which is then a plain name. Empty: that of its path."
    )
    compressed: bool = option(False, "Subscribe to image/compressed instead of image.")
    image_queue: str = option(
        "newest",
        "newest: the latest image replaces one that waits (live); every: all images in order, "
        "reliable (evaluation).",
        choices=("newest", "every"),
    )
    max_rate_hz: float = live_option(
        0.0,
        "Most images processed per second, with image_queue newest; 0 sets no limit.",
        minimum=0.0,
        maximum=1000.0,
    )
    idle_without_subscribers: bool = live_option(
        False,
        "Skip images while nobody subscribes to an output; the odometry does not move meanwhile.",
    )
    autostart: bool = option(
        False,
        "The managed node configures and activates itself at its start, without a manager.",
    )

    def __post_init__(self) -> None:
        for key in ("odom_frame", "base_frame"):
            frame = getattr(self, key)
            if frame.startswith("/") or frame != frame.strip():
                raise ConfigError(
                    f"'node.{key}' is '{frame}', expected the name of a TF 2 frame, without "
                    "leading slash or surrounding blanks"
                )
        if self.odom_frame in ("", self.base_frame):
            raise ConfigError(
                f"'node.odom_frame' is '{self.odom_frame}', expected the name of a frame other "
                f"than node.base_frame, '{self.base_frame}'"
            )
        if self.trajectory_folder and "/" in self.trajectory_file:
            raise ConfigError(
                f"'node.trajectory_file' is '{self.trajectory_file}', expected a plain name, "
                "because node.trajectory_folder is set"
            )


@dataclass(frozen=True, kw_only=True)
class SfmConfig:
    """All options of the run time."""

    model: ModelConfig = field(default_factory=ModelConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    window: WindowConfig = field(default_factory=WindowConfig)
    health: HealthConfig = field(default_factory=HealthConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    node: NodeConfig = field(default_factory=NodeConfig)


def iter_fields(config: SfmConfig | None = None) -> Iterator[tuple[str, dataclasses.Field, Any]]:
    """(``block.key``, its field, its value in ``config`` or its default) of every option."""
    config = config or SfmConfig()
    for block in dataclasses.fields(SfmConfig):
        values = getattr(config, block.name)
        for entry in dataclasses.fields(values):
            yield f"{block.name}.{entry.name}", entry, getattr(values, entry.name)


def config_to_dict(config: SfmConfig) -> dict[str, dict[str, Any]]:
    """Nested plain values, as in YAML."""
    return dataclasses.asdict(config)


def config_from_dict(values: Mapping[str, Any]) -> SfmConfig:
    """Build a configuration; options that are not given keep their defaults.

    Raises:
        ConfigError: an unknown block or key, a wrong type, or a value out of range.
    """
    return build(SfmConfig, values, RENAMED)


refuse_unknown = partial(options.refuse_unknown, renamed=RENAMED)


def load_config(path: Path) -> SfmConfig:
    """Read a YAML file of blocks; a ROS parameter file of one node works too.

    Raises:
        ConfigError: the file is missing, is not YAML, or :func:`config_from_dict` refuses it.
    """
    values = read_yaml(Path(path))
    nodes = [v["ros__parameters"] for v in values.values() if _is_ros_block(v)]
    if len(nodes) > 1:
        raise ConfigError(f"{path} configures {len(nodes)} nodes, expected one")
    return config_from_dict(nodes[0] if nodes else values)


def _is_ros_block(value: Any) -> bool:
    return isinstance(value, Mapping) and "ros__parameters" in value
