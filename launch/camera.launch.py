"""Run the node on a live camera, whose driver is started elsewhere.

    ros2 launch sfm_ros camera.launch.py image_topic:=/camera/image_raw

The node processes the newest image and drops older ones that wait. Any driver that publishes
images and their camera_info will do:

    ros2 run usb_cam usb_cam_node_exe --ros-args -r __ns:=/camera \\
        -p camera_info_url:=file:///home/me/camera.yaml -p frame_id:=camera_optical
    ros2 launch sfm_ros camera.launch.py

    ros2 run v4l2_camera v4l2_camera_node --ros-args -r __ns:=/camera \\
        -p camera_info_url:=file:///home/me/camera.yaml -p camera_frame_id:=camera_optical
    ros2 launch sfm_ros camera.launch.py compressed:=true camera_pose:='0.3 0 1.2 0 0 0'

Launch it once per camera, each with its namespace. A frame has one parent on TF, so that only one
node may move the robot; the others publish on their topics alone:

    ros2 launch sfm_ros camera.launch.py namespace:=left image_topic:=/left/image_raw \\
        camera_info_topic:=/left/camera_info
    ros2 launch sfm_ros camera.launch.py namespace:=right image_topic:=/right/image_raw \\
        camera_info_topic:=/right/camera_info publish_tf:=false

On a robot whose wheels publish odom -> base_link: ``publish_tf:=inverted odom_frame:=visual_odom``
hangs a frame of its own below base_link, which cannot fight. Arguments: ``--show-args``.
"""

from launch import LaunchDescription
from launch.actions import OpaqueFunction

from sfm_ros.datatypes import OPTICAL_FRAME
from sfm_ros.ros.launching.arguments import (
    BOOLEAN,
    COMMON,
    Argument,
    declare,
    given_values,
)
from sfm_ros.ros.launching.checks import check
from sfm_ros.ros.launching.node_parameters import effective
from sfm_ros.ros.launching.programs import extrinsics_publisher, odometry_node, recorder
from sfm_ros.ros.launching.rviz import followed_frame, rviz

ARGUMENTS = {
    "image_topic": Argument(default="/camera/image_raw", text="topic of the images"),
    "camera_info_topic": Argument(
        default="/camera/camera_info", text="topic of their calibration"
    ),
    "compressed": Argument(
        default="",
        text="subscribe to image_topic/compressed; empty: as the parameter file has it",
        choices=("", *BOOLEAN),
    ),
    "use_sim_time": Argument(
        default="",
        text="use the time of /clock; empty: as the parameter file has it",
        choices=("", *BOOLEAN),
    ),
    **COMMON,
}


def generate_launch_description() -> LaunchDescription:
    """The node and, if requested, extrinsics, recorder and RViz."""
    return LaunchDescription([*declare(ARGUMENTS), OpaqueFunction(function=_start)])


def _start(context) -> list:
    given = given_values(context, ARGUMENTS)
    check(given)
    images, calibration = given["image_topic"], given["camera_info_topic"]
    optical_frame = given["optical_frame"] or OPTICAL_FRAME
    received = f"{images}/compressed" if effective(given, "node.compressed") else images
    return [
        *extrinsics_publisher(given, optical_frame),
        *odometry_node(given, [("image", images), ("camera_info", calibration)]),
        *recorder(given, [received, calibration]),
        *rviz(given, received, followed_frame(given, optical_frame, not given["optical_frame"])),
    ]
