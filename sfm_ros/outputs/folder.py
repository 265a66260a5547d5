"""Output folders: only files of an earlier run of the same program are replaced or deleted.

A folder is new, empty, or bears the marker of an earlier run (`Marker`), which lists that run's
files. It is never the folder of an input, nor above it. Links in it are not followed. A program
that makes all results at the end stages them in a folder of their own, and renaming puts them in
place, so that a full disk or a kill leaves the earlier results whole. One that continues its own
files (a training run, a bag in parts) declares them, and the folder is unfinished meanwhile.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from sfm_ros.errors import OutputError
from sfm_ros.outputs import paths
from sfm_ros.outputs.lock import LOCK, FolderLock
from sfm_ros.outputs.marker import MARKER, RESERVED, Marker, staging_name

_MIB = 2**20
_SPARE_BYTES = 16 * _MIB
"""Left free on a disk besides the expected size."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


class OutputFolder:
    """A folder while a program writes it: a context manager that claims and releases it.

    Args:
        path: of the folder; made if it does not exist.
        program: folders of other programs are refused.
        inputs: files and folders that the program reads.
        planned: files it will write, and folders (ending with ``/``) in which it will write all
            files, as POSIX paths relative to the folder: what is in the way is noticed at the
            start.
        recognize: returns the files of a run of version 0.1, which wrote no marker, if the folder
            certainly holds one; called for a folder that is not empty and has no marker.

    Attributes:
        path: as given.
        was_unfinished: whether the earlier run did not reach its end.
    """

    def __init__(
        self,
        path: Path,
        program: str,
        inputs: Iterable[Path] = (),
        planned: Collection[str] = (),
        recognize: Callable[[Path], Collection[str]] | None = None,
    ) -> None:
        self.path, self.was_unfinished = path, False
        self._root = Path(os.path.realpath(path))
        self._program, self._planned, self._recognize = program, planned, recognize
        self._inputs = [Path(os.path.realpath(given)) for given in inputs]
        self._made: list[Path] = []
        self._lock: FolderLock | None = None
        self._before: Marker | None = None
        self._now = Marker(program=program)
        self._written: set[str] = set()

    def __enter__(self) -> OutputFolder:
        """Claim the folder.

        Raises:
            OutputError: it holds files of others or an input, another program is writing it, or
                it cannot be written. It is left as it was.
        """
        try:
            with self._explained():
                self._found()  # before anything is written
                self._make_folders()
                self._lock = FolderLock(self._root)
                self._before = self._found()
                self._remove_leftovers()
        except BaseException:
            self._release()
            raise
        self.was_unfinished = self._before is not None and not self._before.is_complete
        if self.was_unfinished:
            print(f"{self.path}: the earlier run did not reach its end", file=sys.stderr)
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        """Release the folder; one in which nothing was put in place is as it was before.

        Raises:
            OutputError: instead of the OSError of a full disk.
        """
        if self._now.staging is not None:
            self._drop_staging(self._now.staging)
        self._release()
        if isinstance(error, OSError) and error.errno in _FULL:
            raise OutputError(self._fault(error)) from error

    def stage(self) -> Path:
        """A new empty folder in this one, whose files `publish` puts in place.

        OutputError if the folder cannot be written.
        """
        self._now = replace(self._earlier, staging=staging_name())
        staging = self._root / str(self._now.staging)
        with self._explained():
            self._now.write(self._root)
            staging.mkdir()
        return staging

    def publish(self, main: str) -> None:
        """Replace the files of the earlier run by the staged ones, ``main`` last.

        Raises:
            OutputError: another file is in the way, or the folder cannot be written.
        """
        staging = self._root / str(self._now.staging)
        names = paths.files_below(staging)
        self.begin(names)
        with self._explained():
            with (staging / main).open("rb") as stream:
                os.fsync(stream.fileno())
            paths.remove(self._root, main)
            for name in [*sorted(names - {main}), main]:
                (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / name, self._root / name)
            shutil.rmtree(staging)
        self.complete()

    def begin(self, names: Iterable[str]) -> None:
        """Declare files that are written from now on; the folder is unfinished until `complete`.

        Raises:
            OutputError: another file, a link or a folder is in the way.
        """
        names, files = set(names), self._earlier.files | self._written
        self._check_free(names, files)
        self._written |= names
        self._now = replace(self._now, files=files | names, is_complete=False)
        with self._explained():
            self._now.write(self._root)

    def complete(self) -> None:
        """Delete what the earlier run has left and this one has not written; mark as complete."""
        with self._explained():
            for name in sorted(self._now.files - self._written):
                paths.remove(self._root, name)
            files = frozenset(name for name in self._written if paths.is_regular(self._root, name))
            self._now = Marker(program=self._program, files=files, is_complete=True)
            self._now.write(self._root)

    @property
    def _earlier(self) -> Marker:
        return self._before or Marker(program=self._program)

    def _found(self) -> Marker | None:
        """The marker of the earlier run; OutputError if the folder may not be written."""
        marker = None
        if self._root.is_dir():
            marker = Marker.read(self._root) or self._unmarked()
        elif self._root.exists():
            raise OutputError(f"{self.path} is a file, expected a folder")
        if marker is not None and marker.program != self._program:
            raise OutputError(
                f"{self.path} holds the output of {marker.program}, not of {self._program}; "
                "name another folder"
            )
        files = frozenset() if marker is None else marker.files
        self._check_inputs({*files, *self._planned})
        self._check_free(self._planned, files)
        return marker

    def _unmarked(self) -> Marker | None:
        """The marker that a run of version 0.1 would have written; None in an empty folder."""
        entries = sorted({p.name for p in self._root.iterdir()} - {*RESERVED, LOCK})
        if not entries:
            return None
        known = [] if self._recognize is None else self._recognize(self._root)
        files = frozenset(name for name in known if paths.is_regular(self._root, name))
        if files:
            return Marker(program=self._program, files=files, is_complete=True, version="0.1")
        shown = ", ".join(entries[:3]) + (", ..." if len(entries) > 3 else "")
        raise OutputError(
            f"{self.path} is not empty ({shown}) and not the output of an earlier run (no "
            f"{MARKER}; version 0.1 wrote none); name a new or empty folder, or remove this one "
            "if nothing in it is needed"
        )

    def _check_inputs(self, files: Collection[str]) -> None:
        """Refuse the folder of an input, those above it, and inputs that would be replaced."""
        for given in self._inputs:
            if given.is_dir() and given.is_relative_to(self._root):
                relation = "is" if given == self._root else "holds"
                raise OutputError(f"{self.path} {relation} the input {given}; name another folder")
            is_inside = given.is_relative_to(self._root)
            if is_inside and given.relative_to(self._root).as_posix() in files:
                raise OutputError(
                    f"the input {given} is one of the files that are replaced; name another "
                    "folder, or move the input"
                )

    def _check_free(self, names: Iterable[str], files: Collection[str]) -> None:
        for name in sorted(names):
            found = paths.obstacle(self._root, name, files)
            if found is not None:
                raise OutputError(
                    f"{self.path / found} was not written by an earlier run and is not replaced; "
                    "move it away or name another folder"
                )

    def _make_folders(self) -> None:
        missing = [p for p in (self._root, *self._root.parents) if not p.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self._made.append(folder)

    def _remove_leftovers(self) -> None:
        """Remove the staging folder of a killed program."""
        if self._before is None or self._before.staging is None:
            return
        staging = self._root / self._before.staging
        if not staging.is_symlink():
            shutil.rmtree(staging, ignore_errors=True)
        self._before = replace(self._before, staging=None)

    def _drop_staging(self, name: str) -> None:
        """Remove what was staged and not put in place, with its entry in the marker."""
        shutil.rmtree(self._root / name, ignore_errors=True)
        with suppress(OSError):  # the disk may be full; the next program removes the entry
            if self._written:
                replace(self._now, staging=None).write(self._root)
            elif self._before is None or self._before.version == "0.1":
                (self._root / MARKER).unlink()
            else:
                self._before.write(self._root)

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        for folder in reversed(self._made):
            with suppress(OSError):  # it is used
                folder.rmdir()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(self._fault(error)) from error

    def _fault(self, error: OSError) -> str:
        remedy = "make room" if error.errno in _FULL else "make it writable"
        return (
            f"cannot write in {self.path}: {error.strerror or error}; {remedy} or name another "
            "folder"
        )


def require_room(folder: Path, size: int) -> None:
    """OutputError if the disk of a folder has no room for about ``size`` more bytes."""
    free, needed = shutil.disk_usage(folder).free, size + _SPARE_BYTES
    if free < needed:
        raise OutputError(
            f"the disk of {folder} has {free // _MIB} MiB left, about {needed // _MIB} MiB are "
            "needed; make room or use a folder on another disk"
        )


def check_output_files(options: argparse.Namespace, *outputs: str) -> None:
    """OutputError if a file that these options name for output is an input as well."""
    words = [v for n, v in vars(options).items() if n not in outputs and isinstance(v, str)]
    bags = [word.rpartition(":/")[0] for word in words]  # BAG:/topic
    texts = [Path(word) for word in (*words, *bags) if word]
    inputs = {os.path.realpath(path) for path in [*named_paths(options, *outputs), *texts]}
    for name in outputs:
        path = getattr(options, name)
        if path is not None and os.path.realpath(path) in inputs:
            raise OutputError(f"--{name} {path} is an input, too; name another file")


def named_paths(options: argparse.Namespace, *outputs: str) -> list[Path]:
    """Every path on a command line but those of these options."""
    values = (value for name, value in vars(options).items() if name not in outputs)
    lists = (value if isinstance(value, (list, tuple)) else [value] for value in values)
    return [entry for entries in lists for entry in entries if isinstance(entry, Path)]
