"""The lock of an output folder: one writer at a time, known by its process id."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from sfm_ros.errors import OutputError

LOCK = ".sfm_output.lock"
_UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of a file system without locks: its folders are written without."""
_PID_PATIENCE_S = 1.0
_RELEASE_PATIENCE_S = 2.0
"""A process that was killed while it started another one holds its locks for a moment longer: the
new process has them until its program is loaded."""


class FolderLock:
    """Held from its creation until `release`, or until the process ends in whatever way.

    Raises:
        OutputError: another process holds it; the message has its id.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK
        self._descriptor = self._acquired()
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        except OSError:
            self.release()
            raise

    def _acquired(self) -> int:
        """The descriptor of the locked file.

        The holder removes the file when it ends: a lock on a file that is no longer in the folder
        excludes nobody, so it is taken again.
        """
        deadline = time.monotonic() + _RELEASE_PATIENCE_S
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                _lock(descriptor)
                if _is_same_file(descriptor, self._path):
                    return descriptor
            except BlockingIOError:
                holder = _holder(descriptor)
                os.close(descriptor)
                if not _is_running(holder) and time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
                raise OutputError(
                    f"{self._path.parent} is being written by another program (process {holder}); "
                    "wait for its end or name another folder"
                ) from None
            os.close(descriptor)

    def release(self) -> None:
        """Let the next program write."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def check_unlocked(folder: Path) -> None:
    """OutputError, with the process id, if a program is writing an existing folder."""
    if (folder / LOCK).is_file():
        FolderLock(folder).release()


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _is_running(process: str) -> bool:
    """Whether there is a process of this id; True if the id is unknown."""
    return not process.isdigit() or Path("/proc", process).exists() or not Path("/proc").exists()


def _holder(descriptor: int) -> str:
    """The process id in a lock file, which its holder writes as soon as it has the lock."""
    deadline = time.monotonic() + _PID_PATIENCE_S
    while not (text := os.pread(descriptor, 32, 0).decode(errors="replace").strip()):
        if time.monotonic() > deadline:
            return "unknown"
        time.sleep(0.01)
    return text
