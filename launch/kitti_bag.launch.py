"""Play a bag or a KITTI drive through the node.

    ros2 launch sfm_ros kitti_bag.launch.py bag:=/data/recording.mcap
    ros2 launch sfm_ros kitti_bag.launch.py rviz:=true bag:=/kitti/2011_09_26_drive_0095_sync

Every frame is processed, in order: ``node.image_queue`` is ``every`` here, whatever a parameter
file has. The node keeps running after the bag. The bag is held until the node subscribes: with
``lifecycle:=manual`` until you activate it. The topics are found in a bag of one camera;
ground-truth poses are published as a path beside the estimated one. With a namespace the topics of
the bag, /tf and /clock are in it too, so that several bags can be played side by side. ros2 bag
plays if it is installed; otherwise, and for ROS 1 bags, KITTI folders, rate:=0 and namespaces, the
package's own player does. Arguments: ``--show-args``.
"""

from launch import LaunchDescription
from launch.actions import OpaqueFunction, SetEnvironmentVariable

from sfm_ros.ros.launching.arguments import BOOLEAN, COMMON, Argument, declare, given_values
from sfm_ros.ros.launching.checks import check, check_evaluation
from sfm_ros.ros.launching.follow_up import after_playback
from sfm_ros.ros.launching.node_parameters import scope
from sfm_ros.ros.launching.playback import (
    describe_recording,
    ground_truth_path,
    model_for,
    player,
    shared_topics,
)
from sfm_ros.ros.launching.programs import extrinsics_publisher, odometry_node, recorder
from sfm_ros.ros.launching.rviz import followed_frame, rviz
from sfm_ros.ros.process.dds_profile import large_image_profile

ARGUMENTS = {
    "bag": Argument(
        default=None, text="a ROS 1 .bag file, a ROS 2 bag, or the folder of a KITTI drive"
    ),
    "rate": Argument(
        default="1.0", text="2: twice as fast; 0: as fast as the node processes images"
    ),
    "player": Argument(
        default="auto",
        text="ros2bag, or sfm for the package's own; auto: ros2bag if installed and able",
        choices=("auto", "ros2bag", "sfm"),
    ),
    "start_delay": Argument(
        default="1.0",
        text="seconds between the node's subscription and the first message, in which the node "
        "discovers the player",
    ),
    "image_topic": Argument(default="", text="topic of the images; empty: the only one"),
    "camera_info_topic": Argument(
        default="", text="topic of their calibration; empty: the one beside the images"
    ),
    "use_sim_time": Argument(default="true", text="use the time of the bag", choices=BOOLEAN),
    "evaluate": Argument(
        default="",
        text="folder: when the recording is over, score there what the node published, beside an "
        "offline run, with a report",
    ),
    "shutdown": Argument(
        default="false",
        text="stop everything when the bag (and its evaluation) is over",
        choices=BOOLEAN,
    ),
    **COMMON,
}


def generate_launch_description() -> LaunchDescription:
    """Player, node and, if requested, extrinsics, recorder, evaluation and RViz."""
    return LaunchDescription(
        [
            *declare(ARGUMENTS),
            *(SetEnvironmentVariable(*item) for item in large_image_profile().items()),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context) -> list:
    given = given_values(context, ARGUMENTS)
    check(given)
    check_evaluation(given)
    recording, shared = describe_recording(given), shared_topics(given)
    parameters = {
        "node.image_queue": "every",
        "node.compressed": recording.compressed,
        **model_for(given, recording),
    }
    inputs = [f"{scope(given)}{topic}" for topic in recording.topics]
    camera = [
        ("image", f"{scope(given)}{recording.image_topic}"),
        ("camera_info", f"{scope(given)}{recording.camera_info_topic}"),
    ]
    playback = player(given, recording)
    extrinsics = extrinsics_publisher(given, recording.optical_frame, shared)
    if extrinsics and recording.has_static_transforms:
        print("camera_pose is not used: the recording has its own /tf_static")
        extrinsics = []
    child = followed_frame(given, recording.optical_frame, recording.has_static_transforms)
    return [
        *extrinsics,
        *odometry_node(given, [*camera, *shared], parameters),
        *ground_truth_path(given, recording),
        *recorder(given, inputs, shared),
        *playback.actions,
        *after_playback(given, recording, playback.process),
        *rviz(given, inputs[0], child, shared),
    ]
