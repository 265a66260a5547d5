"""Arguments of the launch files: what counts, over what, and what is refused before the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfm_ros.errors import SfmRosError

CAMERA, BAG = "camera.launch.py", "kitti_bag.launch.py"
Launch = Callable[..., Any]


@pytest.fixture
def drive(tmp_path: Path) -> str:
    """A folder that looks like a KITTI sequence."""
    (tmp_path / "03" / "image_0").mkdir(parents=True)
    return str(tmp_path / "03")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A parameter file of a user."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "/**:\n  ros__parameters:\n    use_sim_time: true\n    model: {bundle: road}\n"
        "    node:\n      base_frame: rover\n      compressed: true\n"
    )
    return path


def values(launched: Any) -> dict[str, Any]:
    """The parameters of the node that are not in its file."""
    return {k: v for p in launched.node("sfm_node").parameters[1:] for k, v in p.items()}


def test_an_argument_that_is_not_given_leaves_the_parameter_file_alone(
    launch: Launch, config: Path, drive: str
) -> None:
    launched = launch(CAMERA, config=str(config))
    assert launched.node("sfm_node").parameters == [str(config)]
    launched = launch(BAG, bag=drive, config=str(config))
    expected = {"use_sim_time", "node.image_queue", "node.compressed"}  # the recording's
    assert set(values(launched)) == expected


def test_a_given_argument_takes_precedence(launch: Launch, config: Path) -> None:
    launched = launch(
        CAMERA, config=str(config), model="default", engine="onnx", precision="fp32",
        base_frame="cart", odom_frame="visual_odom", compressed="false", use_sim_time="false",
    )  # fmt: skip
    assert values(launched) == {
        "model.bundle": "default",
        "model.engine": "onnx",
        "model.precision": "fp32",
        "node.base_frame": "cart",
        "node.odom_frame": "visual_odom",
        "node.compressed": False,
        "use_sim_time": False,
    }


@pytest.mark.parametrize(
    ("publish_tf", "expected"),
    [
        ("", {}),
        ("true", {"node.publish_tf": True, "node.invert_tf": False}),
        ("inverted", {"node.publish_tf": True, "node.invert_tf": True}),
        ("false", {"node.publish_tf": False}),
    ],
)
def test_publish_tf(launch: Launch, publish_tf: str, expected: dict[str, bool]) -> None:
    assert values(launch(CAMERA, publish_tf=publish_tf)) == expected


def test_the_other_programs_follow_the_parameter_file(
    launch: Launch, config: Path, installed: dict[str, str], tmp_path: Path
) -> None:
    installed["rviz2"] = "/opt/ros/share/rviz2"
    launched = launch(
        CAMERA, config=str(config), camera_pose="1 0 1 0 0 0", rviz="true", image_topic="/eye",
        record=str(tmp_path / "new"),
    )  # fmt: skip
    arguments = launched.node("sfm_static_transform").arguments
    assert arguments[arguments.index("--parent") + 1] == "rover"
    assert "/eye/compressed" in launched.node("sfm_bag_recorder").arguments
    assert launched.node("rviz2").parameters == [{"use_sim_time": True}]


def test_a_block_of_the_node_alone_counts(launch: Launch, tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(
        "left:\n  sfm_node:\n    ros__parameters:\n      node.base_frame: cart\n"
        "/**:\n  ros__parameters:\n    node.base_frame: rover\n"
    )
    pose = {"camera_pose": "1 0 1 0 0 0", "config": str(path)}
    for namespace, frame in (("left", "cart"), ("right", "rover")):
        launched = launch(CAMERA, **pose, namespace=namespace)
        arguments = launched.node("sfm_static_transform").arguments
        assert arguments[arguments.index("--parent") + 1] == frame


def test_namespaces_of_bags_share_no_topic(launch: Launch, drive: str, tmp_path: Path) -> None:
    """But /diagnostics, in which every node has its name."""
    names: list[set[str]] = []
    for namespace in ("left", "right/"):
        launched = launch(BAG, bag=drive, namespace=namespace, record=str(tmp_path / namespace))
        scope = f"/{namespace.strip('/')}"
        player = launched.node("sfm_bag_player").arguments
        assert player[player.index("--prefix") + 1] == scope
        shared = {topic: f"{scope}{topic}" for topic in ("/tf", "/tf_static", "/clock")}
        node = dict(launched.node("sfm_node").remappings)
        assert shared.items() <= node.items()
        topics = launched.node("sfm_bag_recorder").arguments[3:]
        names.append({*node.values(), *topics} - {"/diagnostics"})
        assert all(name.startswith(f"{scope}/") for name in names[-1])
        assert all(node.namespace == namespace for node in launched.nodes)
    assert not names[0] & names[1]


@pytest.mark.parametrize(
    ("file", "given", "expected"),
    [
        (BAG, {"rate": "fast"}, "rate:=fast is refused: expected a number from 0 up"),
        (BAG, {"rate": "-1"}, "rate:=-1 is refused"),
        (BAG, {"rate": "nan"}, "rate:=nan is refused"),
        (BAG, {"start_delay": "soon"}, "start_delay:=soon is refused"),
        (BAG, {"record": "{old}"}, "record:={old} is refused: it exists; name a new folder"),
        (CAMERA, {"record": "{old}"}, "record:={old} is refused"),
        (BAG, {"evaluate": "{old}"}, "evaluate:={old} is refused: .*is not empty"),
        (BAG, {"config": "{old}/no.yaml"}, "config:={old}/no.yaml is refused: cannot read"),
        (CAMERA, {"config": "{old}/no.yaml"}, "config:={old}/no.yaml is refused: cannot read"),
        (CAMERA, {"config": "{old}/flat.yaml"}, "it has parameters of no block of ros__param"),
        (CAMERA, {"config": "{old}/other.yaml"}, "parameters of /driver, expected some of /sfm"),
        (CAMERA, {"model": "nowhere"}, "model:=nowhere is refused: no model 'nowhere'"),
        (CAMERA, {"namespace": "left cam"}, "namespace:=left cam is refused"),
        (BAG, {"bag": "{old}/no.mcap"}, "bag:={old}/no.mcap is refused: there is no bag"),
        (BAG, {"camera_pose": "1 2"}, "camera_pose"),
    ],
)
def test_refused_before_anything_starts(
    file: str, given: dict[str, str], expected: str, launch: Launch, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "flat.yaml").write_text("node: {base_frame: cart}\n")
    (old / "other.yaml").write_text("driver: {ros__parameters: {rate: 30}}\n")
    (tmp_path / "03" / "image_0").mkdir(parents=True)
    filled = {name: value.format(old=old) for name, value in given.items()}
    if file == BAG:
        filled = {"bag": str(tmp_path / "03"), **filled}
    with pytest.raises(SfmRosError, match=expected.format(old=old)):
        launch(file, **filled)


def test_home_is_expanded(
    launch: Launch, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell does not, behind the sign of an argument."""
    monkeypatch.setenv("HOME", str(tmp_path))
    launched = launch(CAMERA, config="~/mine.yaml", record="~/new")
    assert launched.node("sfm_node").parameters[0] == str(config)
    assert launched.node("sfm_bag_recorder").arguments[1] == str(tmp_path / "new")
