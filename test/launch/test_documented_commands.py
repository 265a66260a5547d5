"""Every command in the documentation is one that its program accepts, as it is printed."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from documentation.fenced import FencedCommand, commands
from small_bags import write

from sfm_ros.config import config_from_dict, iter_fields

REPOSITORY = Path(__file__).resolve().parents[2]
COMMANDS = commands(REPOSITORY)
SHELL = {".", "cd", "export", "ln", "mkdir", "rosdep", "sudo", "touch"}
MODULES = {"venv", "colcon"}
OTHERS = {"usb_cam", "v4l2_camera", "realsense2_camera", "zed_wrapper", "depthai_ros_driver",
          "ros_gz_bridge", "depthimage_to_laserscan"}  # fmt: skip
FOLDERS = ("requirements", "training", "config", "benchmarks", "scripts", "third_party")


class Parsed(BaseException):
    """The command line was accepted; nothing has been done yet."""


class Checker:
    """Checks the words of a command.

    Args:
        monkeypatch: to end programs once they have parsed their command line.
        launch: runs a launch file with fakes of ``launch``.
        bag: takes the place of whatever recording a launch file is given.
    """

    def __init__(self, monkeypatch: Any, launch: Callable[..., Any], bag: Path) -> None:
        self._patch, self._launch, self._bag = monkeypatch, launch, bag
        scripts = (REPOSITORY / "setup.py").read_text()
        self._programs = set(re.findall(r'"(\w+) = [\w.]+:\w+"', scripts))
        self._modules = dict(re.findall(r'"(\w+) = ([\w.]+):main"', scripts))

    def check(self, words: tuple[str, ...]) -> None:
        """Fail if a program does not accept the words, or a named file does not exist."""
        for word in words:
            if re.match(rf"(?:src/sfm_ros/)?(?:{'|'.join(FOLDERS)})/\S+\.\w+$", word):
                assert (REPOSITORY / word.removeprefix("src/sfm_ros/")).exists(), word
        program, *arguments = words
        if program in SHELL:
            return
        checks: dict[str, Callable[[list[str]], None]] = {
            "pip": self._pip,
            "ros2": self._ros2,
            "python": self._python,
            "python3": self._python,
            "scripts/demo.sh": partial(self._parse, "sfm_ros.cli.demo"),
            "scripts/test.sh": self._nothing,
        }
        if program in self._programs:
            self._program(program, arguments)
        else:
            checks[program](arguments)

    def _nothing(self, arguments: list[str]) -> None:
        assert arguments == []

    def _pip(self, arguments: list[str]) -> None:
        assert arguments[0] == "install"
        for option, value in zip(arguments, arguments[1:], strict=False):
            if option in ("-r", "-c", "-e") or value.startswith("./"):
                assert (REPOSITORY / value.removeprefix("src/sfm_ros/")).exists(), value

    def _python(self, arguments: list[str]) -> None:
        if arguments[0] == "-m":
            assert arguments[1] in MODULES
            return
        path = REPOSITORY / arguments[0]
        assert path.is_file()
        self._parse(f"{path.parent.name}.{path.stem}", arguments[1:])

    def _ros2(self, arguments: list[str]) -> None:
        verb, package, *rest = arguments
        if (verb, package) == ("param", "set"):
            node, name, value = rest
            assert node == "/sfm_node"
            option = {n: field for n, field, _ in iter_fields()}[name]
            assert option.metadata["live"], name
            block, key = name.split(".")
            config_from_dict({block: {key: yaml.safe_load(value)}})
        elif verb == "security":
            assert package in ("create_keystore", "create_enclave")
        elif package in OTHERS:
            assert verb in ("run", "launch")
        elif verb == "run":
            assert package == "sfm_ros"
            self._program(rest[0], rest[1:])
        else:
            assert (verb, package) == ("launch", "sfm_ros")
            given = dict(word.split(":=", 1) for word in rest[1:])
            if "bag" in given:
                given["bag"] = str(self._bag)
            assert self._launch(rest[0], **given).nodes

    def _program(self, name: str, arguments: list[str]) -> None:
        if name in self._modules:
            self._parse(self._modules[name], arguments)
        else:  # a node, whose arguments ROS reads
            assert name in self._programs and arguments[:1] in ([], ["--ros-args"])

    def _parse(self, module: str, arguments: list[str]) -> None:
        parse = argparse.ArgumentParser.parse_args

        def end(*args: Any, **options: Any) -> None:
            parse(*args, **options)
            raise Parsed

        self._patch.setattr(argparse.ArgumentParser, "parse_args", end)
        self._patch.setattr(sys, "argv", [module, *arguments])
        if module.startswith("benchmarks."):
            self._patch.syspath_prepend(str(REPOSITORY / "benchmarks"))
            self._patch.syspath_prepend(str(REPOSITORY))
        loaded = importlib.import_module(module.removeprefix("benchmarks."))
        takes_arguments = bool(inspect.signature(loaded.main).parameters)
        with pytest.raises(Parsed):
            loaded.main(arguments) if takes_arguments else loaded.main()


@pytest.fixture
def checker(
    monkeypatch: pytest.MonkeyPatch, launch: Callable[..., Any], tmp_path: Path
) -> Checker:
    return Checker(monkeypatch, launch, write(tmp_path / "bag", []))


def test_commands_are_found() -> None:
    names = {Path(command.page).name for command in COMMANDS}
    assert {"README.md", "train_your_own.md", "evaluation.md", "usb_cam.md"} <= names
    assert len(COMMANDS) > 50
    (resumed,) = (c for c in COMMANDS if "--resume" in c.text)
    assert resumed.words[0][:2] == ("python", "training/train.py") and len(resumed.output) > 2


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_documented_command_is_accepted(command: FencedCommand, checker: Checker) -> None:
    programs = " ".join(word for words in command.words for word in words[:2])
    for folder, package in (("training/", "torch"), ("benchmarks/", "onnx")):
        if folder in programs:
            pytest.importorskip(package, reason=f"{package} is not installed")
    for words in command.words:
        checker.check(words)
