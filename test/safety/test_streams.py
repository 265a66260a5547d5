"""No terminal without letters, reader who has gone or full disk ends a program in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from limited import ROOT

PROGRAM = """
import sys
from pathlib import Path
from sfm_ros.cli.program import run_program
from sfm_ros.safety.own_process import own_process

def work():
    for line in range(int(sys.argv[2])):
        print(f"{line} \\u2192 \\udcff")
    print("half way", file=sys.stderr)
    for line in range(int(sys.argv[2])):
        print(line)
    Path(sys.argv[1]).touch()
    return 3

own_process("a program")
sys.exit(run_program("a program", work))
"""
FULL = Path("/dev/full")


def run(done: Path, lines: int, **streams: object) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": ""}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(done), str(lines)],
        cwd=ROOT,
        env=environment,
        check=False,
        **{"stderr": subprocess.PIPE, **streams},  # type: ignore[call-overload]
    )


def closed_pipe() -> int:
    """The end to write to of a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.close(read)
    return write


def test_a_terminal_without_letters_gets_their_numbers(tmp_path: Path) -> None:
    process = run(tmp_path / "done", 1, stdout=subprocess.PIPE)
    assert process.returncode == 3
    assert process.stdout == b"0 \\u2192 \\udcff\n0\n" and process.stderr == b"half way\n"


@pytest.mark.parametrize("lines", [1, 20_000])
def test_without_a_reader_the_work_is_done(tmp_path: Path, lines: int) -> None:
    write = closed_pipe()
    process = run(tmp_path / "done", lines, stdout=write)
    os.close(write)
    assert process.returncode == 3 and process.stderr == b"half way\n"
    assert (tmp_path / "done").exists()


def test_without_a_reader_of_the_errors_the_work_is_done(tmp_path: Path) -> None:
    write = closed_pipe()
    process = run(tmp_path / "done", 1, stdout=write, stderr=write)
    os.close(write)
    assert process.returncode == 3 and (tmp_path / "done").exists()


def test_closed_streams_are_no_reason_to_stop(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    closing = f"'{sys.executable}' '{script}' '{tmp_path / 'done'}' 1 >&- 2>&-"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(["sh", "-c", closing], cwd=ROOT, env=environment, check=False)
    assert process.returncode == 3 and (tmp_path / "done").exists()


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("lines", [1, 20_000])
def test_a_full_disk_is_one_line(tmp_path: Path, lines: int) -> None:
    with FULL.open("w") as full:
        process = run(tmp_path / "done", lines, stdout=full)
    assert process.returncode == 1
    last = process.stderr.decode().splitlines()[-1]
    assert last == "a program: ERROR: [Errno 28] No space left on device"
    assert b"Traceback" not in process.stderr and b"ignored" not in process.stderr
