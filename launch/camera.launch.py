"""Run the node on a live camera, whose driver is started elsewhere.

    ros2 launch sfm_ros camera.launch.py image_topic:=/camera/image_raw

The newest image is processed; older ones that wait are dropped. Arguments: ``--show-args``.
"""

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

ARGUMENTS = {
    "image_topic": ("/camera/image_raw", "topic of the images"),
    "camera_info_topic": ("/camera/camera_info", "topic of their calibration"),
    "compressed": ("false", "subscribe to image_topic/compressed"),
    "base_frame": ("base_link", "the robot's frame, where TF connects it with the camera"),
    "model": ("default", "model bundle: a folder, or the name of a shipped one"),
    "engine": ("auto", "inference engine"),
    "config": ("", "parameter file; by default config/sfm.yaml of the package"),
    "namespace": ("", "namespace of the node"),
    "use_sim_time": ("false", "take the time from /clock"),
}


def generate_launch_description() -> LaunchDescription:
    """The node alone."""
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text)
        for name, (value, text) in ARGUMENTS.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_start)])


def _start(context) -> list:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    default_config = f"{get_package_share_directory('sfm_ros')}/config/sfm.yaml"
    return [
        Node(
            package="sfm_ros",
            executable="sfm_node",
            name="sfm_node",
            namespace=given["namespace"],
            output="screen",
            parameters=[
                given["config"] or default_config,
                {
                    "use_sim_time": given["use_sim_time"].lower() == "true",
                    "model.bundle": given["model"],
                    "model.engine": given["engine"],
                    "node.base_frame": given["base_frame"],
                    "node.compressed": given["compressed"].lower() == "true",
                },
            ],
            remappings=[
                ("image", given["image_topic"]),
                ("camera_info", given["camera_info_topic"]),
            ],
        )
    ]
