"""Runs a command from its start to its exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from sfm_ros.errors import SfmRosError
from sfm_ros.safety.interrupts import INTERRUPTED


def run_program(name: str, call: Callable[[], int], if_interrupted: str = "interrupted") -> int:
    """Call a command; its exit code, 1 after an error in one line, 130 after Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up like Ctrl-C
    try:
        return call()
    except (SfmRosError, OSError, MemoryError) as error:
        reason = str(error) or "the memory does not suffice"
        print(f"{name}: ERROR: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: {if_interrupted}", file=sys.stderr)
        return INTERRUPTED
