"""The order of files with numbers in their names."""

from __future__ import annotations

import re
from pathlib import Path


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort key that compares digits in a name as numbers: ``2.png`` before ``10.png``."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]
