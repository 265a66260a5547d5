"""Plain-text tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

NOT_AVAILABLE = "–"
NOT_AVAILABLE_NOTE = f"{NOT_AVAILABLE}: not available"
"""Below each table in which it may occur."""


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells as text: the first column flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_line(row, widths) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip()


def format_value(pattern: str, value: float | str | None) -> str:
    """A metric or a remark as text; a dash if it is not available."""
    if value is None or (not isinstance(value, str) and not math.isfinite(value)):
        return NOT_AVAILABLE
    return pattern.format(value)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that differ; numbered if the paths are equal."""
    parts = [path.resolve().parts for path in paths]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{index}: {path.name}" for index, path in enumerate(paths, start=1)]
