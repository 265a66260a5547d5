"""The launch files start programs with parameters and options that exist."""

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
from sfm_ros.config import config_from_dict, iter_fields, load_config
from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.engines.factory import KITTI_MODEL
from sfm_ros.errors import SfmRosError
from sfm_ros.geometry import quat_xyzw_from_matrix
from sfm_ros.ros.process.dds_profile import VARIABLES
from sfm_ros.ros.tools.extrinsics import extrinsics_matrix
from sfm_ros.source import SourceItem

DRAIN = "sfm_ros.ros.tools.node_drain"
FILES = ("kitti_bag.launch.py", "camera.launch.py")
ROS = "/opt/ros/share"


class ThreeImages:
    """A source, with or without ground-truth poses."""

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
    write_bag(ThreeImages(True), tmp_path / "recording", tmp_path / "ground_truth")
    return tmp_path / "recording"


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """A folder that looks like a KITTI sequence."""
    (tmp_path / "03" / "image_0").mkdir(parents=True)
    return tmp_path / "03"


def console_scripts(repository: Path) -> set[str]:
    return set(re.findall(r'"(\w+) = sfm_ros', (repository / "setup.py").read_text()))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("lifecycle", ["false", "true", "manual"])
def test_programs_and_parameters_exist(
    file: str, lifecycle: str, launch: Callable[..., Any], repository: Path, bag: Path
) -> None:
    given = {"bag": str(bag)} if file == "kitti_bag.launch.py" else {}
    options = {name: default for name, _, default in iter_fields()}
    launched = launch(
        file,
        **given,
        lifecycle=lifecycle,
        camera_pose="1 0 1.5 0 5 0",
        record=str(bag.parent / "new"),
        publish_tf="inverted",
        base_frame="rover",
    )
    assert len(launched.nodes) >= 3
    for node in launched.nodes:
        assert all(isinstance(value, str) for value in node.arguments)
        assert node.package == "sfm_ros"
        assert node.executable in console_scripts(repository)
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


def test_every_argument_has_a_description(launch: Callable[..., Any], bag: Path) -> None:
    for file, given in zip(FILES, ({"bag": str(bag)}, {}), strict=True):
        arguments = launch(file, **given).arguments
        assert all(argument.description for argument in arguments.values())
        assert {"model", "engine", "namespace", "use_sim_time", "rviz", "record", "lifecycle"} <= (
            set(arguments)
        )


@pytest.mark.parametrize("file", FILES)
def test_engine_and_precision_reach_the_node(
    launch: Callable[..., Any], bag: Path, file: str
) -> None:
    given = {"bag": str(bag)} if "bag" in file else {}
    node = launch(file, engine="openvino", precision="bf16", **given).node("sfm_node")
    values = node.parameters[1]
    assert (values["model.engine"], values["model.precision"]) == ("openvino", "bf16")


def test_bag_launch_connects_player_and_node(launch: Callable[..., Any], bag: Path) -> None:
    """No image is lost: the player waits for the node, which queues every image."""
    bag_player = pytest.importorskip("sfm_ros.ros.tools.player", reason="rclpy is not installed")
    launched = launch("kitti_bag.launch.py", bag=str(bag), rate="2", model="road")
    node, player = launched.node("sfm_node"), launched.node("sfm_bag_player")
    assert dict(node.remappings) == {"image": IMAGE_TOPIC, "camera_info": CAMERA_INFO_TOPIC}
    assert node.parameters[1]["node.image_queue"] == "every"
    assert node.parameters[1]["node.compressed"] is False
    assert node.parameters[1]["model.bundle"] == "road"
    assert node.parameters[1]["use_sim_time"] is True
    options = bag_player._parse(player.arguments)
    assert (options.bag, options.rate, options.clock) == (bag, 2.0, True)
    assert options.wait_for == [["/sfm_node", IMAGE_TOPIC], ["/sfm_node", CAMERA_INFO_TOPIC]]
    assert (options.wait_timeout, options.start_delay) == (120.0, 1.0)


def test_bag_launch_loads_the_dds_profile(launch: Callable[..., Any], bag: Path) -> None:
    launched = launch("kitti_bag.launch.py", bag=str(bag))
    assert set(launched.environment) == set(VARIABLES)
    for path in launched.environment.values():
        assert ElementTree.parse(path).getroot().tag.endswith("dds")


