"""The wheel holds what the package needs, and what it installs starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from configparser import ConfigParser
from pathlib import Path
from signal import SIGINT
from threading import Timer
from zipfile import ZipFile

import pytest

pytest.importorskip("setuptools", "70.1", reason="this setuptools does not build wheels")

SOURCES = ("sfm_ros", "launch", "config", "requirements", "resource")
FILES = ("setup.py", "setup.cfg", "package.xml", "LICENSE")
NO_MODEL = ["--ros-args", "-p", "model.bundle:=nowhere", "-p", "node.autostart:=true"]
START_S = 60.0


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from a copy of the tree: setuptools writes beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / name, folder / "tree" / name, ignore=ignore)
    for name in FILES:
        shutil.copy(repository / name, folder / "tree")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    pip(Path(sys.executable), "wheel", *options, str(folder / "tree"))
    (built,) = folder.glob("*.whl")
    return built


def pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def members(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def console_scripts(wheel: Path) -> dict[str, str]:
    (name,) = (name for name in members(wheel) if name.endswith("entry_points.txt"))
    parser = ConfigParser()
    with ZipFile(wheel) as archive:
        parser.read_string(archive.read(name).decode())
    return dict(parser["console_scripts"])


def test_holds_every_file_of_the_package(wheel: Path, repository: Path) -> None:
    """Modules, models, splits, templates, profiles: whatever lies below sfm_ros."""
    below = (repository / "sfm_ros").rglob("*")
    files = {p.relative_to(repository).as_posix() for p in below if p.is_file()}
    files = {name for name in files if "__pycache__" not in name}
    assert files - members(wheel) == set()
    suffixes = {Path(name).suffix for name in files}
    assert {".py", ".onnx", ".yaml", ".css", ".xml"} <= suffixes


def test_holds_launch_and_configuration(wheel: Path, repository: Path) -> None:
    share = {
        name.partition("/data/share/")[2] for name in members(wheel) if "/data/share/" in name
    }
    expected = {f"sfm_ros/launch/{path.name}" for path in (repository / "launch").glob("*.py")}
    expected |= {f"sfm_ros/config/{path.name}" for path in (repository / "config").iterdir()}
    expected |= {"sfm_ros/package.xml", "ament_index/resource_index/packages/sfm_ros"}
    assert share == expected


def test_requires_the_run_time(wheel: Path, repository: Path) -> None:
    (name,) = (name for name in members(wheel) if name.endswith("METADATA"))
    with ZipFile(wheel) as archive:
        metadata = archive.read(name).decode()
    required = set(re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata, re.M))
    lines = (repository / "requirements" / "runtime.txt").read_text()
    assert required == set(re.findall(r"^([\w-]+)[<>=]", lines, re.M))


@pytest.mark.slow
def test_every_program_starts(
    wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Installed by pip into an empty environment, without the source tree."""
    empty = tmp_path_factory.mktemp("empty")
    venv.create(empty, with_pip=True)
    sets = repository / "requirements"
    options = ["-c", str(sets / "constraints.txt"), "-r", str(sets / "ros-jazzy.txt")]
    pip(empty / "bin" / "python", "install", "--quiet", *options, str(wheel))
    programs = console_scripts(wheel)
    assert len(programs) == 11
    for name in programs:
        is_node = name.endswith("node")  # rclpy nodes have no --help: one without a model ends
        arguments = NO_MODEL if is_node else ["--help"]
        expected = "no model 'nowhere'" if is_node else "usage: "
        code, output = run(empty / "bin" / name, arguments, expected)
        assert code == (1 if name == "sfm_node" else 0), output
        assert expected in output and "Traceback" not in output, output


def run(program: Path, arguments: list[str], expected: str) -> tuple[int, str]:
    """Exit code and output of a program, which is interrupted once it prints ``expected``."""
    process = subprocess.Popen(
        [program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=program.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(program.parent)},
    )
    assert process.stdout is not None
    patience = Timer(START_S, process.kill)
    patience.start()
    output = ""
    for line in process.stdout:
        output += line
        if expected in line and program.name == "sfm_lifecycle_node":
            process.send_signal(SIGINT)  # it waits for a manager that names another model
    code = process.wait()
    patience.cancel()
    return code, output
