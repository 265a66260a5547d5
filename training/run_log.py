"""What a run leaves behind to look at: TensorBoard events, panels, and a plain ``history.csv``.

``history.csv`` has three columns (step, name, value), so that a new figure needs no new format.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

HISTORY = "history.csv"
HEADER = ("step", "name", "value")


class RunLog:
    """Writes figures and panels; a full disk costs the log, never the run.

    Args:
        folder: of the run.
        first_step: step the run starts or resumes at; what an earlier, killed process wrote beyond
            it is dropped, because those steps are done again.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        # Imported late: it is slow, and preparing or checking a recipe does not need it.
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._history = folder / HISTORY
        _drop_from(self._history, first_step)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)
        self._complained = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record named figures of one step."""
        try:
            with self._history.open("a", newline="", encoding="utf-8") as stream:
                csv.writer(stream).writerows((step, k, repr(float(v))) for k, v in values.items())
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        except OSError as error:
            self._complain(error)

    def speed(self, step: int, windows_per_second: float) -> None:
        """Record the speed; not in the history, which is equal for equal runs."""
        try:
            self._board.add_scalar("speed/windows_per_second", windows_per_second, step)
        except OSError as error:
            self._complain(error)

    def image(self, step: int, name: str, picture_3hw: Tensor) -> None:
        """Record a picture, RGB in [0, 1]."""
        try:
            self._board.add_image(name, picture_3hw.clamp(0, 1), step)
        except OSError as error:
            self._complain(error)

    def say(self, text: str) -> None:
        """One line for whoever watches, above a progress bar."""
        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """Write what is still buffered."""
        try:
            self._board.close()
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            self.say(f"warning: the log cannot be written ({error}); training goes on without it")


def read_history(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """``{name: (steps, values)}`` of a ``history.csv``."""
    columns: dict[str, tuple[list[int], list[float]]] = {}
    for step, name, value in _rows(path):
        steps, values = columns.setdefault(name, ([], []))
        steps.append(step)
        values.append(value)
    return {name: (np.array(s), np.array(v)) for name, (s, v) in columns.items()}


def panel(pictures: list[Tensor]) -> Tensor:
    """Pictures (1 or 3, h, w) in [0, 1] below each other, as one (3, sum of h, w)."""
    return torch.cat([p.expand(3, -1, -1) for p in pictures], dim=1)


def colour_depth(depth_1hw: Tensor) -> Tensor:
    """Depth as a picture (3, h, w): near is bright; inverse depth between its quantiles."""
    inv_depth = 1.0 / depth_1hw.float().clamp_min(1e-6)
    low, high = (torch.quantile(inv_depth, q) for q in (0.02, 0.98))
    x = ((inv_depth - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    # A dark-blue to yellow ramp without a plotting library.
    return torch.cat([x.pow(0.7), x.pow(1.3) * 0.9, 0.35 + 0.3 * x - 0.6 * x * x], dim=0)


def _rows(path: Path) -> list[tuple[int, str, float]]:
    """The whole rows of a history; the last one may have been cut by a kill."""
    if not path.is_file():
        return []
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.reader(stream):
            try:
                step, name, value = row
                rows.append((int(step), name, float(value)))
            except ValueError:
                continue
    return rows


def _drop_from(path: Path, first_step: int) -> None:
    kept = [row for row in _rows(path) if row[0] <= first_step and first_step > 0]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        writer.writerows((step, name, repr(value)) for step, name, value in kept)
