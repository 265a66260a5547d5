"""The doctor's advice can be typed as it is printed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sfm_ros.doctor.frames import check_extrinsics, check_tree
from sfm_ros.doctor.start import start_of

PROGRAM = "sfm_static_transform"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an interpreter, with our program beside it, and an empty PATH."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def add_program(folder: Path) -> Path:
    path = folder / PROGRAM
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_by_name_on_the_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_program(folder)
    monkeypatch.setenv("PATH", str(folder))
    assert start_of(PROGRAM) == PROGRAM


def test_by_path_if_the_environment_is_not_active(folder: Path) -> None:
    path = add_program(folder)
    assert start_of(PROGRAM) == str(path)


def test_through_ros_after_colcon(folder: Path) -> None:
    assert start_of(PROGRAM) == f"ros2 run sfm_ros {PROGRAM}"


def test_advice_starts_the_program_of_the_extrinsics(folder: Path) -> None:
    (found,) = check_extrinsics([], "base_link", "eye")
    assert f" ros2 run sfm_ros {PROGRAM} --parent base_link --child eye " in found.advice
    (found,) = check_tree([])
    assert f"ros2 run sfm_ros {PROGRAM}" in found.advice
