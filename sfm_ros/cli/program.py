"""What all programs have in common: the form of their help, their version, their end."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from contextlib import suppress

from sfm_ros import __version__
from sfm_ros.errors import SfmRosError
from sfm_ros.safety.interrupts import INTERRUPTED
from sfm_ros.safety.streams import flush_output

VERSION = f"sfm_ros {__version__}"
"""The answer of every program to ``--version``."""
INCOMPLETE = 3
"""Exit code of a command that did its work, but could not read all of its input."""


def program_parser(
    description: str | None, name: str | None = None, epilog: str | None = None
) -> ArgumentParser:
    """A parser with ``--version``, whose help keeps the lines of the description.

    Args:
        description: what the program does.
        name: of the program; default: that of its file.
        epilog: follows the options.
    """
    parser = ArgumentParser(
        prog=name,
        description=description,
        epilog=epilog,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    return parser


def run_program(name: str, call: Callable[[], int], if_interrupted: str = "interrupted") -> int:
    """Call a command; its exit code, 1 after an error in one line, 130 after Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up like Ctrl-C
    try:
        code = call()
        flush_output()
        return code
    except (SfmRosError, OSError, MemoryError) as error:
        print(f"{name}: ERROR: {reason_of(error)}", file=sys.stderr)
        with suppress(OSError):  # the error may have been that of printing
            flush_output()
        return 1
    except KeyboardInterrupt:
        print(f"{name}: {if_interrupted}", file=sys.stderr)
        return INTERRUPTED


def reason_of(error: BaseException) -> str:
    """The text of an error; that of a lack of memory has none."""
    return str(error) or "the memory does not suffice"
