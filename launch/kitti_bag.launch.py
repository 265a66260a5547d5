"""Play a bag or a KITTI drive through the node.

    ros2 launch sfm_ros kitti_bag.launch.py bag:=/data/recording.mcap
    ros2 launch sfm_ros kitti_bag.launch.py rviz:=true bag:=/kitti/2011_09_26_drive_0095_sync

Every frame is processed, in order; the node keeps running after the bag. The topics are found in a
bag of one camera; ground-truth poses are published as a path beside the estimated one. ros2 bag
plays if it is installed; otherwise, and for ROS 1 bags, KITTI folders and rate:=0, the package's
own player does. Arguments: ``--show-args``.
"""

from launch import LaunchDescription
from launch.actions import OpaqueFunction, SetEnvironmentVariable

from sfm_ros.ros.launching.arguments import BOOLEAN, COMMON, Argument, declare, given_values
from sfm_ros.ros.launching.playback import (
    after_playback,
    describe_recording,
    ground_truth_path,
    player,
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
        default="5.0",
        text="seconds ros2bag waits for the node; the package's own player detects it",
    ),
    "image_topic": Argument(default="", text="topic of the images; empty: the only one"),
    "camera_info_topic": Argument(
        default="", text="topic of their calibration; empty: the one beside the images"
    ),
    "use_sim_time": Argument(default="true", text="use the time of the bag", choices=BOOLEAN),
    "evaluate": Argument(
        default="", text="folder: score the recording there when it is over, with a report"
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
    recording = describe_recording(given)
    parameters = {"node.image_queue": "every", "node.compressed": recording.compressed}
    playing = player(given, recording)
    extrinsics = []
    if not recording.has_static_transforms:
        extrinsics = extrinsics_publisher(given, recording.optical_frame)
    child = followed_frame(given, recording.optical_frame, recording.has_static_transforms)
    return [
        *extrinsics,
        *odometry_node(given, parameters, recording.image_topic, recording.camera_info_topic),
        *ground_truth_path(given, recording),
        *recorder(given, recording.topics),
        playing,
        *after_playback(given, playing),
        *rviz(given, recording.transport_topic, child),
    ]
