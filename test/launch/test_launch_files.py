"""The launch files ask for programs, parameters and options that exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sfm_ros.config import config_from_dict, iter_fields
from sfm_ros.ros.dds_profile import VARIABLES

EVERY_FILE = [("kitti_bag.launch.py", {"bag": "/data/drive"}), ("camera.launch.py", {})]


def executables(repository: Path) -> set[str]:
    return set(re.findall(r'"(\w+) = sfm_ros', (repository / "setup.py").read_text()))


@pytest.mark.parametrize(("file", "given"), EVERY_FILE)
def test_programs_and_parameters_exist(
    file: str, given: dict, launch: Callable[..., Any], repository: Path
) -> None:
    options = {name: default for name, _, default in iter_fields()}
    for node in launch(file, **given).nodes:
        assert node.package == "sfm_ros"
        assert node.executable in executables(repository)
        for parameters in node.parameters:
            if isinstance(parameters, str):
                assert Path(parameters).is_file()
                continue
            values: dict[str, dict] = {}
            for name, value in parameters.items():
                if name != "use_sim_time":
                    assert name in options
                    block, key = name.split(".")
                    values.setdefault(block, {})[key] = value
            config_from_dict(values)  # refuses wrong types and choices


@pytest.mark.parametrize(("file", "given"), EVERY_FILE)
def test_each_argument_is_explained(file: str, given: dict, launch: Callable[..., Any]) -> None:
    assert all(argument.description for argument in launch(file, **given).arguments.values())


def test_bag_launch_connects_player_and_node_and_loses_no_image(
    launch: Callable[..., Any],
) -> None:
    bag_player = pytest.importorskip("sfm_ros.ros.bag_player", reason="rclpy is not installed")
    launched = launch(
        "kitti_bag.launch.py",
        bag="/data/drive",
        rate="2",
        model="/models/mine",
        namespace="front",
        image_topic="/cam/image",
        camera_info_topic="/cam/info",
    )
    node, player = launched.nodes
    assert (node.executable, player.executable) == ("sfm_node", "sfm_bag_player")
    assert node.namespace == "front"
    assert dict(node.remappings) == {"image": "/cam/image", "camera_info": "/cam/info"}
    assert node.parameters[1]["node.delivery"] == "every"
    assert node.parameters[1]["model.bundle"] == "/models/mine"
    assert node.parameters[1]["use_sim_time"] is True
    options = bag_player._parse(player.arguments)
    assert (options.bag, options.rate, options.clock) == (Path("/data/drive"), 2.0, True)
    assert options.wait_for_subscribers == 3  # image, camera_info and /clock
    assert set(launched.environment) == set(VARIABLES)
    for path in launched.environment.values():
        assert ElementTree.parse(path).getroot().tag.endswith("dds")


def test_bag_must_be_named(launch: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match="without default"):
        launch("kitti_bag.launch.py")


def test_rviz_starts_where_it_is_wanted_and_installed(
    launch: Callable[..., Any], installed: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"bag": "/data/drive", "rviz": "true"}
    without = launch("kitti_bag.launch.py", **given).nodes
    assert [node.executable for node in without] == ["sfm_node", "sfm_bag_player"]
    assert "not installed" in capsys.readouterr().out
    installed["rviz2"] = "/opt/ros/share/rviz2"
    rviz = launch("kitti_bag.launch.py", **given).nodes[-1]
    assert rviz.executable == "rviz2"
    assert Path(rviz.arguments[1]).is_file()


def test_camera_launch_passes_frames_topics_and_own_config(launch: Callable[..., Any]) -> None:
    (node,) = launch(
        "camera.launch.py", base_frame="rover", image_topic="/eye", config="/etc/mine.yaml"
    ).nodes
    assert node.parameters[0] == "/etc/mine.yaml"
    assert node.parameters[1]["node.base_frame"] == "rover"
    assert dict(node.remappings)["image"] == "/eye"
    assert node.parameters[1]["use_sim_time"] is False
