"""Play a bag through the node.

    ros2 launch sfm_ros kitti_bag.launch.py bag:=/data/kitti_drive_bag

Each frame is processed, in order; the node stays when the bag is over. Arguments: ``--show-args``.
"""

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sfm_ros.ros.dds_profile import PROFILE, VARIABLES

ARGUMENTS = {
    "bag": (None, "bag to play: a ROS 1 .bag file or a ROS 2 bag folder"),
    "rate": ("1.0", "2: twice as fast; 0: as fast as the node takes the images"),
    "image_topic": ("/camera/image_raw", "topic of the images, in the bag and for the node"),
    "camera_info_topic": ("/camera/camera_info", "topic of their calibration"),
    "compressed": ("false", "the bag holds image_topic/compressed"),
    "model": ("default", "model bundle: a folder, or the name of a shipped one"),
    "engine": ("auto", "inference engine"),
    "namespace": ("", "namespace of the node"),
    "use_sim_time": ("true", "take the time from the bag"),
    "rviz": ("false", "start RViz, where it is installed"),
}


def generate_launch_description() -> LaunchDescription:
    """Player, node and, where asked for, RViz."""
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, description=text, **_default(value))
                for name, (value, text) in ARGUMENTS.items()
            ),
            *(SetEnvironmentVariable(name, str(PROFILE)) for name in VARIABLES),
            OpaqueFunction(function=_start),
        ]
    )


def _default(value: str | None) -> dict:
    return {} if value is None else {"default_value": value}


def _start(context) -> list:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    use_sim_time = given["use_sim_time"].lower() == "true"
    share = get_package_share_directory("sfm_ros")
    node = Node(
        package="sfm_ros",
        executable="sfm_node",
        name="sfm_node",
        namespace=given["namespace"],
        output="screen",
        parameters=[
            f"{share}/config/sfm.yaml",
            {
                "use_sim_time": use_sim_time,
                "model.bundle": given["model"],
                "model.engine": given["engine"],
                "node.delivery": "every",
                "node.compressed": given["compressed"].lower() == "true",
            },
        ],
        remappings=[
            ("image", given["image_topic"]),
            ("camera_info", given["camera_info_topic"]),
        ],
    )
    player = Node(
        package="sfm_ros",
        executable="sfm_bag_player",
        name="sfm_bag_player",
        output="screen",
        arguments=[
            given["bag"],
            *("--rate", given["rate"]),
            # The node's: image, camera_info and, on the bag's time, /clock.
            *("--wait-for-subscribers", "3" if use_sim_time else "2"),
            *(["--clock"] if use_sim_time else []),
        ],
    )
    return [node, player, *_rviz(given["rviz"], share, use_sim_time)]


def _rviz(wanted: str, share: str, use_sim_time: bool) -> list:
    if wanted.lower() != "true":
        return []
    try:
        get_package_share_directory("rviz2")
    except PackageNotFoundError:
        print("rviz2 is not installed: going on without it")
        return []
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", f"{share}/config/sfm.rviz"],
            parameters=[{"use_sim_time": use_sim_time}],
        )
    ]
