"""SIGINT and SIGTERM end a program in time, from its first moment to its last.

Standard library only: it is imported before anything that takes a second to import.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from importlib import import_module

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TWICE_WITHIN_S = 0.3
"""Under `ros2 launch` a Ctrl-C arrives twice, from the terminal and then from launch, which
reports a program that is gone by the second as one that died, with exit code 255."""
_PATIENCE_S = 1.4
"""How long a signal waits for a library that is busy: it should end the process within 2 s."""


def launch(module: str) -> int:
    """Run a module's ``main`` and end the process: all that is ours is closed by then.

    A signal ends the process at once until ``main`` has built something to clean up. On the
    interpreter's way out, when signals are no longer handled, Fast DDS may wait for a lock in
    shared memory that a dead process has held.
    """
    for number in SIGNALS:
        signal.signal(number, _exit)
    code = import_module(module).main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _exit(*_: object) -> None:
    time.sleep(_TWICE_WITHIN_S)
    os._exit(0)


class SignalWatchdog:
    """Makes SIGINT and SIGTERM end the program in time, whatever a library is doing.

    rclpy's own handler, installed over the ones here, shuts the context down, and everything ends
    in order. A KeyboardInterrupt on top of it would hit the clean-up, for under `ros2 launch` the
    signal arrives twice. If a library does not return (it loads a large model, it hangs), a thread
    that the signal wakes through a pipe ends the process without it.

    Attributes:
        was_asked: whether a signal came.
    """

    def __init__(self, name: str) -> None:
        self.was_asked = False
        for number in SIGNALS:
            signal.signal(number, self._note)
        wake, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        arguments = (wake, name)
        threading.Thread(target=_insist, args=arguments, name="sfm_signals", daemon=True).start()

    def _note(self, *_: object) -> None:
        self.was_asked = True


def _insist(wake: int, name: str) -> None:
    os.read(wake, 1)
    time.sleep(_PATIENCE_S)
    print(f"{name}: ends without waiting for what is still at work", file=sys.stderr)
    sys.stderr.flush()
    os._exit(0)
