"""Which files a bag consists of, by its metadata or by their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from sfm_ros.bags.metadata import METADATA, PACKED, BagStorage, MetadataError, read_metadata
from sfm_ros.bags.repair import unfinished_bag
from sfm_ros.errors import SourceError, UnsafeFileError
from sfm_ros.formats.files import natural_key
from sfm_ros.safety.documents import DocumentError
from sfm_ros.safety.files import member

STORAGE_SUFFIXES = (".mcap", ".db3", ".bag")
_EXPECTED = ", ".join(STORAGE_SUFFIXES)


def storage_suffix(file: Path) -> str:
    """The kind of a storage file, one of `STORAGE_SUFFIXES`, however it is written; else empty."""
    name = file.name.lower().removesuffix(PACKED)
    return next((suffix for suffix in STORAGE_SUFFIXES if name.endswith(suffix)), "")


def is_bag(path: Path) -> bool:
    """Whether a path looks like a bag: a storage file, or a folder with one or with metadata."""
    if path.is_file():
        return bool(storage_suffix(path)) or unfinished_bag(path) is not None
    return (path / METADATA).is_file() or any(_storage_files(path))


def storage_of(path: Path) -> BagStorage:
    """The files that the readers open, of a bag with or without metadata.

    Raises:
        SourceError: no such bag, not a bag, one that is still recorded, or damaged metadata.
    """
    if not path.exists():
        raise SourceError(f"there is no bag {path}")
    advice = unfinished_bag(path)
    if advice is not None:
        raise SourceError(f"the bag {path} is not finished: {advice}")
    folder = path.parent if path.name == METADATA else path
    if folder.is_dir() and (folder / METADATA).is_file():
        return _by_metadata(folder)
    if path.is_dir():
        return BagStorage(files=_by_names(path))
    if not storage_suffix(path):
        raise SourceError(f"{path} is no bag: expected a folder, or a file ending in {_EXPECTED}")
    return BagStorage(files=(path,))


def _by_metadata(folder: Path) -> BagStorage:
    try:
        return read_metadata(folder)
    except (MetadataError, DocumentError) as error:
        raise SourceError(
            f"cannot open the bag {folder}: {error}; if its storage files are whole, "
            f"`ros2 bag reindex {quote(str(folder))}` writes {METADATA} again, or name one of them"
        ) from error
    except (OSError, UnsafeFileError) as error:
        raise SourceError(f"cannot open the bag {folder}: {error}") from error


def _by_names(folder: Path) -> tuple[Path, ...]:
    files = sorted(_storage_files(folder), key=natural_key)
    for suffix in STORAGE_SUFFIXES:
        found = [file for file in files if storage_suffix(file) == suffix]
        whole = {file for file in found if file.suffix.lower() != PACKED}
        # A file beside its packed form is the same one, unpacked.
        kept = [f for f in found if f in whole or f.with_suffix("") not in whole]
        if kept:
            return tuple(_member(folder, file.name) for file in kept)
    unfinished = [advice for file in folder.iterdir() if (advice := unfinished_bag(file))]
    if unfinished:
        raise SourceError(f"the bag in {folder} is not finished: {unfinished[0]}")
    raise SourceError(f"{folder} is no bag: it holds neither {METADATA} nor a {_EXPECTED} file")


def _storage_files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (file for file in folder.iterdir() if storage_suffix(file))


def _member(folder: Path, name: str) -> Path:
    try:
        return member(folder, name)
    except UnsafeFileError as error:
        raise SourceError(f"cannot open the bag {folder}: {error}") from error
