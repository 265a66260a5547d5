"""Whoever may set parameters cannot make the node write anywhere but beside the user's file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rig.probe import wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rig.camera_driver import Camera
from rig.fake_node import FORWARD, STAND
from rig.own_node import OwnNode
from std_srvs.srv import SetBool, Trigger

from sfm_ros.config import NodeConfig
from sfm_ros.errors import ConfigError, TrajectoryError
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import read_trajectory
from sfm_ros.ros.conversions import pose_message
from sfm_ros.ros.node.trajectory_file import TrajectoryFile
from sfm_ros.ros.node.trajectory_log import TrajectoryLog


@pytest.fixture
def log() -> TrajectoryLog:
    """One pose."""
    made = TrajectoryLog(10)
    made.add(1_000, pose_message(np.eye(4)))
    return made


@pytest.fixture
def file(tmp_path: Path) -> TrajectoryFile:
    """What the user named at the start is run.tum in an empty folder."""
    return TrajectoryFile(NodeConfig(trajectory_file=str(tmp_path / "run.tum")))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd.tum", "../up.tum", "sub/x.tum", "~/x.tum", ".bashrc", ".x.tum", "", ".", "..",
     "authorized_keys", "x.py", "a\n.tum", "\x1b.tum", "n" * 300 + ".tum"],
)  # fmt: skip
def test_name_set_while_the_node_runs_stays_in_the_folder(
    file: TrajectoryFile, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"expected a file name that ends in '.tum'.*{tmp_path}"):
        file.check(name)


def test_start_value_and_plain_names_are_taken(
    file: TrajectoryFile, log: TrajectoryLog, tmp_path: Path
) -> None:
    for name in (str(tmp_path / "run.tum"), "second.tum", "second.tum"):
        file.check(name)
        assert f"1 poses written to {tmp_path}" in file.save(name, log)
    assert sorted(content(tmp_path)) == ["run.tum", "second.tum"]
    assert len(read_trajectory(tmp_path / "second.tum")) == 1


def test_folder_of_its_own(log: TrajectoryLog, tmp_path: Path) -> None:
    options = NodeConfig(trajectory_folder=str(tmp_path), trajectory_file="run.tum")
    TrajectoryFile(options).save("run.tum", log)
    assert list(content(tmp_path)) == ["run.tum"]
    with pytest.raises(ConfigError, match="expected a plain name"):
        NodeConfig(trajectory_folder=str(tmp_path), trajectory_file="sub/run.tum")


def test_unknown_home_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="nobody-of-this-name"):
        TrajectoryFile(NodeConfig(trajectory_file="~nobody-of-this-name/run.tum"))


def test_file_of_others_is_not_replaced(
    file: TrajectoryFile, log: TrajectoryLog, tmp_path: Path
) -> None:
    """The one that the user named is."""
    (tmp_path / "ground_truth.tum").write_bytes(b"precious")
    (tmp_path / "run.tum").write_bytes(b"of the run before")
    with pytest.raises(TrajectoryError, match="did not write"):
        file.save("ground_truth.tum", log)
    file.save(file.start, log)
    assert content(tmp_path)["ground_truth.tum"] == b"precious"
    assert len(read_trajectory(tmp_path / "run.tum")) == 1


def make_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def make_dangling_link(path: Path, target: Path) -> None:
    path.symlink_to(target.with_name("missing"))


def make_fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path, _: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [make_link, make_dangling_link, make_fifo, make_folder])
@pytest.mark.parametrize("name", ["run.tum", "second.tum"])
def test_only_regular_files_are_replaced(
    make: Callable[[Path, Path], None],
    name: str,
    file: TrajectoryFile,
    log: TrajectoryLog,
    tmp_path: Path,
) -> None:
    target = tmp_path / "authorized_keys"
    target.write_bytes(b"key")
    make(tmp_path / name, target)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(TrajectoryError, match="a link or no regular file"):
        file.save(file.start if name == "run.tum" else name, log)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert target.read_bytes() == b"key"


def test_descriptors_of_processes_are_refused(log: TrajectoryLog) -> None:
    with pytest.raises(TrajectoryError, match="a link or no regular file"):
        TrajectoryFile(NodeConfig(trajectory_file="/proc/self/fd/1")).save("/proc/self/fd/1", log)


def test_failed_write_leaves_the_file_before(log: TrajectoryLog, tmp_path: Path) -> None:
    def fill_the_disk(path: Path, _: Trajectory) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    start = str(tmp_path / "run.tum")
    TrajectoryFile(NodeConfig(trajectory_file=start)).save(start, log)
    before = content(tmp_path)
    full = TrajectoryFile(NodeConfig(trajectory_file=start), write=fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        full.save(start, log)
    assert content(tmp_path) == before


def test_number_of_files_is_limited(
    file: TrajectoryFile, log: TrajectoryLog, tmp_path: Path
) -> None:
    for index in range(100):
        file.save(f"{index}.tum", log)
    with pytest.raises(TrajectoryError, match="100 files are written"):
        file.save("one_more.tum", log)
    file.save("7.tum", log)
    assert len(content(tmp_path)) == 100


def test_file_system_that_hangs_is_not_waited_for(log: TrajectoryLog, tmp_path: Path) -> None:
    answers = threading.Event()

    def hang(path: Path, trajectory: Trajectory) -> None:
        answers.wait()
        path.write_text("done")

    start = str(tmp_path / "run.tum")
    file = TrajectoryFile(NodeConfig(trajectory_file=start), patience_s=0.05, write=hang)
    with pytest.raises(TrajectoryError, match=r"not taken it for 0\.05 s"):
        file.save(start, log)
    with pytest.raises(TrajectoryError, match="still being written"):
        file.save(start, log)
    answers.set()
    wait_until((tmp_path / "run.tum").exists, "the file")


# ---- over the middleware ----------------------------------------------------------------------


def test_peer_cannot_choose_the_folder(own_node: Callable[..., OwnNode], tmp_path: Path) -> None:
    keys = tmp_path / "authorized_keys"
    keys.write_text("key")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "link.tum").symlink_to(keys)
    node = own_node("/folder", node__trajectory_file=str(folder / "run.tum"))
    camera = Camera(node.probe, node.program)
    name, save = "/folder/sfm_node", "/folder/sfm_node/save_trajectory"
    odometry = node.listen("sfm_node/odometry", _odometry())
    node.calibrate()
    node.show_until(lambda: odometry, "odometry", FORWARD)
    result = camera.set_parameter("node.trajectory_file", str(keys), name)
    assert not result.successful and str(folder) in result.reason
    result = camera.set_parameter("node.trajectory_folder", str(tmp_path), name)
    assert not result.successful and "read-only" in result.reason
    assert camera.set_parameter("node.trajectory_file", "link.tum", name).successful
    assert not camera.call(Trigger, save).success
    assert camera.set_parameter("node.trajectory_file", "other.tum", name).successful
    assert camera.call(Trigger, save).success and (folder / "other.tum").is_file()
    assert keys.read_text() == "key"
    result = camera.set_parameter("node.trajectory_file", "x" * 5_000_000, name)
    assert not result.successful and len(result.reason) < 1000


def test_fifo_does_not_silence_the_node(own_node: Callable[..., OwnNode], tmp_path: Path) -> None:
    """The user's own file is a FIFO that nobody reads."""
    fifo = tmp_path / "run.tum"
    os.mkfifo(fifo)
    node = own_node("/fifo", node__trajectory_file=str(fifo))
    camera = Camera(node.probe, node.program)
    odometry = node.listen("sfm_node/odometry", _odometry())
    node.calibrate()
    node.show_until(lambda: odometry, "odometry", FORWARD)
    response = camera.call(Trigger, "/fifo/sfm_node/save_trajectory")
    assert not response.success and "no regular file" in response.message
    assert camera.call(Trigger, "/fifo/sfm_node/reset").success
    pause = SetBool.Request(data=True)
    assert camera.call(SetBool, "/fifo/sfm_node/set_paused", pause).success
    wait_until(lambda: node.message() == "idle: paused", "the status")
    count = len(node.states)
    node.show_until(lambda: len(node.states) > count + 2, "further statuses", STAND)


def _odometry() -> type:
    from nav_msgs.msg import Odometry

    return Odometry
