"""A second Ctrl-C ends a program at once, even while a library computes and does not return.

Python runs the handler of a signal only between two of its own instructions, so that a program is
deaf while the networks, a codec or a solver run. Here the signal wakes a thread through a pipe.
It runs whenever the library has released the interpreter's lock, as ONNX Runtime, torch and OpenCV
do. Standard library only: it is imported before anything that takes a second to import.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPEAT_S = 0.3
"""One Ctrl-C may reach a process twice: from the terminal and from what started the process."""
PATIENCE_S = 1.0
_FLUSH_S = 0.3

_children: set[int] = set()
_installed = False


def guard(name: str, patience_s: float = PATIENCE_S) -> None:
    """Let a second SIGINT or SIGTERM end this process at once, from now to its end.

    The first one is handled as before: by Python's KeyboardInterrupt or by the program. Only a
    program that owns its process calls this; calls after the first one do nothing.

    Args:
        name: of the program, for its messages.
        patience_s: how long the program may take to end in order if the second signal follows so
            soon that it may be the first one again.
    """
    global _installed
    if _installed or threading.current_thread() is not threading.main_thread():
        return
    _installed = True
    wake, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    arguments = (wake, name, patience_s)
    threading.Thread(target=_watch, args=arguments, name="sfm_interrupts", daemon=True).start()


def kill_at_end(group: int) -> None:
    """Kill this group of processes, in a session of its own, if the process is ended at once."""
    _children.add(group)


def has_ended(group: int) -> None:
    """Forget a group of `kill_at_end`: its number may be used again."""
    _children.discard(group)


def _watch(wake: int, name: str, patience_s: float) -> None:
    first_s = None
    while True:
        number = os.read(wake, 1)[0]
        if number not in _SIGNALS:
            continue
        if first_s is None:
            first_s = time.monotonic()
            continue
        if time.monotonic() - first_s < _REPEAT_S:
            time.sleep(patience_s)
        _end(name)


def _end(name: str) -> NoReturn:
    for group in tuple(_children):
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    multiprocessing = sys.modules.get("multiprocessing")
    for child in multiprocessing.active_children() if multiprocessing else ():
        child.kill()
    # In a thread: what reads the output may have stopped reading.
    flushing = threading.Thread(target=_flush, args=(name,), daemon=True)
    flushing.start()
    flushing.join(_FLUSH_S)
    os._exit(INTERRUPTED)


def _flush(name: str) -> None:
    print(f"\n{name}: ended at once by a second signal", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
