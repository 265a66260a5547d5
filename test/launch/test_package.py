"""package.xml, setup.py, requirements, config/sfm.yaml and the code agree."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import sfm_ros
from sfm_ros.config import SfmConfig, config_to_dict, load_config

ROS_PACKAGES = {
    "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs", "launch", "launch_ros",
    "lifecycle_msgs", "nav_msgs", "rcl_interfaces", "rclpy", "rosgraph_msgs", "sensor_msgs",
    "sensor_msgs_py", "std_msgs", "std_srvs", "tf2_msgs", "tf2_ros", "ament_index_python",
}  # fmt: skip
ROSDEP_KEYS = {
    "opencv-python-headless": "python3-opencv",
    "PyYAML": "python3-yaml",
    "onnxruntime": "python3-onnxruntime-pip",
    "rosbags": "python3-rosbags-pip",
}


@pytest.fixture
def dependencies(repository: Path) -> set[str]:
    """The exec_depend entries of package.xml."""
    root = ElementTree.parse(repository / "package.xml").getroot()
    return {element.text or "" for element in root.findall("exec_depend")}


def ros_files(repository: Path) -> list[Path]:
    return [
        *(repository / "sfm_ros" / "ros").rglob("*.py"),
        *(repository / "launch").glob("*.py"),
    ]


def test_version_is_the_same_everywhere(repository: Path) -> None:
    found = ElementTree.parse(repository / "package.xml").findtext("version")
    assert found == sfm_ros.__version__


def test_yaml_holds_every_option_with_its_default(repository: Path) -> None:
    path = repository / "config" / "sfm.yaml"
    (block,) = yaml.safe_load(path.read_text()).values()
    assert block["ros__parameters"] == config_to_dict(SfmConfig())
    assert load_config(path) == SfmConfig()


def test_imported_ros_packages_are_the_dependencies(
    repository: Path, dependencies: set[str]
) -> None:
    files = ros_files(repository)
    text = [re.findall(r"_optional\(\"(\w+)", path.read_text()) for path in files]
    imported = {name for names in text for name in names}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    assert imported & ROS_PACKAGES <= dependencies
    assert dependencies & ROS_PACKAGES <= imported


def test_launched_packages_are_dependencies(repository: Path, dependencies: set[str]) -> None:
    text = "".join(path.read_text() for path in ros_files(repository))
    started = set(re.findall(r'\bis_installed\("(\w+)"\)', text))
    assert started >= {"tf2_ros", "rviz2", "ros2bag", "rosbag2_storage_mcap"}
    assert {*started, "ros2launch"} <= dependencies


def test_requirements_are_dependencies(repository: Path, dependencies: set[str]) -> None:
    """But for OpenVINO, of which rosdep has no key; the node runs without it."""
    lines = (repository / "requirements" / "runtime.txt").read_text()
    required = set(re.findall(r"^([\w-]+)[<>=]", lines, re.M)) - {"openvino"}
    keys = {ROSDEP_KEYS.get(name, f"python3-{name.lower()}") for name in required}
    assert keys == {name for name in dependencies if name.startswith("python3-")}


def test_what_the_tests_import_is_a_dependency(repository: Path) -> None:
    """Or the file skips itself: "colcon test" has what package.xml names, and no more."""
    root = ElementTree.parse(repository / "package.xml").getroot()
    keys = {e.text for tag in ("exec_depend", "test_depend") for e in root.findall(tag)}
    helpers = {path.stem for path in (repository / "test" / "helpers").iterdir()}
    known = {*sys.stdlib_module_names, *helpers, "sfm_ros", "training"}
    rosdep = {**ROSDEP_KEYS, "cv2": "python3-opencv", "yaml": "python3-yaml",
              "lz4": "python3-rosbags-pip"}  # fmt: skip
    for path in (repository / "test").rglob("test_*.py"):
        text = path.read_text()
        guards = re.findall(r'^pytest\.importorskip\("(\w+)', text, re.M)
        if {"torch", "onnx", "rclpy"} & set(guards):
            continue
        nodes = ast.parse(text).body
        names = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
        found = {name.split(".")[0] for name in names} - known - set(guards)
        missing = {n for n in found if rosdep.get(n, f"python3-{n.lower()}") not in keys}
        assert not missing, path


def test_constraints_cover_the_run_time(repository: Path) -> None:
    """But for packages whose next major release is the bound already."""
    folder = repository / "requirements"
    names = {
        file: set(re.findall(r"^([\w-]+)[<>=]", (folder / file).read_text(), re.M))
        for file in ("runtime.txt", "constraints.txt")
    }
    assert names["runtime.txt"] - names["constraints.txt"] == {"PyYAML", "tqdm"}


def test_console_scripts_exist(repository: Path) -> None:
    programs = re.findall(r'"\w+ = ([\w.]+):(\w+)"', (repository / "setup.py").read_text())
    assert len(programs) >= 3
    for module, function in programs:
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None
        body = ast.parse(Path(spec.origin).read_text()).body
        functions = {n.name for n in body if isinstance(n, ast.FunctionDef)}
        targets = [t for n in body if isinstance(n, ast.Assign) for t in n.targets]
        assert function in functions | {t.id for t in targets if isinstance(t, ast.Name)}
