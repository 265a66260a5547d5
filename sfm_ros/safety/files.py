"""Reading files whose names or contents come from somebody else."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from sfm_ros.errors import UnsafeFileError

_BLOCK = 2**20


def member(folder: Path, name: object) -> Path:
    """The path of a file that a document in the folder names.

    Raises:
        UnsafeFileError: the name is not that of a regular file in this very folder: it contains a
            path, leaves the folder by a symbolic link, or names a folder, a device or a pipe.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or {"/", "\\", "\0"} & set(name):
        raise UnsafeFileError(f"the name {name!r} is not the plain name of a file in {folder}")
    path = folder / name
    if path.is_symlink() and path.resolve().parent != folder.resolve():
        raise UnsafeFileError(f"{path} is a link that leaves the folder; copy the file there")
    if path.exists() and not path.is_file():
        raise UnsafeFileError(f"{path} is not a regular file")
    return path


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, without waiting for the other end of a pipe.

    Raises:
        OSError: it cannot be opened.
        UnsafeFileError: it is a device, a pipe or a folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeFileError(f"{path} is not a regular file")
    return open(descriptor, "rb")


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read.
        UnsafeFileError: it is not a regular file, or has more than ``limit`` bytes.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = bytearray()
        # As much as there seems to be: a read takes the memory it asks for.
        while size <= limit and len(data) <= limit:
            block = stream.read(max(size - len(data), _BLOCK))
            if not block:
                return bytes(data)
            data += block
    raise UnsafeFileError(f"{path} has more than {limit} bytes")


def read_text(path: Path, limit: int) -> str:
    """The same as UTF-8 text, with ``\\n`` at all line ends; also raises UnicodeDecodeError."""
    text = read_bytes(path, limit).decode("utf-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def sha256_of(path: Path) -> str:
    """SHA-256 of a regular file, hexadecimal, in little memory; errors as `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
