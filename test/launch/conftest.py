"""Stand-ins for launch and launch_ros: they record what a launch file asks for."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

LAUNCH_FOLDER = Path(__file__).resolve().parents[2] / "launch"


@dataclass
class Node:
    """launch_ros.actions.Node."""

    package: str
    executable: str
    name: str = ""
    namespace: str = ""
    output: str = ""
    parameters: list = field(default_factory=list)
    remappings: list = field(default_factory=list)
    arguments: list = field(default_factory=list)


@dataclass
class DeclareLaunchArgument:
    """launch.actions.DeclareLaunchArgument."""

    name: str
    default_value: str | None = None
    description: str = ""


@dataclass
class SetEnvironmentVariable:
    """launch.actions.SetEnvironmentVariable."""

    name: str
    value: str


@dataclass
class OpaqueFunction:
    """launch.actions.OpaqueFunction."""

    function: Callable[[dict], list]


@dataclass
class LaunchConfiguration:
    """launch.substitutions.LaunchConfiguration; the context is a dictionary here."""

    name: str

    def perform(self, context: dict[str, str]) -> str:
        """The argument's value."""
        return context[self.name]


@dataclass
class LaunchDescription:
    """launch.LaunchDescription."""

    entities: list


class PackageNotFoundError(KeyError):
    """ament_index_python.packages.PackageNotFoundError."""


@dataclass
class Launched:
    """What a launch file declared, set and started."""

    arguments: dict[str, DeclareLaunchArgument]
    environment: dict[str, str]
    nodes: list[Node]


@pytest.fixture
def installed() -> dict[str, str]:
    """Packages the stand-in finds, with their share folder; a test may add some."""
    return {"sfm_ros": str(LAUNCH_FOLDER.parent)}


@pytest.fixture
def launch(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]) -> Callable[..., Launched]:
    """Runs a launch file with some arguments."""

    def share(package: str) -> str:
        if package not in installed:
            raise PackageNotFoundError(package)
        return installed[package]

    contents: dict[str, dict[str, Any]] = {
        "launch": {"LaunchDescription": LaunchDescription},
        "launch.actions": {
            "DeclareLaunchArgument": DeclareLaunchArgument,
            "OpaqueFunction": OpaqueFunction,
            "SetEnvironmentVariable": SetEnvironmentVariable,
        },
        "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
        "launch_ros": {},
        "launch_ros.actions": {"Node": Node},
        "ament_index_python": {},
        "ament_index_python.packages": {
            "get_package_share_directory": share,
            "PackageNotFoundError": PackageNotFoundError,
        },
    }
    for name, names in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(names)
        monkeypatch.setitem(sys.modules, name, module)

    def run(file: str, **given: str) -> Launched:
        spec = importlib.util.spec_from_file_location("launch_file", LAUNCH_FOLDER / file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entities = module.generate_launch_description().entities
        arguments = {e.name: e for e in entities if isinstance(e, DeclareLaunchArgument)}
        values = {name: a.default_value for name, a in arguments.items()} | given
        assert set(given) <= set(arguments), "an argument that is not declared"
        assert None not in values.values(), "an argument without default was not given"
        nodes = [
            node
            for entity in entities
            if isinstance(entity, OpaqueFunction)
            for node in entity.function(values)
        ]
        environment = {e.name: e.value for e in entities if isinstance(e, SetEnvironmentVariable)}
        return Launched(arguments, environment, nodes)

    return run
