"""What of a bag could not be read: it is left out, counted, and reported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from sfm_ros.bags.decompression import CutOffError
from sfm_ros.errors import UnsafeFileError, printable, reason_of


def must_end(error: Exception) -> bool:
    """Whether an error is not of damaged content: a limit is exceeded, or the disk fails."""
    if isinstance(error, CutOffError):
        return False
    return isinstance(error, (MemoryError, OSError, UnsafeFileError))


_Entry = TypeVar("_Entry")


class Damage:
    """The places of a storage file that could not be read, a line each.

    Attributes:
        lines: in order of their discovery, each once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.lines: list[str] = []

    def add(self, place: str, error: Exception) -> None:
        """Note that ``place``, a part of a sentence, raised an error."""
        reason = printable(reason_of(error))
        line = f"{self._path.name}: {place} cannot be read: {reason}"
        if line not in self.lines:
            self.lines.append(line)

    def until_error(self, entries: Iterator[_Entry]) -> Iterator[_Entry]:
        """The entries of a file that cannot be read further behind an error."""
        while True:
            try:
                entry = next(entries)
            except StopIteration:
                return
            except Exception as error:  # as varied as the readers
                if must_end(error):
                    raise
                self.add("the rest", error)
                return
            yield entry
