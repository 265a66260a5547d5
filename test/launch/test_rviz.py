"""The layout that RViz gets has the names of the run, and properties that RViz has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_bags import write

from sfm_ros.ros.node.interface import PUBLICATIONS

SHARE = "/opt/ros/share"
DISPLAY = {"Class", "Name", "Enabled", "Value"}
TOPIC = {"Topic", "Topic/Value", "Topic/Depth", "Topic/Reliability Policy"}
POINTS = {"Style", "Size (Pixels)", "Size (m)", "Alpha", "Decay Time", "Color Transformer",
          "Position Transformer", "Selectable"}  # fmt: skip
# Names of the properties in the sources of RViz for Jazzy: it ignores others in silence.
PROPERTIES = {
    "Grid": {"Cell Size", "Plane Cell Count", "Color", "Reference Frame", "Alpha", "Plane"},
    "TF": {"Marker Scale", "Show Arrows", "Show Names", "Show Axes"},
    "Path": {"Color", "Line Style", "Line Width", "Buffer Length", *TOPIC},
    "Odometry": {"Keep", "Shape", "Shape/Value", "Shape/Shaft Length", "Shape/Head Length",
                 "Shape/Color", "Covariance", "Covariance/Value", *TOPIC},
    "PointCloud2": {*POINTS, *TOPIC},
    "DepthCloud": {"Reliability Policy", "Topic Filter", "Depth Map Topic",
                   "Depth Map Transport Hint", "Color Image Topic", "Color Transport Hint",
                   "Queue Size", "Auto Size", "Auto Size/Value", *POINTS},
    "Image": {"Normalize Range", "Min Value", "Max Value", "Median window", *TOPIC},
    "ThirdPersonFollower": {"Distance", "Yaw", "Pitch", "Focal Point", "Target Frame"},
}  # fmt: skip
RELIABILITY = {
    "Topic/Reliability Policy": {"Reliable", "Best Effort", "System Default"},
    "Reliability Policy": {"Reliable", "Best effort", "System Default"},  # of DepthCloud
}


@pytest.fixture
def layout(launch: Callable[..., Any], installed: dict[str, str]) -> Callable[..., dict]:
    """The layout that a launch file gives to RViz: ``layout(file, **arguments)``."""
    installed["rviz2"] = f"{SHARE}/rviz2"

    def read(file: str, **given: str) -> dict:
        node = launch(file, rviz="true", **given).node("rviz2")
        assert node.arguments[0] == "-d"
        assert {name for name, _ in node.remappings} <= {"/tf", "/tf_static", "/clock"}
        return yaml.safe_load(Path(node.arguments[1]).read_text())["Visualization Manager"]

    return read


@pytest.fixture
def template(repository: Path) -> dict:
    """The layout that is shipped."""
    return yaml.safe_load((repository / "rviz" / "sfm.rviz").read_text())


def properties(item: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) of all properties of a display or view; nested ones as ``outer/inner``."""
    for name, value in item.items():
        yield f"{prefix}{name}", value
        if isinstance(value, dict):
            yield from properties(value, f"{prefix}{name}/")


def display(manager: dict, name: str) -> dict:
    (found,) = (d for d in manager["Displays"] if d["Name"] == name)
    return found


def frames(manager: dict) -> tuple[str, str]:
    return manager["Global Options"]["Fixed Frame"], manager["Views"]["Current"]["Target Frame"]


def test_shipped_layout_has_properties_of_rviz(template: dict) -> None:
    manager = template["Visualization Manager"]
    items = [*manager["Displays"], manager["Views"]["Current"]]
    assert len(items) > 8
    for item in items:
        package, _, kind = item["Class"].partition("/")
        assert package == "rviz_default_plugins"
        for name, value in properties(item):
            assert name in PROPERTIES[kind] | DISPLAY, (kind, name)
            assert value in RELIABILITY.get(name, [value]), (kind, name, value)


def test_shipped_layout_shows_what_the_node_publishes(template: dict) -> None:
    published = {topic.name.replace("~", "/sfm_node") for topic in PUBLICATIONS}
    shown = {
        value
        for item in template["Visualization Manager"]["Displays"]
        for _, value in properties(item)
        if isinstance(value, str) and value.startswith("/")
    }
    assert shown - published == {"/camera/image_raw", "/sfm_ground_truth/path"}
    assert {"/sfm_node/points", "/sfm_node/depth/image", "/sfm_node/path"} <= shown


def test_topics_are_those_of_the_run(layout: Callable[..., dict]) -> None:
    """A compressed image keeps its ending, by which RViz chooses the transport."""
    manager = layout(
        "camera.launch.py", namespace="front", image_topic="/left/image_raw", compressed="true"
    )
    assert display(manager, "Camera")["Topic"]["Value"] == "/left/image_raw/compressed"
    cloud = display(manager, "Points in the depth's colors")
    assert cloud["Depth Map Topic"] == "/front/sfm_node/depth/image"
    assert cloud["Color Image Topic"] == "/front/sfm_node/depth/image_color"
    points = display(manager, "Points in the image's colors")
    assert points["Topic"]["Value"] == "/front/sfm_node/points"


@pytest.mark.parametrize(
    ("given", "child"),
    [
        ({}, "base_link"),
        ({"base_frame": "rover", "odom_frame": "wheels"}, "rover"),
        ({"optical_frame": "eye_optical"}, "eye_body"),
        ({"optical_frame": "eye_optical", "camera_pose": "1 0 1.5 0 0 0"}, "base_link"),
    ],
)
def test_view_follows_the_child_of_a_live_camera(
    layout: Callable[..., dict], given: dict[str, str], child: str
) -> None:
    odom = given.get("odom_frame", "odom")
    assert frames(layout("camera.launch.py", **given)) == (odom, child)


def test_frames_and_topics_follow_arguments_and_parameter_file(
    layout: Callable[..., dict], tmp_path: Path
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("/**:\n  ros__parameters: {node: {base_frame: cart, odom_frame: map}}\n")
    assert frames(layout("camera.launch.py", config=str(config))) == ("map", "cart")
    given = {"config": str(config), "odom_frame": "visual_odom"}
    assert frames(layout("camera.launch.py", **given)) == ("visual_odom", "cart")
    bag = str(write(tmp_path / "bag", [], with_poses=True))
    manager = layout("kitti_bag.launch.py", bag=bag, namespace="front")
    assert display(manager, "Camera")["Topic"]["Value"] == "/front/camera/image_raw"
    paths = {d["Topic"]["Value"] for d in manager["Displays"] if d["Class"].endswith("/Path")}
    assert paths == {"/front/sfm_node/path", "/front/sfm_ground_truth/path"}


def test_view_follows_the_camera_of_a_bag_without_transforms(
    layout: Callable[..., dict], tmp_path: Path
) -> None:
    bag = str(write(tmp_path / "bag", [], with_poses=True))
    manager = layout("kitti_bag.launch.py", bag=bag)
    assert frames(manager) == ("odom", "camera_body")
    assert display(manager, "Camera")["Topic"]["Value"] == "/camera/image_raw"
    posed = layout("kitti_bag.launch.py", bag=bag, camera_pose="1 0 1.5 0 0 0")
    assert frames(posed) == ("odom", "base_link")


def test_rviz_is_left_out_if_it_is_not_installed(
    launch: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "rviz2" not in launch("camera.launch.py", rviz="true").executables()
    assert "rviz2 is not installed" in capsys.readouterr().out
