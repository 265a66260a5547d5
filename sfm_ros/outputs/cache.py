"""The folder of files that can be made again: built engines, remembered measurements."""

from __future__ import annotations

import os
from pathlib import Path

from sfm_ros.errors import OutputError

NEW_SUFFIX = ".new"
"""Of files that are not in place yet; one without a living writer is left from a kill."""


def cache_folder(*parts: str) -> Path:
    """The folder ``sfm_ros`` and those below it in the user's cache; it may not exist yet.

    ``$XDG_CACHE_HOME`` if that is an absolute path, else ``~/.cache`` (XDG Base Directory
    Specification 0.8).

    Raises:
        OutputError: the user has no home, as in some containers.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return Path(given, "sfm_ros", *parts)
    try:
        return Path.home().joinpath(".cache", "sfm_ros", *parts)
    except RuntimeError as error:
        raise OutputError(
            "there is no folder for cached files: this user has no home; set XDG_CACHE_HOME"
        ) from error


def write_atomically(path: Path, *blocks: bytes) -> None:
    """Write a file that is either complete or, as before, absent or the earlier one.

    Its folders are made. Two writers at once leave the file of one of them.

    Raises:
        OSError: the disk is full, or the folder cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}{NEW_SUFFIX}")
    try:
        with new.open("xb") as stream:
            for block in blocks:
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
