"""Logs of a run: TensorBoard events and panels, and a plain ``history.csv``.

``history.csv`` has three columns (step, name, value), so that a new figure needs no new format.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sfm_ros.datatypes import RgbImage

HISTORY = "history.csv"
HEADER = ("step", "name", "value")


class RunLog:
    """Writes figures and panels; a full disk ends the logging, never the run.

    Args:
        folder: of the run.
        first_step: step at which the run starts or resumes; later entries of an earlier, killed
            process are dropped, because those steps are repeated.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        # Imported late because it is slow.
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._history = folder / HISTORY
        _drop_from(self._history, first_step)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        self._warned = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record named figures of one step."""
        with self._ignoring_full_disk():
            with self._history.open("a", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows((step, k, repr(float(v))) for k, v in values.items())
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def speed(self, step: int, windows_per_second: float, waiting: float) -> None:
        """Record the speed; not in the history, which is equal for equal runs."""
        with self._ignoring_full_disk():
            self._board.add_scalar("speed/windows_per_second", windows_per_second, step)
            self._board.add_scalar("speed/waiting_for_data", waiting, step)

    def image(self, step: int, name: str, rgb: RgbImage) -> None:
        """Record an image, (H, W, 3) uint8."""
        with self._ignoring_full_disk():
            self._board.add_image(name, rgb, step, dataformats="HWC")

    def print(self, text: str) -> None:
        """Print a line on stderr, above the progress bar."""
        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """Write what is still buffered."""
        with self._ignoring_full_disk():
            self._board.close()

    @contextmanager
    def _ignoring_full_disk(self) -> Iterator[None]:
        """Turn the first error into a warning and suppress the others."""
        try:
            yield
        except OSError as error:
            if not self._warned:
                self._warned = True
                self.print(f"warning: the log cannot be written ({error}); training continues")


def read_history(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """``{name: (steps, values)}`` of a ``history.csv``."""
    columns: dict[str, tuple[list[int], list[float]]] = {}
    for step, name, value in _rows(path):
        steps, values = columns.setdefault(name, ([], []))
        steps.append(step)
        values.append(value)
    return {name: (np.array(s), np.array(v)) for name, (s, v) in columns.items()}


def is_history(path: Path) -> bool:
    """Whether a file begins like a ``history.csv``."""
    with path.open("rb") as stream:
        return stream.readline(100).strip() == ",".join(HEADER).encode()


def _rows(path: Path) -> list[tuple[int, str, float]]:
    """The complete rows of a history; the last one may have been cut off by a kill."""
    if not path.is_file():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.reader(stream):
            with suppress(ValueError):
                step, name, value = row
                rows.append((int(step), name, float(value)))
    return rows


def _drop_from(path: Path, first_step: int) -> None:
    kept = [row for row in _rows(path) if row[0] <= first_step and first_step > 0]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        writer.writerows((step, name, repr(value)) for step, name, value in kept)
