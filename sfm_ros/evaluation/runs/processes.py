"""Child processes that are started together, watched, and always stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from sfm_ros.errors import SfmRosError
from sfm_ros.safety.interrupts import has_ended, kill_at_end

_LOG_LINES = 25


class ProcessError(SfmRosError):
    """A child process ended early; the message holds its last log lines."""


class ProcessGroup:
    """Starts children in sessions of their own, each with a log file; stops all on exit.

    A session of its own keeps a Ctrl-C of the terminal away from the children: this process
    decides in which order they end.
    """

    def __init__(self, log_folder: Path, environment: dict[str, str] | None = None) -> None:
        self._log_folder = log_folder
        log_folder.mkdir(parents=True, exist_ok=True)
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*reversed(self._children))

    def start(self, name: str, command: list[str]) -> None:
        """Start a child; its output goes to ``<name>.log``."""
        with (self._log_folder / f"{name}.log").open("wb") as log:
            self._children[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        kill_at_end(self._children[name].pid)

    def pid(self, name: str) -> int:
        """Process id of a child."""
        return self._children[name].pid

    def running(self, name: str) -> bool:
        """Whether a child is running."""
        return self._children[name].poll() is None

    def check(self, *names: str) -> None:
        """Make sure that these children are running or have exited with status 0.

        Raises:
            ProcessError: one exited with another status; names it and shows its log.
        """
        for name in names:
            status = self._children[name].poll()
            if status not in (None, 0):
                raise ProcessError(
                    f"the {name} ended with status {status}:\n{self.log_tail(name)}"
                )

    def log_tail(self, name: str) -> str:
        """The last lines of a child's log."""
        path = self._log_folder / f"{name}.log"
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:]) or "  (empty)"

    def stop(self, *names: str, patience_s: float = 5.0) -> None:
        """Stop children one by one, with their own children: SIGINT, SIGTERM, then SIGKILL."""
        for name in names:
            child = self._children[name]
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                if child.poll() is not None:
                    break
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(patience_s)
            has_ended(child.pid)
