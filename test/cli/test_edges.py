"""Every program where there is little around it: no HOME, no letters, nobody who reads on."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from limited import ROOT
from small_bags import pose

from sfm_ros.cli import evaluate
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_tum

MISSING = "nö"
REFUSED = r"n\xf6"
LOGS = "set ROS_LOG_DIR to a folder that can be written"
NEEDS = {"sfm_ros.ros": "rclpy", "training": "torch"}
# The arguments of every program, which must refuse them, and a part of its one line of answer.
PROGRAMS = {
    "sfm_node": ("", LOGS),
    "sfm_lifecycle_node": ("", LOGS),
    "sfm_bag_player": ("nö.bag", LOGS),
    "sfm_static_transform": ("--parent a --child b", LOGS),
    "sfm_ground_truth_path": ("", LOGS),
    "sfm_bag_recorder": ("--out OUT --topics /x", LOGS),
    "sfm_doctor": ("--seconds 1", ""),
    "sfm_build_engine": ("nö", REFUSED),
    "sfm_demo": ("--bag nö.bag --out OUT", REFUSED),
    "sfm_evaluate": ("trajectory nö nö", REFUSED),
    "sfm_kitti_to_bag": ("nö OUT", REFUSED),
    "sfm_ros.ros.tools.node_drain": ("--node /x", LOGS),
    "sfm_ros.ros.tools.run_recorder": ("--out OUT", LOGS),
    "sfm_ros.ros.tools.subscription_wait": ("--wait-for /x /y", LOGS),
    "training.add_variants": ("--model nö --out OUT --variants fp16", REFUSED),
    "training.evaluate_depth": ("--model nö --prepared nö", REFUSED),
    "training.evaluate_pose": ("--model nö --kitti nö", REFUSED),
    "training.export": ("--checkpoint nö --out OUT", REFUSED),
    "training.export_multiview": ("--bundle nö", REFUSED),
    "training.plot": ("curves nö --out OUT/a.png", REFUSED),
    "training.prepare": ("folder OUT --images nö --calib nö", REFUSED),
    "training.reproduce": ("road --out HOME/nö", REFUSED),
    "training.train": ("--config nö --out OUT", REFUSED),
}


def entry_points() -> dict[str, tuple[str, str]]:
    """{console script: (module, function)}, from setup.py."""
    found = re.findall(r'"(\w+) = ([\w.]+):(\w+)"', (ROOT / "setup.py").read_text())
    return {name: (module, function) for name, module, function in found}


def command(name: str) -> list[str]:
    """As it is started by its console script, by ``python -m``, or from the source tree."""
    if name in entry_points():
        module, function = entry_points()[name]
        return ["-c", f"import sys; from {module} import {function} as f; sys.exit(f())"]
    if name.startswith("training."):
        return [f"{name.replace('.', '/')}.py"]
    return ["-m", name]


def run(name: str, arguments: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    """With a HOME that cannot hold anything, ASCII, and nobody who reads the output."""
    module = entry_points().get(name, (name, ""))[0]
    for prefix, package in NEEDS.items():
        if module.startswith(prefix) and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    environment = {
        "PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "ascii",
        "HOME": str(home), "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(home.parent),
    }  # fmt: skip
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, *command(name), *arguments],
        cwd=ROOT,
        env=environment,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    os.close(write)
    return process


def own_lines(process: subprocess.CompletedProcess[str]) -> list[str]:
    """What it prints itself: libraries note that there is no HOME, and no cache of fonts."""
    others = ("onnxruntime:Default", "Matplotlib is building the font cache")
    lines = process.stderr.splitlines()
    return [line for line in lines if not any(note in line for note in others)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A HOME in which no folder can be made: a file."""
    path = tmp_path / "home"
    path.touch()
    return path


def test_every_program_is_here() -> None:
    tools = {
        path
        for folder in ("training", "sfm_ros/ros/tools", "sfm_ros/cli")
        for path in (ROOT / folder).glob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in tools}
    scripts = {module for module, _ in entry_points().values()}
    started = {f"sfm_ros.ros.tools.{m}" for m in _started_by_entry_points()}
    assert set(PROGRAMS) == set(entry_points()) | (names - scripts - started)


def _started_by_entry_points() -> list[str]:
    text = (ROOT / "sfm_ros/ros/entry_points.py").read_text()
    return re.findall(r'"sfm_ros\.ros\.tools\.(\w+)"', text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_refusal_is_one_line(name: str, home: Path, tmp_path: Path) -> None:
    words, expected = PROGRAMS[name]
    arguments = words.replace("OUT", str(tmp_path / "out")).replace("HOME", str(home)).split()
    process = run(name, arguments, home)
    assert process.returncode == 1, process.stderr
    lines = own_lines(process)
    assert expected in "\n".join(lines) and len(lines) == bool(expected), lines


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_help_may_be_cut_off(name: str, home: Path) -> None:
    process = run(name, ["--help"], home)
    assert (process.returncode, own_lines(process)) == (0, [])


def test_scores_are_written_although_nobody_reads_them(home: Path, tmp_path: Path) -> None:
    import numpy as np

    poses = np.stack([pose(index) for index in range(20)])
    path = tmp_path / "straße.tum"
    write_tum(path, Trajectory(np.arange(20) * 100_000_000, poses))
    scores = tmp_path / "scores.json"
    arguments = ["trajectory", str(path), str(path), "--json", str(scores)]
    assert evaluate.parse(arguments)
    process = run("sfm_evaluate", arguments, home)
    assert (process.returncode, own_lines(process)) == (0, []) and scores.exists()
