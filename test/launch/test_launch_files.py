"""The launch files ask for programs, parameters and options that exist."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC, write_bag
from sfm_ros.cli import evaluate
from sfm_ros.config import config_from_dict, iter_fields
from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.errors import SfmRosError
from sfm_ros.ros.process.dds_profile import VARIABLES
from sfm_ros.source import SourceItem

FILES = ("kitti_bag.launch.py", "camera.launch.py")


class ThreeImages:
    """A source, with ground-truth poses where they are asked for."""

    name = "three images"

    def __init__(self, with_poses: bool) -> None:
        self._pose = np.eye(4) if with_poses else None

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Any:
        camera = CameraIntrinsics(width=8, height=4, fx=5.0, fy=5.0, cx=3.5, cy=1.5)
        for index in range(3):
            frame = Frame(
                stamp_ns=(index + 1) * 10**8,
                rgb=np.zeros((4, 8, 3), np.uint8),
                intrinsics=camera,
                frame_id="eye_optical",
            )
            yield SourceItem(frame=frame, T_world_camera=self._pose)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """A ROS 2 bag of one camera with ground-truth poses and without transforms."""
    write_bag(ThreeImages(True), tmp_path / "drive", tmp_path / "ground_truth")
    return tmp_path / "drive"


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """A folder that looks like a KITTI sequence."""
    (tmp_path / "03" / "image_0").mkdir(parents=True)
    return tmp_path / "03"


def executables(repository: Path) -> set[str]:
    return set(re.findall(r'"(\w+) = sfm_ros', (repository / "setup.py").read_text()))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("lifecycle", ["false", "true", "manual"])
def test_programs_and_parameters_exist(
    file: str, lifecycle: str, launch: Callable[..., Any], repository: Path, bag: Path
) -> None:
    given = {"bag": str(bag)} if file == "kitti_bag.launch.py" else {}
    options = {name: default for name, _, default in iter_fields()}
    launched = launch(
        file, **given, lifecycle=lifecycle, camera_pose="1 0 1.5 0 5 0", record="/tmp/new"
    )
    assert len(launched.nodes) >= 3
    for node in launched.nodes:
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


def test_each_argument_is_explained(launch: Callable[..., Any], bag: Path) -> None:
    for file, given in zip(FILES, ({"bag": str(bag)}, {}), strict=True):
        arguments = launch(file, **given).arguments
        assert all(argument.description for argument in arguments.values())
        assert {"model", "engine", "namespace", "use_sim_time", "rviz", "record", "lifecycle"} <= (
            set(arguments)
        )


def test_bag_launch_connects_player_and_node_and_loses_no_image(
    launch: Callable[..., Any], bag: Path
) -> None:
    bag_player = pytest.importorskip("sfm_ros.ros.tools.player", reason="rclpy is not installed")
    launched = launch(
        "kitti_bag.launch.py", bag=str(bag), rate="2", model="/models/mine", namespace="front"
    )
    node, player = launched.node("sfm_node"), launched.node("sfm_bag_player")
    assert node.namespace == "front"
    assert dict(node.remappings) == {"image": IMAGE_TOPIC, "camera_info": CAMERA_INFO_TOPIC}
    assert node.parameters[1]["node.image_queue"] == "every"
    assert node.parameters[1]["node.compressed"] is False
    assert node.parameters[1]["model.bundle"] == "/models/mine"
    assert node.parameters[1]["use_sim_time"] is True
    options = bag_player._parse(player.arguments)
    assert (options.bag, options.rate, options.clock) == (bag, 2.0, True)
    assert options.wait_for_subscribers == 3  # image, camera_info and /clock
    assert set(launched.environment) == set(VARIABLES)
    for path in launched.environment.values():
        assert ElementTree.parse(path).getroot().tag.endswith("dds")


def test_true_poses_of_a_bag_are_drawn(launch: Callable[..., Any], bag: Path) -> None:
    ground_truth = launch("kitti_bag.launch.py", bag=str(bag), namespace="front").node(
        "sfm_ground_truth_path"
    )
    assert ground_truth.arguments == ["--type", "nav_msgs/msg/Odometry"]
    assert dict(ground_truth.remappings) == {
        "ground_truth": GROUND_TRUTH_TOPIC,
        "odometry": "/front/sfm_node/odometry",
    }


def test_a_bag_without_ground_truth_draws_none(launch: Callable[..., Any], tmp_path: Path) -> None:
    write_bag(ThreeImages(False), tmp_path / "plain", tmp_path / "ground_truth")
    launched = launch("kitti_bag.launch.py", bag=str(tmp_path / "plain"))
    assert launched.executables() == ["sfm_node", "sfm_bag_player"]


def test_a_kitti_folder_is_played_as_it_is_with_its_own_extrinsics(
    launch: Callable[..., Any], kitti: Path, installed: dict[str, str]
) -> None:
    installed["rosbag2_transport"] = "/opt/ros/share/rosbag2_transport"
    launched = launch("kitti_bag.launch.py", bag=str(kitti), camera_pose="1 0 1.5 0 0 0")
    assert launched.executables() == ["sfm_node", "sfm_ground_truth_path", "sfm_bag_player"]
    assert launched.node("sfm_bag_player").arguments[0] == str(kitti)


def test_the_extrinsics_is_published_where_the_bag_has_none(
    launch: Callable[..., Any], bag: Path
) -> None:
    static = pytest.importorskip("sfm_ros.ros.tools.static_transform", reason="no rclpy")
    launched = launch("kitti_bag.launch.py", bag=str(bag), camera_pose="1.2 0, 1.5 0 -5 90")
    options = static._parse(launched.node("sfm_static_transform").arguments)
    assert (options.parent, options.child) == ("base_link", "eye_optical")
    assert options.xyz == [1.2, 0.0, 1.5] and options.optical
    assert options.rpy == pytest.approx(np.radians([0, -5, 90]))
    with pytest.raises(ValueError, match="expected 'x y z roll pitch yaw'"):
        launch("kitti_bag.launch.py", bag=str(bag), camera_pose="1.2 0 high")


def test_ros2_bag_plays_where_it_is_installed_and_able(
    launch: Callable[..., Any], bag: Path, installed: dict[str, str]
) -> None:
    installed["rosbag2_transport"] = "/opt/ros/share/rosbag2_transport"
    launched = launch("kitti_bag.launch.py", bag=str(bag), rate="0.5")
    assert "sfm_bag_player" not in launched.executables()
    (played,) = (a for a in launched.actions if getattr(a, "cmd", [""])[0] == "ros2")
    assert played.cmd[:6] == ["ros2", "bag", "play", str(bag), "--rate", "0.5"]
    assert "--clock" in played.cmd
    overrides = Path(played.cmd[played.cmd.index("--qos-profile-overrides-path") + 1])
    qos = yaml.safe_load(overrides.read_text())
    overrides.unlink()
    assert set(qos) == {IMAGE_TOPIC, CAMERA_INFO_TOPIC}
    assert qos[IMAGE_TOPIC]["reliability"] == "reliable"
    assert "sfm_bag_player" in launch("kitti_bag.launch.py", bag=str(bag), rate="0").executables()
    own = launch("kitti_bag.launch.py", bag=str(bag), player="sfm")
    assert "sfm_bag_player" in own.executables()
    with pytest.raises(ValueError, match="rates above 0"):
        launch("kitti_bag.launch.py", bag=str(bag), rate="0", player="ros2bag")


def test_the_drive_is_scored_and_everything_ends_when_it_is_over(
    launch: Callable[..., Any], bag: Path
) -> None:
    given = {"bag": str(bag), "evaluate": "/out/score", "model": "mine"}
    launched = launch("kitti_bag.launch.py", **given, shutdown="true")
    (scoring,) = launched.then(launched.node("sfm_bag_player"))
    assert scoring.cmd[:3] == [sys.executable, "-m", "sfm_ros.cli.evaluate"]
    options = evaluate.parse(scoring.cmd[3:])
    assert (options.data, options.out, options.model) == (bag, Path("/out/score"), "mine")
    (end,) = launched.then(scoring)
    assert type(end.event).__name__ == "Shutdown"
    stays = launch("kitti_bag.launch.py", **given)
    assert stays.then(stays.then(stays.node("sfm_bag_player"))[0]) == []
    plain = launch("kitti_bag.launch.py", bag=str(bag), shutdown="true")
    (timer,) = plain.then(plain.node("sfm_bag_player"))
    assert type(timer.actions[0].event).__name__ == "Shutdown"


def test_the_recorder_hears_both_sides_of_the_node(launch: Callable[..., Any], bag: Path) -> None:
    launched = launch("kitti_bag.launch.py", bag=str(bag), record="/tmp/run1", namespace="front")
    arguments = launched.node("sfm_bag_recorder").arguments
    assert arguments[:3] == ["--out", "/tmp/run1", "--topics"]
    expected = {
        IMAGE_TOPIC,
        CAMERA_INFO_TOPIC,
        GROUND_TRUTH_TOPIC,
        "/front/sfm_node/odometry",
        "/tf",
    }
    assert expected <= set(arguments[3:])
    waits = launched.node("sfm_bag_player").arguments
    assert waits[waits.index("--image-subscribers") + 1] == "2"  # the node and the recorder


@pytest.mark.parametrize(
    ("lifecycle", "program", "starts_itself"),
    [
        ("false", "sfm_node", False),
        ("true", "sfm_lifecycle_node", True),
        ("manual", "sfm_lifecycle_node", False),
    ],
)
def test_the_managed_node_takes_itself_to_active_unless_that_is_left_to_the_user(
    lifecycle: str, program: str, starts_itself: bool, launch: Callable[..., Any]
) -> None:
    (node,) = launch("camera.launch.py", lifecycle=lifecycle).actions
    assert node.executable == program
    assert node.parameters[-1]["node.autostart"] is starts_itself


def test_a_bag_that_is_not_there_or_not_named_is_refused(launch: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match="without default"):
        launch("kitti_bag.launch.py")
    with pytest.raises(SfmRosError, match="there is no bag"):
        launch("kitti_bag.launch.py", bag="/nowhere")


def test_rviz_starts_where_it_is_wanted_and_installed(
    launch: Callable[..., Any],
    installed: dict[str, str],
    bag: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"bag": str(bag), "rviz": "true", "namespace": "front"}
    assert "rviz2" not in launch("kitti_bag.launch.py", **given).executables()
    assert "not installed" in capsys.readouterr().out
    installed["rviz2"] = "/opt/ros/share/rviz2"
    rviz = launch("kitti_bag.launch.py", **given).node("rviz2")
    layout = Path(rviz.arguments[1])
    shown = set(re.findall(r"Value: (/\S+)", layout.read_text()))
    assert dict(rviz.remappings)["/sfm_node/path"] == "/front/sfm_node/path"
    assert {name for name, _ in rviz.remappings} | {"/sfm_ground_truth/path"} >= shown


def test_camera_launch_passes_frames_topics_and_own_config(launch: Callable[..., Any]) -> None:
    (node,) = launch(
        "camera.launch.py", base_frame="rover", image_topic="/eye", config="/etc/mine.yaml"
    ).nodes
    assert node.parameters[0] == "/etc/mine.yaml"
    assert node.parameters[1]["node.base_frame"] == "rover"
    assert dict(node.remappings)["image"] == "/eye"
    assert node.parameters[1]["use_sim_time"] is False
