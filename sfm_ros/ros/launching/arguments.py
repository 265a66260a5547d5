"""Arguments that the launch files have in common.

Launch files cannot import each other. Only they import this package, because it needs ``launch``
and ``launch_ros``; it uses nothing that Humble's lack.

An argument that stands for a parameter of the node is empty unless the user gives it: else its
default would take precedence over the user's parameter file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration

from sfm_ros.config import ENGINES, PRECISIONS
from sfm_ros.errors import SfmRosError, printable

BOOLEAN = ("true", "false")
INVERTED = "inverted"


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One argument of a launch file: its default (None: required) and its description."""

    default: str | None
    text: str
    choices: tuple[str, ...] = ()


_AS_CONFIG = "; empty: as the parameter file has it"


COMMON = {
    "model": Argument(
        default="", text=f"model bundle: a folder, or a shipped one's name{_AS_CONFIG}"
    ),
    "engine": Argument(default="", text=f"inference engine{_AS_CONFIG}", choices=("", *ENGINES)),
    "precision": Argument(
        default="",
        text=f"numbers the networks compute with{_AS_CONFIG}",
        choices=("", *PRECISIONS),
    ),
    "config": Argument(
        default="",
        text="parameter file, over which other arguments take precedence if they are given; "
        "empty: the package's sfm.yaml",
    ),
    "base_frame": Argument(
        default="", text=f"the robot's frame, if TF connects it with the camera{_AS_CONFIG}"
    ),
    "odom_frame": Argument(default="", text=f"fixed frame of the odometry{_AS_CONFIG}"),
    "publish_tf": Argument(
        default="",
        text="odometry on TF: true: odom_frame -> child; false: none; inverted: child -> "
        f"odom_frame, where the child has another parent{_AS_CONFIG}",
        choices=("", *BOOLEAN, INVERTED),
    ),
    "camera_pose": Argument(
        default="",
        text="pose of the camera on base_frame, to publish on /tf_static if nothing else does: "
        "'x y z roll pitch yaw' in meters and degrees, of the camera's body (x forward, y left, "
        "z up)",
    ),
    "optical_frame": Argument(
        default="",
        text="frame id of the images, for camera_pose and for RViz without one; empty: "
        "camera_optical",
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


def given_path(given: Mapping[str, str], name: str) -> str:
    """The path that an argument holds, or empty: a shell expands no ~ behind ``:=``."""
    return str(Path(given[name]).expanduser()) if given[name] else ""


def refused(name: str, value: str, reason: str) -> SfmRosError:
    """The error of an argument that cannot be used."""
    return SfmRosError(f"{name}:={printable(value)} is refused: {reason}")


def check_number(given: Mapping[str, str], name: str) -> float:
    """The number that an argument holds.

    Raises:
        SfmRosError: it is no finite number from 0 up.
    """
    try:
        number = float(given[name])
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise refused(name, given[name], "expected a number from 0 up")
    return number


def is_true(value: str) -> bool:
    """Whether an argument was given as true."""
    return value.lower() in ("true", "1", "yes")
