"""Builds an engine for the GPU in a process of its own, at low priority."""

from __future__ import annotations

import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sfm_ros.config import ModelConfig
from sfm_ros.engines.base import Engine
from sfm_ros.engines.registry import Candidate
from sfm_ros.errors import EngineError

_POLL_S = 0.2
_GRACE_S = 5.0
_WORDS = 4
"""Of a line of progress: ``progress``, fraction, seconds left or ``-``, text."""


class BuildProcess:
    """Prepares an engine by ``sfm_build_engine``, which also compares it with a reference.

    Args:
        candidate: the engine and its precision.
        bundle, config: the model.
    """

    def __init__(self, candidate: Candidate, bundle: Path, config: ModelConfig) -> None:
        self._candidate, self._bundle, self._config = candidate, bundle, config

    def prepare(self, progress: Callable[[str], object], stop: threading.Event) -> Engine:
        """Build the engine and load it.

        Raises:
            EngineError: the build failed, or the engine was refused; names the reason.
        """
        self._build(progress, stop)
        return self._candidate.load(self._bundle, self._config)

    def _command(self) -> list[str]:
        nice = [shutil.which("nice") or "", "-n", "15"]
        words = [sys.executable, "-m", "sfm_ros.cli.build_engine", str(self._bundle)]
        words += ["--precision", self._candidate.precision, "--progress-lines"]
        return [*nice, *words] if nice[0] else words

    def _build(self, progress: Callable[[str], object], stop: threading.Event) -> None:
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            process = subprocess.Popen(
                self._command(),
                bufsize=0,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
            assert process.stdout is not None
            try:
                follow(process.stdout, lambda text: progress(f"{self._candidate}: {text}"), stop)
                if stop.is_set():
                    raise EngineError(f"the build of {self._candidate} was stopped")
                code = process.wait()
            finally:
                _end(process)
            if code != 0:
                errors.seek(0)
                reason = (errors.read().strip().splitlines() or [f"exit code {code}"])[-1]
                raise EngineError(f"{self._candidate} is not used: {reason}")


def follow(lines: IO[bytes], progress: Callable[[str], object], stop: threading.Event) -> None:
    """Report the lines of progress of a build, until it ends its output or is stopped."""
    with selectors.DefaultSelector() as selector:
        selector.register(lines, selectors.EVENT_READ)
        while not stop.is_set():
            if selector.select(_POLL_S):
                line = lines.readline()
                if not line:
                    return
                text = progress_text(line.decode("utf-8", "replace"))
                if text:
                    progress(text)


def progress_text(line: str) -> str:
    """A line ``progress 0.34 80 building depth`` as ``34 %, 80 s left, building depth``."""
    words = line.strip().split(" ", _WORDS - 1)
    if len(words) < _WORDS - 1 or words[0] != "progress":
        return ""
    try:
        percent = f"{100 * float(words[1]):.0f} %"
        left = "" if words[2] == "-" else f", {float(words[2]):.0f} s left"
    except ValueError:
        return ""
    return f"{percent}{left}" + "".join(f", {text}" for text in words[_WORDS - 1 :])


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
