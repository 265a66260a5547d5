"""Runs a writer again and again, killed at its first, second, ... change of the file system.

``NAME FOLDER DATA``: the K-th run is in ``FOLDER/K/out``; the last one is not killed.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sfm_ros.outputs.folder import OutputFolder
from writers.killed import IN_TURN, run
from writers.trees import fill

STAGED = "staged"
MAIN = "summary.json"
FIRST = {MAIN: "first", "metrics.json": "first", "depth/1.png": "first", "depth/2.png": "first"}
SECOND = {MAIN: "second", "metrics.json": "second", "depth/2.png": "second", "a/b": "second"}
_CHANGES = ("mkdir", "rmdir", "unlink", "replace", "open")


def write_staged(out: Path, files: dict[str, str]) -> None:
    """A program that stages its results."""
    with OutputFolder(out, STAGED) as folder:
        fill(folder.stage(), files)
        folder.publish(MAIN)


def _killed_before(change: int) -> None:
    """Kill this process before its change number ``change``."""
    count = itertools.count(1)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def perform(*given: Any, **named: Any) -> Any:
            if next(count) == change:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return perform

    for name in _CHANGES:
        setattr(os, name, counted(getattr(os, name)))


def _run_child(name: str, out: Path, data: Path, change: int) -> None:
    _killed_before(change)
    if name == STAGED:
        write_staged(out, SECOND)
    else:
        run(name, out, data)
    os._exit(0)


def main(name: str, folder: str, data: str) -> None:
    """Fork a run for each change until one reaches its end."""
    if name == IN_TURN:
        importlib.import_module("training.prepare")
    for change in itertools.count(1):
        out = Path(folder) / str(change) / "out"
        out.parent.mkdir(parents=True)
        if name == STAGED:
            write_staged(out, FIRST)
        child = os.fork()
        if child == 0:
            _run_child(name, out, Path(data), change)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return
        assert code == -signal.SIGKILL, code


if __name__ == "__main__":
    main(*sys.argv[1:])
