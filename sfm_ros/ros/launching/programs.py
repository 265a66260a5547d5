"""The programs that both launch files start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import radians
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import ExecuteProcess
from launch_ros.actions import Node

from sfm_ros.geometry import quat_xyzw_from_matrix
from sfm_ros.ros.launching.arguments import is_true
from sfm_ros.ros.tools.extrinsics import extrinsics_matrix

PACKAGE = "sfm_ros"
NODE_NAME = "sfm_node"
_POSE_NUMBERS = 6
_RECORDED = ("odometry", "depth/image", "depth/camera_info", "depth/uncertainty", "status")


def is_installed(package: str) -> bool:
    """Whether a ROS package is installed."""
    try:
        get_package_share_directory(package)
    except PackageNotFoundError:
        return False
    return True


def program(executable: str, package: str = PACKAGE, **options: Any) -> Node:
    """A program, of this package by default, that is named and printed like itself."""
    options = {"name": executable, "output": "screen", **options}
    return Node(package=package, executable=executable, **options)


def node_topic(given: Mapping[str, str], topic: str) -> str:
    """Full name of a topic below the node's name and namespace."""
    namespace = given["namespace"].strip("/")
    return f"/{namespace}/{NODE_NAME}/{topic}" if namespace else f"/{NODE_NAME}/{topic}"


def odometry_node(
    given: Mapping[str, str], parameters: Mapping[str, Any], images: str, calibration: str
) -> list[Any]:
    """The node, plain or managed.

    The managed node activates itself. If launch_ros's events did that, ``ros2 launch`` would fail
    at a Ctrl-C that comes while it waits for the node's services.

    Args:
        given: values of `COMMON`, and of ``use_sim_time``.
        parameters: further parameters; they override the file.
        images, calibration: topics it subscribes to.
    """
    managed = given["lifecycle"] != "false"
    values = {
        "use_sim_time": is_true(given["use_sim_time"]),
        "model.bundle": given["model"],
        "model.engine": given["engine"],
        "model.precision": given["precision"],
        "node.base_frame": given["base_frame"],
        "node.autostart": given["lifecycle"] == "true",
        **parameters,
    }
    return [
        program(
            "sfm_lifecycle_node" if managed else "sfm_node",
            name=NODE_NAME,
            namespace=given["namespace"],
            parameters=[given["config"] or _share("config/sfm.yaml"), values],
            remappings=[("image", images), ("camera_info", calibration)],
        )
    ]


def _share(file: str) -> str:
    return f"{get_package_share_directory(PACKAGE)}/{file}"


def extrinsics_publisher(given: Mapping[str, str], optical_frame: str) -> list[Any]:
    """Publishes the camera's pose on the robot, if it was given: tf2_ros's program, else ours.

    Raises:
        ValueError: ``camera_pose`` is not six numbers.
    """
    if not given["camera_pose"].strip():
        return []
    pose = _camera_pose(given["camera_pose"])
    if is_installed("tf2_ros"):
        package, executable = "tf2_ros", "static_transform_publisher"
        arguments = _tf2_ros_arguments(pose, given["base_frame"], optical_frame)
    else:
        package, executable = PACKAGE, "sfm_static_transform"
        arguments = [
            *("--parent", given["base_frame"], "--child", optical_frame, "--xyz"),
            *(*map(str, pose[:3]), "--rpy", *map(str, pose[3:]), "--degrees", "--optical"),
        ]
    options = {"name": "sfm_static_transform", "namespace": given["namespace"]}
    return [program(executable, package, arguments=arguments, **options)]


def _camera_pose(text: str) -> list[float]:
    """x, y, z in meters and roll, pitch, yaw in degrees."""
    words = text.replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != _POSE_NUMBERS:
        raise ValueError(
            f"camera_pose is '{text}', expected 'x y z roll pitch yaw' in meters and degrees, "
            "such as '1.2 0 1.5 0 5 0'"
        )
    return numbers


def _tf2_ros_arguments(pose: list[float], base_frame: str, optical_frame: str) -> list[str]:
    """Its own roll, pitch and yaw would be those of the optical axes: it gets the quaternion."""
    T_base_optical = extrinsics_matrix(pose[:3], list(map(radians, pose[3:])), optical=True)
    numbers = [*pose[:3], *quat_xyzw_from_matrix(T_base_optical[:3, :3])]
    options = ("--x", "--y", "--z", "--qx", "--qy", "--qz", "--qw")
    values = [word for pair in zip(options, numbers, strict=True) for word in map(str, pair)]
    return [*values, "--frame-id", base_frame, "--child-frame-id", optical_frame]


def recorder(given: Mapping[str, str], inputs: list[str]) -> list[Any]:
    """Records the node's topics and its inputs, if a folder was given: ros2 bag, else ours."""
    if not given["record"]:
        return []
    outputs = [node_topic(given, topic) for topic in _RECORDED]
    topics = [*inputs, *outputs, "/tf", "/tf_static", "/diagnostics"]
    if is_installed("ros2bag") and is_installed("rosbag2_storage_mcap"):
        # Topics as arguments of their own have another form in each distribution.
        regex = f"^({'|'.join(map(re.escape, topics))})$"
        command = ["ros2", "bag", "record", "--output", given["record"], "--storage", "mcap"]
        return [ExecuteProcess(cmd=[*command, "--regex", regex], output="screen")]
    return [program("sfm_bag_recorder", arguments=["--out", given["record"], "--topics", *topics])]
