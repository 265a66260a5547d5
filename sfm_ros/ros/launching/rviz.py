"""RViz with a layout for one run: the package's own, with the names of that run.

Names are written into the layout instead of being remapped: RViz finds the transport of an image
in the end of its topic's name, and a remapping does not reach frames.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from launch_ros.actions import Node

from sfm_ros.datatypes import body_frame_name
from sfm_ros.ros.launching.arguments import is_true
from sfm_ros.ros.launching.node_parameters import NODE_NAME, effective, package_file, scope
from sfm_ros.ros.launching.programs import Remappings, is_installed, node_topic

IMAGE_TOPIC = "/camera/image_raw"
"""Topic of the images in the package's layout."""
_GROUND_TRUTH = "/sfm_ground_truth/path"
_SHOWN = ("odometry", "path", "depth/image", "depth/uncertainty", "depth/image_color", "points")


def followed_frame(given: Mapping[str, str], optical_frame: str, is_on_robot: bool) -> str:
    """The child frame of the odometry, as far as it is known before the node runs.

    Args:
        given: values of `COMMON`.
        optical_frame: of the camera.
        is_on_robot: others than the launch file publish where the camera is on the robot.
    """
    is_on_robot = is_on_robot or bool(given["camera_pose"].strip())
    base_frame: str = effective(given, "node.base_frame")
    return base_frame if is_on_robot else body_frame_name(optical_frame)


def rviz(given: Mapping[str, str], images: str, child: str, shared: Remappings = ()) -> list[Any]:
    """RViz, if it is requested and installed.

    Args:
        given: values of `COMMON`.
        images: topic of the images, with the transport's suffix.
        child: frame that the view follows.
        shared: remappings of the topics that the programs share.
    """
    if not is_true(given["rviz"]):
        return []
    if not is_installed("rviz2"):
        print("rviz2 is not installed: continuing without it")
        return []
    topics = {f"/{NODE_NAME}/{topic}": node_topic(given, topic) for topic in _SHOWN}
    topics |= {IMAGE_TOPIC: images, _GROUND_TRUTH: f"{scope(given)}{_GROUND_TRUTH}"}
    template = Path(package_file("rviz/sfm.rviz"))
    layout = write_layout(template, topics, effective(given, "node.odom_frame"), child)
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            name="rviz2",
            arguments=["-d", str(layout)],
            parameters=[{"use_sim_time": bool(effective(given, "use_sim_time"))}],
            remappings=list(shared),
        )
    ]


def write_layout(template: Path, topics: Mapping[str, str], odom: str, child: str) -> Path:
    """Write the layout of a run to a file that is deleted when this process ends.

    Args:
        template: the layout of a node without a namespace.
        topics: the topics of the run by their names in the template.
        odom: fixed frame of the odometry, in which everything is shown.
        child: frame that the view follows.
    """
    layout = yaml.safe_load(template.read_text(encoding="utf-8"))
    manager = layout["Visualization Manager"]
    manager["Displays"] = [_renamed(display, topics) for display in manager["Displays"]]
    manager["Global Options"]["Fixed Frame"] = odom
    manager["Views"]["Current"]["Target Frame"] = child
    handle, name = tempfile.mkstemp(prefix="sfm_", suffix=".rviz")
    atexit.register(Path(name).unlink, missing_ok=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        yaml.safe_dump(layout, file, sort_keys=False)
    return Path(name)


def _renamed(value: Any, topics: Mapping[str, str]) -> Any:
    """A part of the layout with the topics of the run."""
    if isinstance(value, dict):
        return {key: _renamed(item, topics) for key, item in value.items()}
    return topics.get(value, value) if isinstance(value, str) else value
