"""How a command ends."""

from __future__ import annotations

import pytest

from sfm_ros.cli.program import run_program
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
