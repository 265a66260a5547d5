"""Play a bag or a KITTI drive through the node.

    ros2 launch sfm_ros kitti_bag.launch.py bag:=/data/drive.mcap
    ros2 launch sfm_ros kitti_bag.launch.py rviz:=true bag:=/kitti/2011_09_26_drive_0095_sync

Each frame is processed, in order; the node stays when the bag is over. The topics are found in
the bag where it holds one camera; ground-truth poses in it are drawn beside the estimated path. ros2 bag
plays where it is installed, the package's own player where it is not, and where it has to (ROS 1
bags, KITTI folders, rate:=0). Arguments: ``--show-args``.
"""

from launch import LaunchDescription
from launch.actions import OpaqueFunction, SetEnvironmentVariable

from sfm_ros.ros.launching.arguments import (
    COMMON,
    Argument,
    declare,
    extrinsics,
    given_values,
    odometry_node,
    recorder,
    viewer,
)
from sfm_ros.ros.launching.playback import after_playback, describe_recording, ground_truth, player
from sfm_ros.ros.process.dds_profile import PROFILE, VARIABLES

ARGUMENTS = {
    "bag": Argument(
        default=None, text="a ROS 1 .bag file, a ROS 2 bag, or the folder of a KITTI drive"
    ),
    "rate": Argument(default="1.0", text="2: twice as fast; 0: as fast as the node takes images"),
    "player": Argument(
        default="auto",
        text="ros2bag, or sfm for the package's own; auto: ros2bag where installed and able",
        choices=("auto", "ros2bag", "sfm"),
    ),
    "start_delay": Argument(
        default="5.0", text="seconds ros2bag waits for the node; the own player waits by itself"
    ),
    "image_topic": Argument(default="", text="topic of the images; empty: the only one"),
    "camera_info_topic": Argument(default="", text="of their calibration; empty: beside them"),
    "use_sim_time": Argument(
        default="true", text="take the time from the bag", choices=("true", "false")
    ),
    "evaluate": Argument(
        default="", text="folder: score the drive there, with a report, when it is over"
    ),
    "shutdown": Argument(
        default="false",
        text="end everything when the bag (and its evaluation) is over",
        choices=("true", "false"),
    ),
    **COMMON,
}


def generate_launch_description() -> LaunchDescription:
    """Player, node and, where asked for, extrinsics, recorder, evaluation and RViz."""
    return LaunchDescription(
        [
            *declare(ARGUMENTS),
            *(SetEnvironmentVariable(name, str(PROFILE)) for name in VARIABLES),
            OpaqueFunction(function=_start),
        ]
    )


def _start(context) -> list:
    given = given_values(context, ARGUMENTS)
    bag = describe_recording(given)
    parameters = {"node.image_queue": "every", "node.compressed": bag.compressed}
    playing = player(given, bag)
    return [
        *([] if bag.has_static_transforms else extrinsics(given, bag.optical_frame)),
        *odometry_node(given, parameters, bag.image_topic, bag.camera_info_topic),
        *ground_truth(given, bag),
        *recorder(given, bag.topics),
        playing,
        *after_playback(given, playing),
        *viewer(given, bag.transported),
    ]
