"""Arguments that the launch files have in common.

Launch files cannot import each other. Only they import this package, because it needs ``launch``
and ``launch_ros``; it uses nothing that Humble's lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from sfm_ros.config import ENGINES, PRECISIONS

BOOLEAN = ("true", "false")


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a launch file: its default (None: required) and its description."""

    default: str | None
    text: str
    choices: tuple[str, ...] = ()


COMMON = {
    "model": Argument(default="default", text="model bundle: a folder, or a shipped one's name"),
    "engine": Argument(default="auto", text="inference engine", choices=ENGINES),
    "precision": Argument(
        default="auto", text="numbers the networks compute with", choices=PRECISIONS
    ),
    "config": Argument(default="", text="parameter file; default: the package's sfm.yaml"),
    "base_frame": Argument(
        default="base_link", text="the robot's frame, if TF connects it with the camera"
    ),
    "camera_pose": Argument(
        default="",
        text="pose of the camera on base_frame, to publish on /tf_static if nothing else does: "
        "'x y z roll pitch yaw' in meters and degrees, of the camera's body (x forward, y left, "
        "z up)",
    ),
    "optical_frame": Argument(
        default="", text="frame id of the images, for camera_pose; empty: camera_optical"
    ),
    "lifecycle": Argument(
        default="false",
        text="run the managed node, which activates itself; 'manual' leaves that to you",
        choices=(*BOOLEAN, "manual"),
    ),
    "namespace": Argument(default="", text="namespace of the node, one for each camera"),
    "rviz": Argument(default="false", text="start RViz, if it is installed", choices=BOOLEAN),
    "record": Argument(
        default="", text="folder of a new bag: record the inputs and outputs of the node"
    ),
}


def declare(arguments: Mapping[str, Argument]) -> list[DeclareLaunchArgument]:
    """The actions that declare arguments."""
    return [
        DeclareLaunchArgument(
            name,
            default_value=argument.default,
            description=argument.text,
            choices=list(argument.choices) or None,
        )
        for name, argument in arguments.items()
    ]


def given_values(context: Any, arguments: Mapping[str, Argument]) -> dict[str, str]:
    """The values of arguments in a launch context."""
    return {name: LaunchConfiguration(name).perform(context) for name in arguments}


def is_true(value: str) -> bool:
    """Whether an argument was given as true."""
    return value.lower() in ("true", "1", "yes")
