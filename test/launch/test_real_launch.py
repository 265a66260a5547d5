"""The launch files under the real launch and launch_ros, where they are installed.

The programs are scripts in a package prefix of the test's own, as an installation has them.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HAS_LAUNCH = all(importlib.util.find_spec(name) for name in ("launch_ros", "rclpy"))
pytestmark = pytest.mark.skipif(not HAS_LAUNCH, reason="launch_ros or rclpy is not installed")

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
path, *given = sys.argv[1:]
source = PythonLaunchDescriptionSource(path)
arguments = [tuple(word.split(":=", 1)) for word in given]
service = LaunchService(noninteractive=True)
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""
PARAMETERS = """
import rclpy
from rclpy.node import Node
rclpy.init()
node = Node("x", automatically_declare_parameters_from_overrides=True)
for name in sorted(node._parameters):
    print("PARAMETER", node.get_fully_qualified_name(), name, node.get_parameter(name).value)
"""
Launch = Callable[..., tuple[int, str]]


@pytest.fixture
def prefix(tmp_path: Path, repository: Path) -> Path:
    """An installation of the package, with the repository's launch files."""
    made = tmp_path / "prefix"
    (made / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (made / "share/ament_index/resource_index/packages/sfm_ros").touch()
    (made / "lib/sfm_ros").mkdir(parents=True)
    (made / "share/sfm_ros").mkdir()
    for folder in ("launch", "config", "rviz"):
        (made / "share/sfm_ros" / folder).symlink_to(repository / folder)
    return made


@pytest.fixture
def launch(prefix: Path, repository: Path, tmp_path: Path) -> Launch:
    """Runs a launch file until all its programs have ended: its exit code and output."""

    def run(file: str, *given: str) -> tuple[int, str]:
        environment = {
            **os.environ,
            "AMENT_PREFIX_PATH": os.pathsep.join([str(prefix), sys.prefix]),
            "PYTHONPATH": os.pathsep.join([str(repository), *filter(None, sys.path)]),
            "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(tmp_path / "log"),
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "-c", LAUNCH, str(repository / "launch" / file), *given]
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=300)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, output

    return run


def install(prefix: Path, name: str, code: str) -> None:
    """A program of the package."""
    path = prefix / "lib/sfm_ros" / name
    path.write_text(f"#!{sys.executable}\n{code}")
    path.chmod(0o755)


def parameters_in(output: str) -> dict[str, str]:
    words = [line.partition("PARAMETER ")[2].split() for line in output.splitlines()]
    return {row[1]: row[2] for row in words if len(row) == 3}


@pytest.mark.parametrize("block", ["/**", "sfm_node", "/sfm_node"])
def test_parameters_are_the_files_and_over_them_the_given_ones(
    block: str, launch: Launch, prefix: Path, tmp_path: Path
) -> None:
    """Whether the file has a block for every node or for this one."""
    install(prefix, "sfm_node", PARAMETERS)
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"{block}:\n  ros__parameters:\n    node: {{base_frame: rover, odom_frame: map}}\n"
    )
    code, output = launch("camera.launch.py", f"config:={config}", "odom_frame:=given")
    assert code == 0, output
    values = parameters_in(output)
    assert (values["node.base_frame"], values["node.odom_frame"]) == ("rover", "given"), output
    assert "model.bundle" not in values


@pytest.mark.parametrize("word", ["rate:=fast", "record:={folder}", "config:={folder}/no.yaml"])
def test_refused_before_anything_starts(
    word: str, launch: Launch, prefix: Path, tmp_path: Path
) -> None:
    install(prefix, "sfm_node", PARAMETERS)
    (tmp_path / "03" / "image_0").mkdir(parents=True)
    word = word.format(folder=tmp_path)
    code, output = launch("kitti_bag.launch.py", f"bag:={tmp_path / '03'}", word)
    assert code == 1
    assert f"{word} is refused: " in output
    assert "process started" not in output


def test_shutdown_follows_player_and_node(launch: Launch, prefix: Path, tmp_path: Path) -> None:
    """Of a player that fails too; the node and what waits for it are stopped."""
    for name in ("sfm_node", "sfm_ground_truth_path"):
        install(prefix, name, "import signal\nsignal.pause()\n")
    install(prefix, "sfm_bag_player", "import sys\nprint(sys.argv[1:])\nsys.exit(1)\n")
    (tmp_path / "03" / "image_0").mkdir(parents=True)
    code, output = launch(
        "kitti_bag.launch.py", f"bag:={tmp_path / '03'}", "shutdown:=true", "namespace:=left"
    )
    assert "'--wait-for', '/left/sfm_node', '/left/camera/image_raw'" in output
    assert "'--prefix', '/left'" in output
    assert "[INFO] [sfm_node-1]: sending signal 'SIGINT'" in output
