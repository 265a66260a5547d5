"""What the node says and hears, as a table: the documentation is made of it, a test holds it.

It imports no ROS, so that the documentation can be made anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic the node publishes or subscribes to.

    Attributes:
        name: as in the code; ``~`` stands for the node's own name.
        type_name: of its messages.
        reliability, durability: offered or asked for.
        depth: messages kept; 0 stands for all.
        text: what it carries, and when.
        at_start: whether it is there from the start; else it comes with the first estimate, or
            goes once its question is answered.
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
        name="/tf",
        type_name="tf2_msgs/msg/TFMessage",
        depth=100,
        text="where the camera sits on `node.base_frame`; heard until that is known",
        at_start=False,
    ),
    Topic(
        name="/tf_static",
        type_name="tf2_msgs/msg/TFMessage",
        durability="transient_local",
        depth=100,
        text="the same",
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
        text="the last `node.path_length` poses, twice a second, while somebody subscribes",
    ),
    Topic(
        name="~/depth/image",
        type_name="sensor_msgs/msg/Image",
        text="32FC1, along the optical axis, NaN invalid (REP 117, 118), in the optical frame, "
        "while somebody subscribes",
    ),
    Topic(
        name="~/depth/camera_info",
        type_name="sensor_msgs/msg/CameraInfo",
        text="calibration of the depth's own grid: rectified, cropped and resized as the depth is",
    ),
    Topic(
        name="~/depth/image_color",
        type_name="sensor_msgs/msg/Image",
        depth=2,
        text="rgb8, the depth as an image for people, while somebody subscribes",
    ),
    Topic(
        name="~/points",
        type_name="sensor_msgs/msg/PointCloud2",
        depth=2,
        text="organized cloud in the optical frame, while somebody subscribes",
    ),
    Topic(
        name="~/status",
        type_name="diagnostic_msgs/msg/DiagnosticStatus",
        durability="transient_local",
        depth=1,
        text="state, reason codes, counts and latencies, at every change and once a second",
    ),
    Topic(
        name="/diagnostics",
        type_name="diagnostic_msgs/msg/DiagnosticArray",
        text="the same once a second, for aggregators",
    ),
    Topic(
        name="/tf",
        type_name="tf2_msgs/msg/TFMessage",
        depth=100,
        text="`node.odom_frame` to the child, or the other way round with `node.invert_tf`",
        at_start=False,
    ),
    Topic(
        name="/tf_static",
        type_name="tf2_msgs/msg/TFMessage",
        durability="transient_local",
        depth=1,
        text="the optical frame below the camera's body frame, where nobody else places it",
        at_start=False,
    ),
)

SERVICES = (
    Service(name="~/reset", type_name="std_srvs/srv/Trigger", text="the next image is the origin"),
    Service(
        name="~/set_paused",
        type_name="std_srvs/srv/SetBool",
        text="true: images are passed over; false: go on, with the pose held",
    ),
    Service(
        name="~/save_trajectory",
        type_name="std_srvs/srv/Trigger",
        text="write the poses so far to `node.trajectory_file` (TUM format); the answer says "
        "where, and how many",
    ),
)

DIAGNOSTICS = {
    "status": "state, see below",
    "reasons": "reason codes, separated by commas",
    "received": "images that arrived",
    "processed": "of these, images that went through the networks or were judged before",
    "odometry": "of these, images whose motion was published",
    "rejected": "images that could not be decoded, or had another size than their calibration",
    "skipped": "images passed over: paused, nobody subscribes, or over `node.max_rate_hz`",
    "duplicates": "images with the stamp of the one before",
    "lost_in_transport": "images the middleware says it lost",
    "replaced": "images a newer one took the place of, `node.image_queue: newest`",
    "waited_for_room": "times images had to wait in the middleware, `node.image_queue: every`",
    "scale_source": "who says what a unit is: model, fixed, or unknown",
    "scale": "published units a network unit",
    "last_trouble": "the last thing that went wrong, in words",
    "count_*": "images since the start with this reason code",
    "latency_*_p50_ms, _p99_ms": "time of each stage over the last 1000 images; `total` from "
    "arrival to the last message, `engine` the networks, `outside_engine` the rest",
    "stamp_to_publish_ms_p50, _p99": "from the image's stamp to the last message, on the node's "
    "clock",
    "engine, model": "what runs",
    "image_topic, camera_info_topic": "what is listened to, after remapping",
    "nodes_of_this_name": "1, or how many nodes bear this name",
}
"""Keys of the status message, and what they hold; ``*`` stands for several."""

PROGRAMS = {
    "sfm_node": "the node",
    "sfm_lifecycle_node": "the managed node: configure loads the model, activate subscribes",
    "sfm_doctor": "examines a running system or a bag and says what to change",
    "sfm_bag_player": "plays ROS 1 and ROS 2 bags and KITTI drives, with /clock",
    "sfm_bag_recorder": "records topics as an mcap bag",
    "sfm_static_transform": "says on /tf_static where a camera sits",
    "sfm_ground_truth_path": "draws ground-truth poses beside the estimated path",
    "sfm_kitti_to_bag": "writes a KITTI drive as a bag",
    "sfm_evaluate": "scores trajectories, bags and depth",
    "sfm_demo": "renders a drive, plays it through the node, scores it",
}
