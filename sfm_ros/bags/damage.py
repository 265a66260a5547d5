"""What of a bag could not be read: it is left out, counted, and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sfm_ros.bags.decompression import CutOffError
from sfm_ros.errors import UnsafeFileError, printable, reason_of


def _must_end(error: Exception) -> bool:
    """Whether an error is not of damaged content: a limit is exceeded, or the disk fails."""
    if isinstance(error, CutOffError):
        return False
    return isinstance(error, (MemoryError, OSError, UnsafeFileError))


_Entry = TypeVar("_Entry")


class Damage:
    """Notes the places of a storage file that cannot be read, as they are found."""

    def __init__(self, path: Path, note: Callable[[str], object]) -> None:
        """With what takes a line for each place; it may get the same one more than once."""
        self._path = path
        self._note = note

    def add(self, place: str, error: Exception) -> None:
        """Note that ``place``, a part of a sentence, raised an error.

        Raises:
            Exception: the error itself, if it is not of damaged content.
        """
        if _must_end(error):
            raise error
        reason = printable(reason_of(error))
        self._note(f"{self._path.name}: {place} cannot be read: {reason}")

    def until_error(self, entries: Iterator[_Entry], place: str = "the rest") -> Iterator[_Entry]:
        """The entries of a place that cannot be read further behind an error; see `add`."""
        while True:
            try:
                entry = next(entries)
            except StopIteration:
                return
            except Exception as error:  # as varied as the readers
                self.add(place, error)
                return
            yield entry
