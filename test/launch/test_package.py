"""package.xml, setup.py, config/sfm.yaml and the code tell the same story."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import yaml

import sfm_ros
from sfm_ros.config import SfmConfig, config_to_dict, load_config

ROS_PACKAGES = {
    "builtin_interfaces", "cv_bridge", "diagnostic_msgs", "geometry_msgs", "launch", "launch_ros",
    "lifecycle_msgs", "nav_msgs", "rcl_interfaces", "rclpy", "rosgraph_msgs", "sensor_msgs",
    "std_msgs", "std_srvs", "tf2_msgs", "tf2_ros", "ament_index_python",
}  # fmt: skip


def test_version_is_the_same_everywhere(repository: Path) -> None:
    found = ElementTree.parse(repository / "package.xml").findtext("version")
    assert found == sfm_ros.__version__


def test_every_option_stands_in_the_yaml_with_its_default(repository: Path) -> None:
    path = repository / "config" / "sfm.yaml"
    (block,) = yaml.safe_load(path.read_text()).values()
    assert block["ros__parameters"] == config_to_dict(SfmConfig())
    assert load_config(path) == SfmConfig()


def test_every_ros_package_that_is_imported_is_a_dependency(repository: Path) -> None:
    root = ElementTree.parse(repository / "package.xml").getroot()
    declared = {element.text for element in root.findall("exec_depend")}
    files = [
        *(repository / "sfm_ros" / "ros").rglob("*.py"),
        *(repository / "launch").glob("*.py"),
    ]
    text = [re.findall(r"_optional\(\"(\w+)", path.read_text()) for path in files]
    imported = {name for names in text for name in names}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    assert imported & ROS_PACKAGES <= declared
    assert declared & ROS_PACKAGES <= imported


def test_every_program_of_setup_py_exists(repository: Path) -> None:
    programs = re.findall(r'"\w+ = ([\w.]+):(\w+)"', (repository / "setup.py").read_text())
    assert len(programs) >= 3
    for module, function in programs:
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None
        tree = ast.parse(Path(spec.origin).read_text())
        assert function in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