@pytest.mark.parametrize("variable", VARIABLES)
def test_bag_launch_keeps_the_users_dds_profile(
    variable: str, launch: Callable[..., Any], bag: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/etc/mine.xml")
    assert launch("kitti_bag.launch.py", bag=str(bag)).environment == {}


def test_ground_truth_path(launch: Callable[..., Any], bag: Path) -> None:
    launched = launch("kitti_bag.launch.py", bag=str(bag), namespace="front")
    ground_truth = launched.node("sfm_ground_truth_path")
    assert ground_truth.arguments == ["--type", "nav_msgs/msg/Odometry"]
    assert dict(ground_truth.remappings) == {
        "ground_truth": f"/front{GROUND_TRUTH_TOPIC}",
        "odometry": "/front/sfm_node/odometry",
        **{topic: f"/front{topic}" for topic in ("/tf", "/tf_static", "/clock")},
    }


def test_no_path_without_ground_truth(launch: Callable[..., Any], tmp_path: Path) -> None:
    write_bag(ThreeImages(False), tmp_path / "plain", tmp_path / "ground_truth")
    launched = launch("kitti_bag.launch.py", bag=str(tmp_path / "plain"))
    assert launched.executables() == ["sfm_node", "sfm_bag_player"]


def test_kitti_folder_brings_its_own_extrinsics(
    launch: Callable[..., Any], kitti: Path, installed: dict[str, str]
) -> None:
    installed["ros2bag"] = f"{ROS}/ros2bag"
    launched = launch("kitti_bag.launch.py", bag=str(kitti), camera_pose="1 0 1.5 0 0 0")
    assert launched.executables() == ["sfm_node", "sfm_ground_truth_path", "sfm_bag_player"]
    assert launched.node("sfm_bag_player").arguments[0] == str(kitti)


def test_kitti_folder_gets_its_model_unless_another_is_given(
    launch: Callable[..., Any], kitti: Path, bag: Path, tmp_path: Path
) -> None:
    def model(**given: str) -> str | None:
        node = launch("kitti_bag.launch.py", **given).node("sfm_node")
        return node.parameters[1].get("model.bundle")

    assert model(bag=str(kitti)) == KITTI_MODEL
    assert model(bag=str(kitti), model="road") == "road"
    assert model(bag=str(bag)) is None
    config = tmp_path / "mine.yaml"
    config.write_text("/**:\n  ros__parameters:\n    model: {bundle: road}\n")
    assert model(bag=str(kitti), config=str(config)) is None


def test_own_program_publishes_the_extrinsics(launch: Callable[..., Any], bag: Path) -> None:
    static = pytest.importorskip("sfm_ros.ros.tools.static_transform", reason="no rclpy")
    launched = launch("kitti_bag.launch.py", bag=str(bag), camera_pose="1.2 0, 1.5 0 -5 90")
    options = static._parse(launched.node("sfm_static_transform").arguments)
    assert (options.parent, options.child) == ("base_link", "eye_optical")
    assert options.xyz == [1.2, 0.0, 1.5] and options.optical
    assert options.rpy == pytest.approx(np.radians([0, -5, 90]))
    with pytest.raises(SfmRosError, match="expected 'x y z roll pitch yaw'"):
        launch("kitti_bag.launch.py", bag=str(bag), camera_pose="1.2 0 high")


def test_tf2_ros_publishes_the_extrinsics(
    launch: Callable[..., Any], bag: Path, installed: dict[str, str]
) -> None:
    installed["tf2_ros"] = f"{ROS}/tf2_ros"
    launched = launch("kitti_bag.launch.py", bag=str(bag), camera_pose="1.2 0 1.5 0 -5 90")
    assert "sfm_static_transform" not in launched.executables()
    node = launched.node("static_transform_publisher")
    assert node.package == "tf2_ros"
    given = dict(zip(node.arguments[::2], node.arguments[1::2], strict=True))
    assert given.pop("--frame-id") == "base_link"
    assert given.pop("--child-frame-id") == "eye_optical"
    T = extrinsics_matrix([1.2, 0.0, 1.5], np.radians([0, -5, 90]), optical=True)
    expected = [*T[:3, 3], *quat_xyzw_from_matrix(T[:3, :3])]
    names = ["--x", "--y", "--z", "--qx", "--qy", "--qz", "--qw"]
    assert [float(given[name]) for name in names] == pytest.approx(expected)
    assert set(given) == set(names)


def test_ros2_bag_plays_if_installed_and_able(
    launch: Callable[..., Any], bag: Path, installed: dict[str, str]
) -> None:
    installed["ros2bag"] = f"{ROS}/ros2bag"
    launched = launch("kitti_bag.launch.py", bag=str(bag), rate="0.5")
    assert "sfm_bag_player" not in launched.executables()
    command = launched.command("ros2", "bag", "play")
    assert command[3:6] == [str(bag), "--rate", "0.5"]
    assert "--clock" in command
    overrides = Path(command[command.index("--qos-profile-overrides-path") + 1])
    qos = yaml.safe_load(overrides.read_text())
    overrides.unlink()
    assert set(qos) == {IMAGE_TOPIC, CAMERA_INFO_TOPIC}
    assert qos[IMAGE_TOPIC]["reliability"] == "reliable"
    assert "sfm_bag_player" in launch("kitti_bag.launch.py", bag=str(bag), rate="0").executables()
    own = launch("kitti_bag.launch.py", bag=str(bag), player="sfm")
    assert "sfm_bag_player" in own.executables()
    for other in ({"rate": "0"}, {"namespace": "front"}):
        with pytest.raises(SfmRosError, match="player:=ros2bag is refused"):
            launch("kitti_bag.launch.py", bag=str(bag), player="ros2bag", **other)


def test_ros2_bag_is_held_until_the_node_subscribes(
    launch: Callable[..., Any], bag: Path, installed: dict[str, str]
) -> None:
    wait = pytest.importorskip("sfm_ros.ros.tools.subscription_wait", reason="no rclpy")
    installed["ros2bag"] = f"{ROS}/ros2bag"
    launched = launch("kitti_bag.launch.py", bag=str(bag), lifecycle="manual")
    waiting = launched.process(sys.executable, "-m", wait.__name__)
    options = wait.parse(waiting.cmd[3:])
    assert options.wait_for == [["/sfm_node", IMAGE_TOPIC], ["/sfm_node", CAMERA_INFO_TOPIC]]
    assert options.wait_timeout == float("inf")  # whenever the user activates it
    (playing,) = launched.then(waiting)
    assert playing.cmd[:3] == ["ros2", "bag", "play"]
    assert launched.then(waiting, returncode=1) == []
    given = {"bag": str(bag), "evaluate": str(bag.parent / "score"), "shutdown": "true"}
    launched = launch("kitti_bag.launch.py", **given)
    waiting = launched.process(sys.executable, "-m", wait.__name__)
    assert wait.parse(waiting.cmd[3:]).wait_for[2:] == [["/sfm_recorder", IMAGE_TOPIC]]
    (end,) = launched.then(waiting, returncode=1)  # no player will come that ends the launch
    assert type(end.event).__name__ == "Shutdown"
    Path(playing.cmd[playing.cmd.index("--qos-profile-overrides-path") + 1]).unlink()


@pytest.mark.parametrize("rate", ["1.0", "0"])
def test_what_the_node_published_is_scored(
    launch: Callable[..., Any], bag: Path, rate: str
) -> None:
    recorder = pytest.importorskip("sfm_ros.ros.tools.run_recorder", reason="no rclpy")
    out = bag.parent / "score"
    given = {"bag": str(bag), "evaluate": str(out), "model": "road", "namespace": "front"}
    launched = launch("kitti_bag.launch.py", **given, shutdown="true", rate=rate)
    receiving = launched.process(sys.executable, "-m", recorder.__name__)
    folder = Path(receiving.cmd[receiving.cmd.index("--out") + 1])
    assert {"-r", "odometry:=/front/sfm_node/odometry", "__ns:=/front", "/tf:=/front/tf"} <= set(
        receiving.cmd
    )
    player = launched.node("sfm_bag_player")
    assert f"--wait-for /front/sfm_recorder /front{IMAGE_TOPIC}" in " ".join(player.arguments)
    (draining,) = launched.then(player)
    assert draining.cmd == [sys.executable, "-m", DRAIN, "--node", "/front/sfm_node"]
    (stop,) = launched.then(draining)
    assert stop.event.process_matcher(receiving) and not stop.event.process_matcher(player)
    (scoring,) = launched.then(receiving)
    assert scoring.cmd[:3] == [sys.executable, "-m", "sfm_ros.cli.evaluate"]
    options = evaluate.parse(scoring.cmd[3:])
    assert (options.data, options.out, options.recording) == (bag, out, folder)
    assert options.rate == float(rate)
    assert load_config(options.config).model.bundle == "road"
    (end,) = launched.then(scoring)
    assert type(end.event).__name__ == "Shutdown"


def test_scoring_without_shutdown_leaves_the_node_running(
    launch: Callable[..., Any], bag: Path
) -> None:
    launched = launch("kitti_bag.launch.py", bag=str(bag), evaluate=str(bag.parent / "score"))
    (draining,) = launched.then(launched.node("sfm_bag_player"))
    (stop,) = launched.then(draining)
    assert type(stop.event).__name__ == "ShutdownProcess"
    receiving = launched.process(sys.executable, "-m", "sfm_ros.ros.tools.run_recorder")
    (scoring,) = launched.then(receiving)
    assert launched.then(scoring) == []


def test_shutdown_waits_for_the_node(launch: Callable[..., Any], bag: Path) -> None:
    """At rate 0, and on a slow machine, it lags far behind the player."""
    launched = launch("kitti_bag.launch.py", bag=str(bag), shutdown="true")
    (draining,) = launched.then(launched.node("sfm_bag_player"))
    assert draining.cmd[2] == DRAIN
    (end,) = launched.then(draining)
    assert type(end.event).__name__ == "Shutdown"


def test_a_player_that_fails_is_not_scored(launch: Callable[..., Any], bag: Path) -> None:
    given = {"bag": str(bag), "evaluate": str(bag.parent / "score")}
    launched = launch("kitti_bag.launch.py", **given)
    assert launched.then(launched.node("sfm_bag_player"), returncode=1) == []
    launched = launch("kitti_bag.launch.py", **given, shutdown="true")
    (end,) = launched.then(launched.node("sfm_bag_player"), returncode=1)
    assert type(end.event).__name__ == "Shutdown"


RECORDED = {
    *(f"/front{topic}" for topic in (IMAGE_TOPIC, CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC)),
    *("/front/sfm_node/odometry", "/front/sfm_node/depth/image"),
    "/front/sfm_node/depth/uncertainty",
    *("/front/sfm_node/depth/camera_info", "/front/sfm_node/status"),
    *("/front/tf", "/front/tf_static", "/diagnostics"),
}


def test_own_recorder_records_inputs_and_outputs(launch: Callable[..., Any], bag: Path) -> None:
    folder = str(bag.parent / "run1")
    launched = launch("kitti_bag.launch.py", bag=str(bag), record=folder, namespace="front")
    recorder = launched.node("sfm_bag_recorder")
    assert recorder.arguments[:3] == ["--out", folder, "--topics"]
    assert set(recorder.arguments[3:]) == RECORDED
    assert recorder.namespace == "front"
    assert recorder.parameters == [{"use_sim_time": True}]
    assert dict(recorder.remappings)["/clock"] == "/front/clock"
    waits = " ".join(launched.node("sfm_bag_player").arguments)
    assert f"--wait-for /front/sfm_bag_recorder /front{IMAGE_TOPIC}" in waits


def test_ros2_bag_records_the_same_topics(
    launch: Callable[..., Any], bag: Path, installed: dict[str, str]
) -> None:
    folder = str(bag.parent / "run1")
    given = {"bag": str(bag), "record": folder, "namespace": "front", "player": "sfm"}
    installed["ros2bag"] = f"{ROS}/ros2bag"
    assert "sfm_bag_recorder" in launch("kitti_bag.launch.py", **given).executables()
    installed["rosbag2_storage_mcap"] = f"{ROS}/rosbag2_storage_mcap"
    launched = launch("kitti_bag.launch.py", **given)
    assert "sfm_bag_recorder" not in launched.executables()
    command = launched.command("ros2", "bag", "record")
    assert command[3:7] == ["--output", folder, "--storage", "mcap"]
    waits = " ".join(launched.node("sfm_bag_player").arguments)
    assert f"--wait-for /rosbag2_recorder /front{IMAGE_TOPIC}" in waits
    assert command[7] == "--regex" and len(command) == 9
    topics = re.compile(command[8])
    assert all(topics.search(topic) for topic in RECORDED)
    others = ("/tf2", "/x/tf", "/front/sfm_node/odometry/more", "/rosout")
    assert not any(topics.search(topic) for topic in others)


@pytest.mark.parametrize(
    ("lifecycle", "program", "autostart"),
    [
        ("false", "sfm_node", False),
        ("true", "sfm_lifecycle_node", True),
        ("manual", "sfm_lifecycle_node", False),
    ],
)
def test_managed_node_activates_itself_unless_manual(
    lifecycle: str, program: str, autostart: bool, launch: Callable[..., Any]
) -> None:
    (node,) = launch("camera.launch.py", lifecycle=lifecycle).actions
    assert node.executable == program
    values = dict(node.parameters[1]) if lifecycle != "false" else {}
    assert values == ({} if lifecycle == "false" else {"node.autostart": autostart})


def test_missing_bag_is_refused(launch: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match="required argument"):
        launch("kitti_bag.launch.py")
    with pytest.raises(SfmRosError, match="there is no bag"):
        launch("kitti_bag.launch.py", bag="/nowhere")
