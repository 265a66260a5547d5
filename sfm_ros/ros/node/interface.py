"""The node's topics, services and diagnostics as tables: its documentation is generated from them.

A test compares them with a running node. No ROS is imported, so that the documentation can be
generated without it.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from sfm_ros.config import iter_fields
from sfm_ros.datatypes import ScaleSource


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic the node publishes or subscribes to.

    Attributes:
        name: as in the code; ``~`` stands for the node's own name.
        type_name: of its messages.
        reliability, durability: offered or requested.
        depth: messages kept; 0 stands for all.
        text: what it carries, and when.
        at_start: whether it exists from the start; else it is created with the first pose, or
            destroyed once it is not needed, or there only with an option.
    """

    name: str
    type_name: str
    reliability: str = "reliable"
    durability: str = "volatile"
    depth: int = 10
    text: str
    at_start: bool = True


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service the node offers."""

    name: str
    type_name: str
    text: str


SUBSCRIPTIONS = (
    Topic(
        name="image",
        type_name="sensor_msgs/msg/Image",
        reliability="best_effort",
        depth=10,
        text="images; with `node.compressed`, CompressedImage on `image/compressed`. With "
        "`node.image_queue: every` it is reliable and keeps all",
    ),
    Topic(
        name="camera_info",
        type_name="sensor_msgs/msg/CameraInfo",
        reliability="best_effort",
        depth=2,
        text="calibration of exactly these images. With `node.image_queue: every` it is reliable",
    ),
    Topic(
        name="speed/odometry",
        type_name="nav_msgs/msg/Odometry",
        reliability="best_effort",
        depth=50,
        text="speed of the vehicle, its twist alone, with `scale.external`; from the wheels, not "
        "from this node. It is turned into the camera's if its child is `node.base_frame`",
        at_start=False,
    ),
    Topic(
        name="speed/twist",
        type_name="geometry_msgs/msg/TwistStamped",
        reliability="best_effort",
        depth=50,
        text="the same without a pose; use either",
        at_start=False,
    ),
    Topic(
        name="/tf",
        type_name="tf2_msgs/msg/TFMessage",
        depth=100,
        text="where the camera is on `node.base_frame` and above `node.ground_frame`, read for "
        "every image at its stamp; unsubscribed once the camera's transforms turn out to be "
        "static, or missing. Besides, now and then for some seconds, for other broadcasters of "
        "the child",
        at_start=False,
    ),
    Topic(
        name="/tf_static",
        type_name="tf2_msgs/msg/TFMessage",
        durability="transient_local",
        depth=100,
        text="the same. A static transform that changes is a correction: the odometry continues "
        "from its last pose with the new one. Unsubscribed if the camera is not connected at the "
        "first image: the odometry is then that of the camera",
        at_start=False,
    ),
)

PUBLICATIONS = (
    Topic(
        name="~/odometry",
        type_name="nav_msgs/msg/Odometry",
        text="pose in `node.odom_frame`, twist in the child's axes, covariance of both; for each "
        "image whose motion is known",
    ),
    Topic(
        name="~/path",
        type_name="nav_msgs/msg/Path",
        depth=1,
        text="the last `node.path_length` poses, twice per second, if there are subscribers",
    ),
    Topic(
        name="~/depth/image",
        type_name="sensor_msgs/msg/Image",
        text="32FC1, along the optical axis, NaN invalid (REP 117, 118), in the optical frame, "
        "if there are subscribers",
    ),
    Topic(
        name="~/depth/camera_info",
        type_name="sensor_msgs/msg/CameraInfo",
        text="calibration of the depth's own grid: rectified, cropped and resized as the depth is",
    ),
    Topic(
        name="~/depth/uncertainty",
        type_name="sensor_msgs/msg/Image",
        text="32FC1, standard deviation of the depth over the depth, of the same grid and stamp, "
        "NaN where the depth is; not with `depth.mode: network`. See [depth.md](depth.md)",
    ),
    Topic(
        name="~/depth/image_color",
        type_name="sensor_msgs/msg/Image",
        depth=2,
        text="rgb8, the depth in colors for people, without what is less certain than "
        "`depth.max_uncertainty`, if there are subscribers",
    ),
    Topic(
        name="~/points",
        type_name="sensor_msgs/msg/PointCloud2",
        depth=2,
        text="organized cloud in the optical frame, in the colors of the image (`rgb`), NaN where "
        "less certain than `depth.max_uncertainty`, if there are subscribers",
    ),
    Topic(
        name="~/status",
        type_name="diagnostic_msgs/msg/DiagnosticStatus",
        durability="transient_local",
        depth=1,
        text="state, reason codes, counts and latencies, at every change and once per second",
    ),
    Topic(
        name="/diagnostics",
        type_name="diagnostic_msgs/msg/DiagnosticArray",
        text="the same once per second, for aggregators",
    ),
    Topic(
        name="/tf",
        type_name="tf2_msgs/msg/TFMessage",
        depth=100,
        text="`node.odom_frame` to the child, or inverted with `node.invert_tf`",
        at_start=False,
    ),
    Topic(
        name="/tf_static",
        type_name="tf2_msgs/msg/TFMessage",
        durability="transient_local",
        depth=1,
        text="the optical frame below the camera's body frame, if nothing else publishes it",
        at_start=False,
    ),
)

SERVICES = (
    Service(name="~/reset", type_name="std_srvs/srv/Trigger", text="the next image is the origin"),
    Service(
        name="~/set_paused",
        type_name="std_srvs/srv/SetBool",
        text="true: images are skipped; false: continue, with the pose held",
    ),
    Service(
        name="~/save_trajectory",
        type_name="std_srvs/srv/Trigger",
        text="write the poses so far to `node.trajectory_file` (TUM format); the response "
        "states the path and how many",
    ),
)

DIAGNOSTICS = {
    "status": "state, see below",
    "reasons": "reason codes, separated by commas",
    "received": "images that arrived",
    "processed": "of these, images that passed the networks, or were rejected or ignored before",
    "odometry": "of these, images whose motion was published",
    "rejected": "images that could not be used: damaged, too large, without a valid stamp or "
    "frame id, or of another size than their calibration",
    "skipped": "images not processed: paused, no subscribers, or above `node.max_rate_hz`",
    "duplicates": "images with the stamp of the one before",
    "lost_in_transport": "images that the middleware reports as lost",
    "replaced": "images that a newer one replaced, `node.image_queue: newest`",
    "waited_for_room": "times images had to wait in the middleware, `node.image_queue: every`",
    "scale_source": "what defines the unit of length: "
    + ", ".join(source.value for source in ScaleSource),
    "scale_value": "published units per network unit, as depth is multiplied by",
    "scale_sigma": "relative standard deviation of lengths",
    "scale_age_s": "time since the source last corrected the scale; inf: never",
    "last_trouble": "the last problem, in words",
    "count_*": "images since the start with this reason code",
    "latency_*_p50_ms, _p99_ms": "time of each stage over the last 1000 images; `total` from "
    "arrival to the last message, `engine` the networks, `outside_engine` the rest",
    "stamp_to_publish_ms_p50, _p99": "from the image's stamp to the last message, on the node's "
    "clock",
    "engine, engine_precision, model": "the inference engine, what it computes in, the bundle",
    "engine_progress": "with `model.engine: auto`: what is prepared beside the engine in use",
    "engine_refused": "with `model.engine: auto`: the last engine that failed or was refused, why",
    "depth": "what the published depth is made of: `multiview`, or `network` and, with "
    "`depth.mode: auto`, why",
    "image_topic, camera_info_topic": "the subscribed topics, after remapping",
    "calibration": "the camera that is used for the images, and why",
    "nodes_of_this_name": "1, or how many nodes have this name",
}
"""Keys of the status message, and what they hold; ``*`` stands for several."""

PROGRAMS = {
    "sfm_node": "the node",
    "sfm_lifecycle_node": "the managed node: configure loads the model, activate subscribes",
    "sfm_doctor": "checks a running system or a bag and reports what to change",
    "sfm_bag_player": "plays ROS 1 and ROS 2 bags and KITTI drives, with /clock",
    "sfm_bag_recorder": "records topics as an mcap bag",
    "sfm_static_transform": "publishes where a camera is on the robot, on /tf_static",
    "sfm_ground_truth_path": "draws ground-truth poses beside the estimated path",
    "sfm_kitti_to_bag": "writes a KITTI drive as a bag",
    "sfm_evaluate": "scores trajectories, bags and depth",
    "sfm_build_engine": "builds the TensorRT engines of a model for the GPU of this machine",
    "sfm_demo": "renders a street sequence, plays it through the node, scores it",
}


def node_help() -> str:
    """What follows the options in the help of the node: topics, services and parameters."""
    lines = ["Topics are remapped and parameters set as of any node:", ""]
    lines += [
        "  sfm_node --ros-args -r image:=/camera/image_raw -r camera_info:=/camera/camera_info"
    ]
    lines += ["      --params-file mine.yaml -p scale.camera_height:=1.5"]
    for title, names in (
        ("subscribes to", [topic.name for topic in SUBSCRIPTIONS]),
        ("publishes", [topic.name for topic in PUBLICATIONS]),
        ("services", [service.name for service in SERVICES]),
        ("parameters", [f"{name} ({default})" for name, _, default in iter_fields()]),
    ):
        text = textwrap.fill(", ".join(names), 88, initial_indent="  ", subsequent_indent="  ")
        lines += ["", f"{title}:", text]
    return "\n".join([*lines, "", "Each is explained in docs/node.md."])
