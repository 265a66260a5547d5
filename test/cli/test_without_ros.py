"""Help of every program that needs ROS 2, and what it prints where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "node": "sfm_node",
    "lifecycle_node": "sfm_lifecycle_node",
    "bag_player": "sfm_bag_player",
    "bag_recorder": "sfm_bag_recorder",
    "static_transform": "sfm_static_transform",
    "ground_truth_path": "sfm_ground_truth_path",
}
WITHOUT_ROS = "import sys; sys.modules['rclpy'] = None; "
ANSWER = "ROS 2 cannot be imported ("
ADVICE = "): source its setup.bash, or install requirements/ros-jazzy.txt"


def run(repository: Path, code: str) -> tuple[int, str]:
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def start(entry: str, *arguments: str) -> str:
    """Code that starts a program by its entry point."""
    words = [f"/usr/bin/{PROGRAMS[entry]}", *arguments]
    return (
        f"import sys; sys.argv = {words!r}; from sfm_ros.ros import entry_points; "
        f"entry_points.{entry}()"
    )


def test_every_entry_point_is_here() -> None:
    from sfm_ros.ros import entry_points

    assert {n for n in vars(entry_points) if not n.startswith("_")} - {
        "annotations", "launch", "partial",
    } == set(PROGRAMS)  # fmt: skip


@pytest.mark.parametrize("entry", PROGRAMS)
def test_without_ros_there_is_one_sentence(entry: str, repository: Path) -> None:
    code, output = run(repository, WITHOUT_ROS + start(entry, "--help"))
    assert code == 1
    (line,) = output.splitlines()
    assert line.startswith(f"{PROGRAMS[entry]}: {ANSWER}") and line.endswith(ADVICE)


def test_the_doctor_and_the_demo_print_the_same(repository: Path, tmp_path: Path) -> None:
    doctor = "from sfm_ros.ros.doctor.command import main; sys.exit(main(['--no-engine']))"
    code, output = run(repository, WITHOUT_ROS + doctor)
    assert code == 1 and ANSWER in output and ADVICE in output and "Traceback" not in output
    online = (
        "from pathlib import Path; from types import SimpleNamespace; "
        "from sfm_ros.evaluation.runs.online import run_online; "
        "from sfm_ros.cli.program import run_program; "
        f"sys.exit(run_program('sfm_demo', lambda: run_online(None, Path({str(tmp_path)!r}))))"
    )
    code, output = run(repository, WITHOUT_ROS + online)
    assert code == 1 and ANSWER in output and ADVICE in output and "Traceback" not in output


@pytest.mark.parametrize("entry", PROGRAMS)
def test_help_needs_no_system(entry: str, repository: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    code, output = run(repository, start(entry, "--help"))
    assert code == 0, output
    assert output.startswith(f"usage: {PROGRAMS[entry]} ")
    assert "Traceback" not in output


def test_help_of_the_node_names_topics_and_parameters(repository: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    _, output = run(repository, start("node", "-h"))
    for name in ("camera_info", "~/odometry", "~/reset", "scale.camera_height (0.0)"):
        assert name in output


def test_a_word_that_is_no_argument_is_refused(repository: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    code, output = run(repository, start("node", "--image-topic", "/eye"))
    assert code == 2 and "unrecognized arguments: --image-topic /eye" in output
