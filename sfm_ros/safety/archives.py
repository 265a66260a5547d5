"""Archives of weights, as torch writes them: zip files whose members are not compressed."""

from __future__ import annotations

import zipfile
from pathlib import Path

from sfm_ros.errors import UnsafeFileError


def check_stored(path: Path) -> None:
    """Make sure that the members of a zip file take no more memory than the file takes disk.

    Raises:
        OSError: it cannot be read.
        UnsafeFileError: it is no zip file, or its members are compressed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    # A damaged directory raises errors of several kinds.
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise UnsafeFileError(f"it is no archive of weights: {error}") from error
    stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
    if not stored or sum(member.file_size for member in members) > path.stat().st_size:
        raise UnsafeFileError("its weights are compressed; torch writes them uncompressed")
