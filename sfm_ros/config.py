"""The run-time configuration: the only home of its defaults.

ROS parameters, ``config/sfm.yaml`` and the documentation derive from the dataclasses here and
in ``sfm_ros.health_config``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sfm_ros import options
from sfm_ros.cameras.config import PreprocessConfig as PreprocessConfig
from sfm_ros.depth_config import DepthConfig as DepthConfig
from sfm_ros.errors import ConfigError
from sfm_ros.health_config import HealthConfig as HealthConfig
from sfm_ros.old_options import HINTS
from sfm_ros.options import build, live_option, option, read_yaml

ENGINES = ("auto", "tensorrt", "cuda", "openvino", "onnx")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
ODOMETRY_MODES = ("hybrid", "geometric", "network")
_HIGHEST_M = 1000.0
"""Limit of the height of a camera."""
_MOST = 1e6
"""Limit of options without one of their own, so that squares and sums stay finite."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which networks run, and on what."""

    bundle: str = option(
        "default", "Folder of a model bundle, or the name of a shipped one ('default')."
    )
    engine: str = option(
        "auto",
        "Inference engine: TensorRT or ONNX Runtime (cuda) on an NVIDIA GPU, OpenVINO or ONNX "
        "Runtime (onnx) on the CPU; auto takes the fastest that works on this machine.",
        choices=ENGINES,
    )
    precision: str = option(
        "auto",
        "Numbers the networks compute with. auto: fp32, unless the model card states that a "
        "smaller type costs less than 2 % in abs_rel and t_err, and it is faster here.",
        choices=PRECISIONS,
    )
    threads: int = option(
        2,
        "CPU threads of one network (openvino, onnx); with two or more openvino runs the pose "
        "network beside the depth network, on half as many.",
        minimum=1,
        maximum=64,
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
class OdometryConfig:
    """Which motion is integrated."""

    mode: str = option(
        "hybrid",
        "hybrid: tracked keypoints give rotation and direction, the scale's source the length; "
        "geometric: the same without running the networks, hence without depth; network: the pose "
        "network alone.",
        choices=ODOMETRY_MODES,
    )
    depth_smoothing: float = live_option(
        0.0,
        "With depth.mode network: weight of the last depth map, carried along by the motion, in "
        "the published one: 0 publishes each prediction as it is, 0.7 flickers less.",
        minimum=0.0,
        maximum=0.95,
    )


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """Keypoints that are followed through the images."""

    max_tracks: int = live_option(
        800, "Most keypoints followed at a time.", minimum=50, maximum=5000
    )
    max_width: int = live_option(
        1300,
        "Wider images are shrunk to this width before keypoints are followed.",
        minimum=64,
        maximum=10000,
    )
    min_inliers: int = live_option(
        30, "With fewer keypoints that agree the motion is unknown.", minimum=8, maximum=5000
    )


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """What makes lengths metric."""

    source: str = option(
        "auto",
        "camera_height: the known height above the road; external: the vehicle's measured speed; "
        "model: the bundle's depth, if it was trained in meters; fixed: network units times "
        "'factor'; none: lengths without a unit, marked as such; auto: camera_height if the "
        "height is known, else external if 'external' is set, else model.",
        choices=("auto", "camera_height", "external", "model", "fixed", "none"),
    )
    camera_height: float = option(
        0.0,
        "Height of the camera above the road in meters, to which the lengths of the shipped "
        "models are in proportion, too; 0: as TF has it above node.ground_frame, or unknown.",
        minimum=0.0,
        maximum=_HIGHEST_M,
    )
    external: bool = option(
        False, "Subscribe to the vehicle's speed, on speed/odometry and speed/twist."
    )
    factor: float = option(
        1.0, "Meters per network unit, for source 'fixed'.", minimum=1e-6, maximum=_MOST
    )
    max_sigma: float = live_option(
        0.25,
        "A relative standard deviation of lengths above this is reported.",
        minimum=0.0,
        maximum=_MOST,
    )
    max_age_s: float = live_option(
        10.0,
        "A longer time without a correction of the scale while moving is reported.",
        minimum=0.0,
        maximum=_MOST,
    )

    def with_height_of(self, option: str, given_m: float | None) -> ScaleConfig:
        """With the height of the camera that an option of a command line gives, if it does.

        Raises:
            ConfigError: it is not above 0, or too large.
        """
        if given_m is None:
            return self
        if not 0 < given_m <= _HIGHEST_M:
            raise ConfigError(
                f"{option} is {given_m}, expected meters above 0, at most {_HIGHEST_M:g}"
            )
        return dataclasses.replace(self, camera_height=given_m)

    def height_of(self, stated_m: float) -> float:
        """Height of the camera in meters, as configured, else as stated; 0 if that is none."""
        return self.camera_height or (stated_m if 0 < stated_m < math.inf else 0.0)


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
    ground_frame: str = option(
        "base_footprint",
        "Frame on the ground, above which TF gives the camera's height (REP 120); base_link only "
        "if yours is on the ground; empty for none.",
    )
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
        for key in ("odom_frame", "base_frame", "ground_frame"):
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
    odometry: OdometryConfig = field(default_factory=OdometryConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
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
    return build(SfmConfig, values, HINTS)


refuse_unknown = partial(options.refuse_unknown, hints=HINTS)


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
