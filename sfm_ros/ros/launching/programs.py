"""The programs that both launch files start."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from math import radians
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import EmitEvent, ExecuteProcess, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch_ros.actions import Node

from sfm_ros.geometry import quat_xyzw_from_matrix
from sfm_ros.ros.launching.arguments import given_path, is_true, refused
from sfm_ros.ros.launching.node_parameters import (
    NODE_NAME,
    PACKAGE,
    effective,
    given_parameters,
    node_path,
    parameter_file,
    scope,
)
from sfm_ros.ros.tools.extrinsics import extrinsics_matrix

Remappings = Sequence[tuple[str, str]]
_POSE_NUMBERS = 6
_RECORDERS = "sfm_bag_recorder", "rosbag2_recorder"
"""Names of the nodes that record: ours, and that of ros2 bag."""
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


def tool(name: str, *arguments: str) -> ExecuteProcess:
    """One of the package's tools that have no command of their own."""
    command = [sys.executable, "-m", f"{PACKAGE}.ros.tools.{name}", *arguments]
    return ExecuteProcess(cmd=command, output="screen")


def on_exit(process: Any, actions: list[Any], if_failed: Sequence[Any] = ()) -> list[Any]:
    """Actions for the exit of a process, if it succeeds, and others if it fails."""

    def follow(event: Any, _: Any) -> list[Any]:
        return actions if event.returncode == 0 else list(if_failed)

    return [RegisterEventHandler(OnProcessExit(target_action=process, on_exit=follow))]


def shutdown_if_asked(given: Mapping[str, str]) -> list[Any]:
    """The end of the launch, if ``shutdown`` was given; a launch file may lack it."""
    if not is_true(given.get("shutdown", "")):
        return []
    return [EmitEvent(event=Shutdown(reason="the recording is over"))]


def node_topic(given: Mapping[str, str], topic: str) -> str:
    """Full name of a topic below the node's name and namespace."""
    return f"{node_path(given)}/{topic}"


def odometry_node(
    given: Mapping[str, str], remappings: Remappings, parameters: Mapping[str, Any] | None = None
) -> list[Any]:
    """The node, plain or managed.

    The managed node activates itself. If launch_ros's events did that, ``ros2 launch`` would fail
    at a Ctrl-C that comes while it waits for the node's services.

    Args:
        given: values of `COMMON`.
        remappings: of the topics it subscribes to, and of those it shares with others.
        parameters: further parameters; they override the file.
    """
    managed = given["lifecycle"] != "false"
    values = given_parameters(given) | dict(parameters or {})
    if managed:
        values["node.autostart"] = given["lifecycle"] == "true"
    return [
        program(
            "sfm_lifecycle_node" if managed else "sfm_node",
            name=NODE_NAME,
            namespace=given["namespace"],
            parameters=[parameter_file(given), *([values] if values else [])],
            remappings=list(remappings),
        )
    ]


def extrinsics_publisher(
    given: Mapping[str, str], optical_frame: str, shared: Remappings = ()
) -> list[Any]:
    """Publishes the camera's pose on the robot, if it was given: tf2_ros's program, else ours.

    Args:
        given: values of `COMMON`.
        optical_frame: of the camera.
        shared: remappings of the topics that the programs share.
    """
    pose, base_frame = camera_pose(given), effective(given, "node.base_frame")
    if not pose:
        return []
    if is_installed("tf2_ros"):
        package, executable = "tf2_ros", "static_transform_publisher"
        arguments = _tf2_ros_arguments(pose, base_frame, optical_frame)
    else:
        package, executable = PACKAGE, "sfm_static_transform"
        arguments = [
            *("--parent", base_frame, "--child", optical_frame, "--xyz"),
            *(*map(str, pose[:3]), "--rpy", *map(str, pose[3:]), "--degrees", "--optical"),
        ]
    return [
        program(
            executable,
            package,
            name="sfm_static_transform",
            namespace=given["namespace"],
            arguments=arguments,
            remappings=list(shared),
        )
    ]


def camera_pose(given: Mapping[str, str]) -> list[float]:
    """x, y, z in meters and roll, pitch, yaw in degrees; empty if it is not given.

    Raises:
        SfmRosError: it is not six numbers.
    """
    text = given["camera_pose"]
    if not text.strip():
        return []
    words = text.replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != _POSE_NUMBERS:
        expected = "expected 'x y z roll pitch yaw' in meters and degrees"
        raise refused("camera_pose", text, f"{expected}, such as '1.2 0 1.5 0 5 0'")
    return numbers


def _tf2_ros_arguments(pose: list[float], base_frame: str, optical_frame: str) -> list[str]:
    """Its own roll, pitch and yaw would be those of the optical axes: it gets the quaternion."""
    T_base_optical = extrinsics_matrix(pose[:3], list(map(radians, pose[3:])), optical=True)
    numbers = [*pose[:3], *quat_xyzw_from_matrix(T_base_optical[:3, :3])]
    options = ("--x", "--y", "--z", "--qx", "--qy", "--qz", "--qw")
    values = [word for pair in zip(options, numbers, strict=True) for word in map(str, pair)]
    return [*values, "--frame-id", base_frame, "--child-frame-id", optical_frame]


def recorder(given: Mapping[str, str], inputs: list[str], shared: Remappings = ()) -> list[Any]:
    """Records the node's topics and its inputs, if a folder was given: ros2 bag, else ours.

    Ours has the times of /clock on simulated time. ros2 bag would subscribe only once there is a
    clock, and the player waits for its subscription.
    """
    folder = given_path(given, "record")
    if not folder:
        return []
    outputs = [node_topic(given, topic) for topic in _RECORDED]
    tf = [dict(shared).get(topic, topic) for topic in ("/tf", "/tf_static")]
    topics = [*inputs, *outputs, *tf, "/diagnostics"]
    if _ros2_bag_records():
        # Topics as arguments of their own have another form in each distribution.
        regex = f"^({'|'.join(map(re.escape, topics))})$"
        command = ["ros2", "bag", "record", "--output", folder, "--storage", "mcap"]
        return [ExecuteProcess(cmd=[*command, "--regex", regex], output="screen")]
    return [
        program(
            "sfm_bag_recorder",
            namespace=given["namespace"],
            arguments=["--out", folder, "--topics", *topics],
            parameters=[{"use_sim_time": bool(effective(given, "use_sim_time"))}],
            remappings=list(shared),
        )
    ]


def recorder_path(given: Mapping[str, str]) -> str:
    """Full name of the node that `recorder` starts."""
    own, ros2_bag = _RECORDERS
    return f"/{ros2_bag}" if _ros2_bag_records() else f"{scope(given)}/{own}"


def _ros2_bag_records() -> bool:
    return is_installed("ros2bag") and is_installed("rosbag2_storage_mcap")
