"""Limits that keep the project easy to survey: folders, files and functions stay small."""

from __future__ import annotations

import ast
import statistics
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

FOLDER_FILES = 20
FILE_LINES = 350
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 9
FOLDERS = ("sfm_ros", "training", "test", "benchmarks", "scripts", "launch", "docs", "config")


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[Path, str]:
    paths = [
        path for name in ("sfm_ros", "training") for path in (repository / name).rglob("*.py")
    ]
    return {path: path.read_text(encoding="utf-8") for path in paths}


def function_lengths(source: str) -> Iterator[tuple[int, str]]:
    """Lines of every function, from its ``def`` to its end, the docstring included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1, node.name


def test_a_folder_fits_on_one_screen(repository: Path) -> None:
    files: Counter[Path] = Counter()
    for name in FOLDERS:
        files.update(
            path.parent.relative_to(repository)
            for path in (repository / name).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        )
    assert sum(files.values()) > 300, "the folders were not found"
    assert {str(k): n for k, n in files.items() if n > FOLDER_FILES} == {}


def test_a_file_is_read_in_one_sitting(modules: dict[Path, str]) -> None:
    lengths = {str(path): len(source.splitlines()) for path, source in modules.items()}
    assert len(lengths) > 200, "the modules were not found"
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_functions_are_short(modules: dict[Path, str]) -> None:
    lengths = [
        (lines, f"{path.name}:{name}")
        for path, source in modules.items()
        for lines, name in function_lengths(source)
    ]
    assert [entry for entry in lengths if entry[0] > FUNCTION_LINES] == []
    assert statistics.median(lines for lines, _ in lengths) <= MEDIAN_FUNCTION_LINES


def test_a_text_below_a_constant_describes_it(modules: dict[Path, str]) -> None:
    """One that follows another text is left from a constant that is gone."""
    found = [
        f"{path.name}:{text.lineno}"
        for path, source in modules.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef)
        for before, text in pairwise(node.body)
        if is_text(before) and is_text(text)
    ]
    assert found == []


def is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def test_the_lengths_are_those_of_the_source() -> None:
    source = 'def f():\n    """One."""\n    return [\n    ]\n\nclass A:\n    def g(self): ...\n'
    assert list(function_lengths(source)) == [(4, "f"), (1, "g")]
