"""Reading text files, the order of numbered files, and the words in names."""

from __future__ import annotations

import re
from pathlib import Path

from sfm_ros.errors import SfmRosError, UnsafeFileError
from sfm_ros.safety import limits
from sfm_ros.safety.files import read_text as read_bounded


def read_text(path: Path, kind: str, error: type[SfmRosError]) -> str:
    """The UTF-8 text of a file of some kind; raises ``error`` if it is missing or damaged."""
    try:
        return read_bounded(path, limits.TEXT_FILE)
    except FileNotFoundError:
        raise error(f"there is no {kind} file {path}") from None
    except (OSError, UnsafeFileError, UnicodeDecodeError) as cause:
        raise error(f"cannot read the {kind} file {path}: {cause}") from cause


def natural_key(path: Path) -> list[tuple[int, str]]:
    """Sort key that compares digits in a name as numbers: ``2.png`` before ``10.png``."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]


def words_of(name: str) -> list[str]:
    """The words of a name in lower case: ``image`` and ``rect`` of ``imageRect``."""
    return re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
