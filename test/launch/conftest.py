"""Fakes of launch and launch_ros: they record what a launch file requests."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sfm_ros.ros.process.dds_profile import VARIABLES

LAUNCH_FOLDER = Path(__file__).resolve().parents[2] / "launch"
MODULES = (
    "arguments", "checks", "follow_up", "node_parameters", "playback", "programs", "rviz",
)  # fmt: skip
OURS = [f"sfm_ros.ros.launching.{name}" for name in MODULES]


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
    choices: list[str] | None = None


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
class ExecuteProcess:
    """launch.actions.ExecuteProcess."""

    cmd: list[str]
    output: str = ""


@dataclass
class EmitEvent:
    """launch.actions.EmitEvent."""

    event: Any


@dataclass
class RegisterEventHandler:
    """launch.actions.RegisterEventHandler."""

    handler: Any


@dataclass
class OnProcessExit:
    """launch.event_handlers.OnProcessExit."""

    target_action: Any
    on_exit: Callable[[Any, Any], list]


@dataclass
class Shutdown:
    """launch.events.Shutdown."""

    reason: str = ""


@dataclass
class ShutdownProcess:
    """launch.events.process.ShutdownProcess."""

    process_matcher: Callable[[Any], bool]


def matches_action(process: Any) -> Callable[[Any], bool]:
    """launch.events.matches_action."""
    return lambda action: action is process


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
    """The arguments, environment and actions of a launch file."""

    arguments: dict[str, DeclareLaunchArgument]
    environment: dict[str, str]
    actions: list

    @property
    def nodes(self) -> list[Node]:
        """The actions that are nodes."""
        return [action for action in self.actions if isinstance(action, Node)]

    def executables(self) -> list[str]:
        """Executables of the nodes, in order."""
        return [node.executable for node in self.nodes]

    def node(self, executable: str) -> Node:
        """The only node of an executable."""
        (found,) = (node for node in self.nodes if node.executable == executable)
        return found

    def command(self, *words: str) -> list[str]:
        """The only command line that begins with these words."""
        return self.process(*words).cmd

    def process(self, *words: str) -> ExecuteProcess:
        """The only process, or what follows one, whose command line begins with these words."""
        processes = [a for a in self.actions if isinstance(a, ExecuteProcess)]
        processes += [a for p in processes for a in self.then(p) if isinstance(a, ExecuteProcess)]
        (found,) = (p for p in processes if p.cmd[: len(words)] == list(words))
        return found

    def then(self, process: Any, returncode: int = 0) -> list:
        """The actions at the exit of a process."""
        event = types.SimpleNamespace(returncode=returncode)
        return [
            action
            for entry in self.actions
            if isinstance(entry, RegisterEventHandler)
            and isinstance(entry.handler, OnProcessExit)
            and entry.handler.target_action is process
            for action in entry.handler.on_exit(event, None)
        ]


@pytest.fixture
def installed() -> dict[str, str]:
    """Installed packages and their share folders; a test may add some."""
    return {"sfm_ros": str(LAUNCH_FOLDER.parent)}


@pytest.fixture
def launch(
    monkeypatch: pytest.MonkeyPatch, installed: dict[str, str]
) -> Iterator[Callable[..., Launched]]:
    """Runs a launch file with arguments, on a machine without a DDS profile."""

    def share(package: str) -> str:
        if package not in installed:
            raise PackageNotFoundError(package)
        return installed[package]

    contents: dict[str, tuple[Any, ...]] = {
        "launch": (LaunchDescription,),
        "launch.actions": (
            DeclareLaunchArgument, EmitEvent, ExecuteProcess, OpaqueFunction,
            RegisterEventHandler, SetEnvironmentVariable,
        ),
        "launch.event_handlers": (OnProcessExit,),
        "launch.events": (Shutdown, matches_action),
        "launch.events.process": (ShutdownProcess,),
        "launch.substitutions": (LaunchConfiguration,),
        "launch_ros": (),
        "launch_ros.actions": (Node,),
        "ament_index_python": (),
        "ament_index_python.packages": (PackageNotFoundError,),
    }  # fmt: skip
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for module_name in OURS:  # imported again, with the fakes
        monkeypatch.delitem(sys.modules, module_name, raising=False)
    for name, names in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update({item.__name__: item for item in names})
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["ament_index_python.packages"].__dict__["get_package_share_directory"] = share

    def run(file: str, **given: str) -> Launched:
        spec = importlib.util.spec_from_file_location("launch_file", LAUNCH_FOLDER / file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        entities = module.generate_launch_description().entities
        arguments = {e.name: e for e in entities if isinstance(e, DeclareLaunchArgument)}
        values = {name: a.default_value for name, a in arguments.items()} | given
        assert set(given) <= set(arguments), "an argument is not declared"
        assert None not in values.values(), "a required argument is missing"
        for name, value in given.items():
            assert arguments[name].choices is None or value in arguments[name].choices
        actions = [
            action
            for entity in entities
            if isinstance(entity, OpaqueFunction)
            for action in entity.function(values)
        ]
        environment = {e.name: e.value for e in entities if isinstance(e, SetEnvironmentVariable)}
        return Launched(arguments, environment, actions)

    yield run
    for module_name in OURS:
        sys.modules.pop(module_name, None)
