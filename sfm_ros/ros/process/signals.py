"""SIGINT and SIGTERM end a program in time and with success, from its first moment to its last.

It is imported before anything that takes a second to import.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from sfm_ros.cli.program import VERSION
from sfm_ros.errors import without_ros
from sfm_ros.safety.streams import flush_output, secure_output

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SECOND_SIGNAL_S = 0.3
"""`ros2 launch` may send a Ctrl-C to its processes although the terminal has done so already. With
Python 3.12 it reports a process that has ended by then as one that died, with exit code 255."""
_PATIENCE_S = 1.4
"""How long a library that is busy may delay the end, which should come within 2 s."""

_signaled_s: float | None = None
"""Steady time of the first signal."""


def launch(module: str) -> NoReturn:
    """Run a module's ``main`` and end the process with its exit code.

    Until ``main`` replaces the handlers nothing has been built, and a signal ends the process.
    The version is stated without ROS, too.
    """
    for number in SIGNALS:
        signal.signal(number, _on_early_signal)
    secure_output()
    if sys.argv[1:] == ["--version"]:
        print(VERSION)
        _end(0)
    try:
        main = import_module(module).main
    except ImportError as error:
        if not _is_of_ros(error):
            raise
        print(f"{Path(sys.argv[0]).name}: {without_ros(error)}", file=sys.stderr)
        _end(1)
    _end(main())


def _is_of_ros(error: ImportError) -> bool:
    """Whether what cannot be imported is a part of ROS 2."""
    package = (error.name or "").partition(".")[0]
    return package.startswith(("rcl", "rosidl")) or package.endswith(("_msgs", "_interfaces"))


def _on_early_signal(*_: object) -> None:
    _note_signal()
    _end(0)


def _note_signal(*_: object) -> None:
    global _signaled_s
    _signaled_s = _signaled_s or time.monotonic()


def _end(code: int) -> NoReturn:
    """End without finalizing the interpreter; all that is ours is closed by now.

    Finalization restores the default handlers, with which a second signal kills the process: with
    one every 10 ms the exit code was -2 in 10 of 10 runs, and 0 in 10 of 10 without finalization.
    """
    try:
        flush_output()
    except OSError as error:
        print(f"what was printed cannot be written: {error}", file=sys.stderr, flush=True)
        code = code or 1
    if _signaled_s is not None:
        time.sleep(max(0.0, _signaled_s + _SECOND_SIGNAL_S - time.monotonic()))
    os._exit(code)


class SignalWatchdog:
    """Makes SIGINT and SIGTERM end the program in time, even if a library does not return.

    rclpy's own handler, installed over the ones here, shuts the context down, and everything ends
    in order. The ones here replace Python's, whose KeyboardInterrupt would hit the clean-up when
    the signal comes again. While a library is busy (it loads a large model, it hangs) Python runs
    no handler; a thread that the signal wakes through a pipe then ends the process.

    Args:
        name: of the program, for its message.
    """

    def __init__(self, name: str) -> None:
        for number in SIGNALS:
            signal.signal(number, _note_signal)
        wake, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        arguments = (wake, name)
        threading.Thread(target=_insist, args=arguments, name="sfm_signals", daemon=True).start()

    @property
    def was_signaled(self) -> bool:
        """Whether a signal came."""
        return _signaled_s is not None


def _insist(wake: int, name: str) -> None:
    os.read(wake, 1)
    time.sleep(_PATIENCE_S)
    print(f"{name}: ends without waiting for what is still running", file=sys.stderr, flush=True)
    os._exit(0)
