"""The pages about training name tests, recipes and options that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def experiments(repository: Path) -> str:
    return (repository / "docs" / "experiments.md").read_text(encoding="utf-8")


def test_named_tests_exist(experiments: str, repository: Path) -> None:
    """Each ``file.py::test``, and ``::test`` of the file that the row named last."""
    tests = {
        (path.name, test)
        for path in (repository / "test").rglob("test_*.py")
        for test in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    named, file = set(), ""
    for name, test in re.findall(r"`(?:[\w/]*/)?(test_\w+\.py)?::(test_\w+)`", experiments):
        file = name or file
        named.add((file, test))
    assert named and named <= tests, sorted(named - tests)
    files = set(re.findall(r"\btest_\w+\.py", experiments))
    assert files <= {file for file, _ in tests}


def test_named_recipes_exist(experiments: str, repository: Path) -> None:
    recipes = {path.stem for path in (repository / "training" / "recipes").glob("*.yaml")}
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", experiments, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == recipes


@pytest.mark.parametrize("page", ["experiments.md", "train_your_own.md"])
def test_options_in_commands_exist(page: str, repository: Path) -> None:
    """Of the programs in training/, whose source declares them."""
    text = (repository / "docs" / page).read_text(encoding="utf-8")
    sources = [*(repository / "training").rglob("*.py"), *(repository / "sfm_ros").rglob("*.py")]
    declared = {o for path in sources for o in re.findall(r'"(--[\w-]+)"', path.read_text())}
    commands = re.findall(r"^(?:\$ )?python training/.*(?:\\\n.*)*", text, re.MULTILINE)
    used = {option for command in commands for option in re.findall(r"\s(--[\w-]+)", command)}
    assert commands and used <= declared
