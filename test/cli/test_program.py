"""What all programs have in common."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sfm_ros
from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.errors import SourceError


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SourceError("no such bag"), 1, "a: ERROR: no such bag"),
        (OSError("disk full"), 1, "a: ERROR: disk full"),
        (MemoryError(), 1, "a: ERROR: the memory does not suffice"),
        (KeyboardInterrupt(), 130, "a: interrupted"),
    ],
)
def test_an_error_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def call() -> int:
        raise error

    assert run_program("a", call) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_states_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        program_parser("text").parse_args(["--version"])
    assert capsys.readouterr().out == f"sfm_ros {sfm_ros.__version__}\n"


def test_every_parser_of_a_program_has_the_version(repository: Path) -> None:
    """A parser made in another way only lends its options to others."""
    files = [p for name in ("sfm_ros", "training") for p in (repository / name).rglob("*.py")]
    text = {path: path.read_text(encoding="utf-8") for path in files}
    assert sum("program_parser(" in source for source in text.values()) > 15
    others = [
        f"{path.name}: {call}"
        for path, source in text.items()
        for call in re.findall(r"ArgumentParser\([^)]*\)", source)
        if path.name != "program.py" and "add_help=False" not in call
    ]
    assert others == []
