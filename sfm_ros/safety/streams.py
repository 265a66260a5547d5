"""Printing that neither a reader who has gone nor a character that a terminal lacks can stop.

``prepare ... | head -1`` closes the pipe while the program still works: what it prints from then
on is dropped, its work and its exit code stay the same. Standard library only.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any, TextIO


class _Pipe(io.FileIO):
    """A descriptor that swallows what is written once its reader has gone."""

    def write(self, data: Any, /) -> int:
        """Write, or lead the descriptor to nowhere, for the libraries that write there as well."""
        try:
            return super().write(data)
        except BrokenPipeError:
            _discard(self.fileno())
            return len(data)


def secure_output() -> None:
    """Make standard output and error of this process so, from now to its end.

    Only a program that owns its process calls this.
    """
    sys.stdout = _secured(sys.stdout)
    sys.stderr = _secured(sys.stderr)


def flush_output() -> None:
    """Write what is printed but not yet written.

    Raises:
        OSError: it cannot be written: the disk of a file is full. It is dropped then.
    """
    if sys.stdout is None:  # it was closed when the program started
        return
    try:
        sys.stdout.flush()
    except OSError:
        # Else Python tries again at its end, and prints a traceback.
        with suppress(OSError, ValueError):
            _discard(sys.stdout.fileno())
            sys.stdout.flush()
        raise


def _secured(stream: TextIO) -> TextIO:
    try:
        raw = _Pipe(stream.fileno(), "wb", closefd=False)
    except (AttributeError, OSError, ValueError):  # it is closed, or no descriptor
        return stream
    assert isinstance(stream, io.TextIOWrapper)
    stream.flush()
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),  # python -u
        encoding=stream.encoding,
        errors="backslashreplace",
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _discard(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
