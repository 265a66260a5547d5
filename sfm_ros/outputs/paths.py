"""What lies in an output folder at the places of its files; links are never followed."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def is_regular(root: Path, name: str) -> bool:
    """Whether ``root / name`` is a file, with no link on the way to it."""
    path = root / name
    return path.is_file() and not path.is_symlink() and not _blocked_parent(root, name)


def obstacle(root: Path, name: str, files: Collection[str]) -> str | None:
    """What is in the way of a file that is to be written, or None.

    Args:
        name: of the file, or ending with ``/`` a folder that shall hold nothing but ``files``.
        files: those of an earlier run, which may be replaced.

    Returns:
        The POSIX path, relative to ``root``, of a link, of a folder in the place of a file, or of
        a file that is not one of ``files``.
    """
    parent = _blocked_parent(root, f"{name}x" if name.endswith("/") else name)
    if parent is not None:
        return parent
    found = _entries(root, name.rstrip("/")) if name.endswith("/") else iter([name])
    for entry in found:
        is_free = entry in files and is_regular(root, entry)
        if os.path.lexists(root / entry) and not is_free:
            return entry
    return None


def remove(root: Path, name: str) -> None:
    """Delete a file and the folders that are empty then; leave anything else."""
    if is_regular(root, name):
        (root / name).unlink()
    for parent in list(PurePosixPath(name).parents)[:-1]:
        with suppress(OSError):  # it is a link, or holds other files
            (root / parent).rmdir()


def files_below(folder: Path) -> set[str]:
    """The files in a folder and its folders, as relative POSIX paths."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def _blocked_parent(root: Path, name: str) -> str | None:
    """The first of a file's folders that is a link or a file."""
    for parent in reversed(list(PurePosixPath(name).parents)[:-1]):
        folder = root / parent
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            return parent.as_posix()
    return None


def _entries(root: Path, folder: str) -> Iterator[str]:
    for path in sorted((root / folder).rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(root).as_posix()
