"""The marker of an output folder: which program wrote which files, and whether all of them."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sfm_ros import __version__
from sfm_ros.errors import OutputError, UnsafeFileError
from sfm_ros.safety.documents import read_json

MARKER = ".sfm_output.json"
FORMAT = 1
_NEW = f"{MARKER}.new"
_STAGING = ".sfm_output."
RESERVED = (MARKER, _NEW)
"""Names that an otherwise empty folder may hold after a kill."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Marker:
    """What an output folder holds.

    Attributes:
        program: that wrote it.
        is_complete: whether the files are of one run that reached its end.
        files: written, or about to be, as POSIX paths relative to the folder.
        staging: name of a folder in it whose files are not in place yet, or None.
        version: of the package.
    """

    program: str
    is_complete: bool = False
    files: frozenset[str] = frozenset()
    staging: str | None = None
    version: str = __version__

    def write(self, folder: Path) -> None:
        """Replace the marker in one step; OSError if it cannot be written."""
        values = {
            "format": FORMAT,
            "program": self.program,
            "version": self.version,
            "state": "complete" if self.is_complete else "unfinished",
            "staging": self.staging,
            "files": sorted(self.files),
        }
        new = folder / _NEW
        new.unlink(missing_ok=True)  # of a killed program
        try:
            with new.open("x", encoding="utf-8") as stream:
                json.dump(values, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(new, folder / MARKER)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    @staticmethod
    def read(folder: Path) -> Marker | None:
        """The marker of a folder, None if it has none.

        Raises:
            OutputError: it is a link, damaged, or of another format.
        """
        path = folder / MARKER
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                raise ValueError("it is no regular file")
            return _parsed(read_json(path))
        except FileNotFoundError:
            return None
        except (OSError, UnsafeFileError, LookupError, ValueError, TypeError) as error:
            raise OutputError(
                f"{path} is damaged or of another version ({error}), so the files of an earlier "
                "run are unknown; name another folder, or remove this one if nothing in it is "
                "needed"
            ) from error


def _parsed(values: dict[str, Any]) -> Marker:
    if dict(values)["format"] != FORMAT:
        raise ValueError(f"format {values['format']}, expected {FORMAT}")
    staging = values["staging"]
    if staging is not None and not (str(staging).startswith(_STAGING) and _is_inside(staging, 1)):
        raise ValueError(f"'{staging}' as staging folder")
    files = frozenset(str(name) for name in values["files"])
    for name in files:
        if not _is_inside(name):
            raise ValueError(f"'{name}' is no file of this folder")
    return Marker(
        program=str(values["program"]),
        is_complete={"complete": True, "unfinished": False}[values["state"]],
        files=files,
        staging=staging,
        version=str(values["version"]),
    )


def _is_inside(name: str, depth: int | None = None) -> bool:
    """Whether a relative path stays in its folder, at this depth if one is given."""
    path = PurePosixPath(name)
    inside = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
    return inside and depth in (None, len(path.parts))


def staging_name() -> str:
    """A new name for a staging folder."""
    return f"{_STAGING}{os.getpid()}.{os.urandom(4).hex()}"
