"""What the launch files share: their arguments, and the programs they start.

Launch files cannot import each other. This module is imported by them alone, for it needs
``launch`` and ``launch_ros``; it uses nothing that Humble's lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "sfm_ros"
NODE_NAME = "sfm_node"
_BOOLEAN = ("true", "false")
_POSE_NUMBERS = 6
_SHOWN = ("odometry", "path", "depth/image", "depth/image_color", "points")
_RECORDED = ("odometry", "depth/image", "depth/camera_info", "status")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a launch file: its default (None: it must be given) and what it does."""

    default: str | None
    text: str
    choices: tuple[str, ...] = ()


COMMON = {
    "model": Argument(default="default", text="model bundle: a folder, or a shipped one's name"),
    "engine": Argument(default="auto", text="inference engine"),
    "config": Argument(default="", text="parameter file; by default the package's sfm.yaml"),
    "base_frame": Argument(
        default="base_link", text="the robot's frame, where TF connects it with the camera"
    ),
    "camera_pose": Argument(
        default="",
        text="where the camera sits on base_frame, if nobody says so on TF: 'x y z roll pitch "
        "yaw' in meters and degrees, of the camera's body (x forward, y left, z up)",
    ),
    "optical_frame": Argument(
        default="", text="frame id of the images, for camera_pose; empty: camera_optical"
    ),
    "lifecycle": Argument(
        default="false",
        text="run the managed node, which takes itself to active; 'manual' leaves that to you",
        choices=(*_BOOLEAN, "manual"),
    ),
    "namespace": Argument(default="", text="namespace of the node, one for each camera"),
    "rviz": Argument(default="false", text="start RViz, where it is installed", choices=_BOOLEAN),
    "record": Argument(
        default="", text="folder of a new bag: record what goes into and comes out of the node"
    ),
}


def declare(arguments: Mapping[str, Argument]) -> list[DeclareLaunchArgument]:
    """The actions that declare arguments."""
    declared = []
    for name, argument in arguments.items():
        options: dict[str, Any] = {"description": argument.text}
        if argument.default is not None:
            options["default_value"] = argument.default
        if argument.choices:
            options["choices"] = list(argument.choices)
        declared.append(DeclareLaunchArgument(name, **options))
    return declared


def given_values(context: Any, arguments: Mapping[str, Argument]) -> dict[str, str]:
    """The values of arguments when the launch file runs."""
    return {name: LaunchConfiguration(name).perform(context) for name in arguments}


def is_ground_truth(value: str) -> bool:
    """Whether an argument was given as true."""
    return value.lower() in ("true", "1", "yes")


def share() -> str:
    """Folder of the package's launch and configuration files."""
    return get_package_share_directory(PACKAGE)


def is_installed(package: str) -> bool:
    """Whether the index of installed packages has one."""
    try:
        get_package_share_directory(package)
    except PackageNotFoundError:
        return False
    return True


def full_name(given: Mapping[str, str], name: str = NODE_NAME) -> str:
    """A node's name with its namespace."""
    space = given["namespace"].strip("/")
    return f"/{space}/{name}" if space else f"/{name}"


def odometry_node(
    given: Mapping[str, str], parameters: Mapping[str, Any], images: str, calibration: str
) -> list[Any]:
    """The node, plain or managed.

    The managed node takes itself to active. Were it done from here, by launch_ros's events,
    ``ros2 launch`` would fail at a Ctrl-C that comes while it waits for the node's services.

    Args:
        given: values of `COMMON`, and of ``use_sim_time``.
        parameters: further parameters; they win over the file.
        images, calibration: topics it listens to.
    """
    managed = given["lifecycle"] != "false"
    values = {
        "use_sim_time": is_ground_truth(given["use_sim_time"]),
        "model.bundle": given["model"],
        "model.engine": given["engine"],
        "node.base_frame": given["base_frame"],
        "node.autostart": given["lifecycle"] == "true",
        **parameters,
    }
    return [
        Node(
            package=PACKAGE,
            executable="sfm_lifecycle_node" if managed else "sfm_node",
            name=NODE_NAME,
            namespace=given["namespace"],
            output="screen",
            parameters=[given["config"] or f"{share()}/config/sfm.yaml", values],
            remappings=[("image", images), ("camera_info", calibration)],
        )
    ]


def extrinsics(given: Mapping[str, str], optical_frame: str) -> list[Any]:
    """The camera's place on the robot, where it was given.

    Raises:
        ValueError: ``camera_pose`` is not six numbers.
    """
    if not given["camera_pose"].strip():
        return []
    words = given["camera_pose"].replace(",", " ").split()
    try:
        numbers = [str(float(word)) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) != _POSE_NUMBERS:
        raise ValueError(
            f"camera_pose is '{given['camera_pose']}', expected 'x y z roll pitch yaw' in meters "
            "and degrees, such as '1.2 0 1.5 0 5 0'"
        )
    return [
        Node(
            package=PACKAGE,
            executable="sfm_static_transform",
            name="sfm_static_transform",
            namespace=given["namespace"],
            output="screen",
            arguments=[
                *("--parent", given["base_frame"], "--child", optical_frame),
                *("--xyz", *numbers[:3], "--rpy", *numbers[3:], "--degrees", "--optical"),
            ],
        )
    ]


def viewer(given: Mapping[str, str], images: str) -> list[Any]:
    """RViz with the package's layout, where it is wanted and installed."""
    if not is_ground_truth(given["rviz"]):
        return []
    if not is_installed("rviz2"):
        print("rviz2 is not installed: going on without it")
        return []
    own = full_name(given)
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            arguments=["-d", f"{share()}/config/sfm.rviz"],
            parameters=[{"use_sim_time": is_ground_truth(given["use_sim_time"])}],
            remappings=[
                ("/camera/image_raw", images),
                *((f"/{NODE_NAME}/{topic}", f"{own}/{topic}") for topic in _SHOWN),
            ],
        )
    ]


def recorder(given: Mapping[str, str], topics: list[str]) -> list[Any]:
    """Records the node's topics and some others, where a folder was given."""
    if not given["record"]:
        return []
    own = [f"{full_name(given)}/{name}" for name in _RECORDED]
    return [
        Node(
            package=PACKAGE,
            executable="sfm_bag_recorder",
            name="sfm_bag_recorder",
            output="screen",
            arguments=[
                *("--out", given["record"], "--topics"),
                *(*topics, *own, "/tf", "/tf_static", "/diagnostics"),
            ],
        )
    ]
