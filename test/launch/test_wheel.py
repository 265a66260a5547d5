"""`python -m build` makes archives that hold what they need; what they install starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from configparser import ConfigParser
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from signal import SIGINT
from threading import Timer
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest
from small_bags import write

import sfm_ros

pytest.importorskip("setuptools", "70.1", reason="this setuptools does not build wheels")
pytest.importorskip("build", reason="build is not installed (requirements/dev.txt)")

GENERATED = (".[!g]*", ".git", "build", "dist", "install", "log", "out", "runs", "prepared")
SHARED = ("config", "docs", "launch", "rviz")
NO_MODEL = ["--ros-args", "-p", "model.bundle:=nowhere", "-p", "node.autostart:=true"]
START_S = 60.0


@pytest.fixture(scope="module")
def archives(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both archives; the wheel is built from the source archive.

    They are made of a copy of the tree, because setuptools writes beside the sources.
    """
    folder = tmp_path_factory.mktemp("archives")
    tree = folder / "tree"
    generated = shutil.ignore_patterns(*GENERATED)

    def ignored(folder: str, names: list[str]) -> set[str]:
        return generated(folder, names) if Path(folder) == repository else {"__pycache__"}

    shutil.copytree(repository, tree, ignore=ignored)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(tree))
    return folder


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Path:
    """The wheel."""
    (found,) = archives.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    pip(folder / "bin" / "python", "install", "--quiet", "--no-deps", str(wheel))
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def run(*command: str, cwd: Path | None = None) -> str:
    """Standard output of a command that succeeds."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(python: Path, *arguments: str) -> None:
    options = ["--disable-pip-version-check", "--python", str(python)]
    run(sys.executable, "-m", "pip", *options, *arguments)


def members(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def content(wheel: Path, ending: str) -> bytes:
    """Of the only file in the wheel with this end of its name."""
    (name,) = (name for name in members(wheel) if name.endswith(ending))
    with ZipFile(wheel) as archive:
        return archive.read(name)


def metadata(wheel: Path) -> Message:
    return message_from_bytes(content(wheel, "METADATA"))


def console_scripts(wheel: Path) -> dict[str, str]:
    parser = ConfigParser()
    parser.read_string(content(wheel, "entry_points.txt").decode())
    return dict(parser["console_scripts"])


def files_below(folder: Path, root: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(root).as_posix() for p in found if "__pycache__" not in p.parts}


def test_source_archive_holds_the_repository(archives: Path, repository: Path) -> None:
    """Whatever git tracks but for the hook of CI, if this is a clone."""
    command = ["git", "-C", str(repository), "ls-files"]
    listed = subprocess.run(command, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip(f"git lists no files here: {listed.stderr.strip()}")
    tracked = {name for name in listed.stdout.splitlines() if not name.startswith(".ci/")}
    assert {"setup.py", "scripts/demo.sh", "requirements/runtime.txt"} <= tracked
    (path,) = archives.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked - held == set()


def test_holds_every_file_of_the_package(wheel: Path, repository: Path) -> None:
    """Modules, models, splits, templates, profiles: whatever lies below sfm_ros."""
    files = files_below(repository / "sfm_ros", repository)
    assert files - members(wheel) == set()
    assert {".py", ".onnx", ".yaml", ".css", ".xml"} <= {Path(name).suffix for name in files}


def test_share_holds_launch_configuration_layout_and_documentation(
    wheel: Path, repository: Path
) -> None:
    share = {
        name.partition("/data/share/")[2] for name in members(wheel) if "/data/share/" in name
    }
    expected = {
        f"sfm_ros/{name}"
        for folder in SHARED
        for name in files_below(repository / folder, repository)
    }
    expected |= {f"sfm_ros/{name}" for name in ("LICENSE", "README.md", "CHANGELOG.md")}
    expected |= {"sfm_ros/package.xml", "ament_index/resource_index/packages/sfm_ros"}
    assert share == expected


def test_requires_the_run_time(wheel: Path, repository: Path) -> None:
    lines = metadata(wheel).get_all("Requires-Dist") or []
    required = {re.split("[<>=;]", line)[0] for line in lines if "extra ==" not in line}
    listed = (repository / "requirements" / "runtime.txt").read_text()
    assert required == set(re.findall(r"^([\w-]+)[<>=]", listed, re.M))


def test_describes_itself_as_package_xml_does(wheel: Path, repository: Path) -> None:
    package = ElementTree.parse(repository / "package.xml").getroot()
    fields = metadata(wheel)
    for field, element in (
        ("Version", "version"),
        ("Summary", "description"),
        ("Maintainer", "maintainer"),
        ("Home-page", "url"),
    ):
        assert fields[field] == package.findtext(element)
    assert fields["Maintainer-email"] == package.find("maintainer").get("email")  # type: ignore[union-attr]
    assert str(fields.get_payload()).startswith("# sfm_ros")


def test_every_program_is_installed_and_states_its_version(
    wheel: Path, environment: Path, tmp_path: Path
) -> None:
    """From another folder, so that the source tree is not what runs."""
    programs = console_scripts(wheel)
    assert len(programs) == 11
    for name in programs:
        stated = run(str(environment / "bin" / name), "--version", cwd=tmp_path)
        assert stated == f"sfm_ros {sfm_ros.__version__}\n"


def test_installed_doctor_runs_the_shipped_model(environment: Path, tmp_path: Path) -> None:
    write(tmp_path / "bag", [], with_poses=True)
    doctor = str(environment / "bin" / "sfm_doctor")
    findings = run(doctor, "--bag", "bag", "--engine", "onnx", cwd=tmp_path)
    assert re.search(r"^OK +engine: onnx fp32, \d+ ms per image", findings, re.M)
    model = re.search(r"^OK +model: .* (\S+)$", findings, re.M)
    assert model is not None and Path(model[1]).is_relative_to(environment)


@pytest.mark.slow
def test_requirements_suffice_for_every_program(
    wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With what pip finds for its requirements in an empty environment."""
    empty = tmp_path_factory.mktemp("empty")
    venv.create(empty, with_pip=False)
    sets = repository / "requirements"
    options = ["-c", str(sets / "constraints.txt"), "-r", str(sets / "ros-jazzy.txt")]
    pip(empty / "bin" / "python", "install", "--quiet", *options, str(wheel))
    programs = console_scripts(wheel)
    assert len(programs) == 11
    for name in programs:
        is_node = name.endswith("node")  # rclpy nodes have no --help: one without a model ends
        arguments = NO_MODEL if is_node else ["--help"]
        expected = "no model 'nowhere'" if is_node else "usage: "
        code, output = started(empty / "bin" / name, arguments, expected)
        assert code == (1 if name == "sfm_node" else 0), output
        assert expected in output and "Traceback" not in output, output


def started(program: Path, arguments: list[str], expected: str) -> tuple[int, str]:
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
