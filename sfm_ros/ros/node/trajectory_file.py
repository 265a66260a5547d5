"""The file that ~/save_trajectory writes: its place is the user's, not that of any peer.

Whoever reaches the node's parameters may choose a name; the folder is fixed at the node's start.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from sfm_ros.config import NodeConfig
from sfm_ros.errors import ConfigError, SfmRosError, TrajectoryError, printable
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_tum
from sfm_ros.ros.node.trajectory_log import TrajectoryLog

_MOST_FILES = 100
_LONGEST_NAME = 200
"""Bytes; file systems allow 255, and the part that is written first has a longer name."""

Write = Callable[[Path, Trajectory], None]


class TrajectoryFile:
    """Writes the trajectory into one folder, in a thread of its own.

    A file is written beside and renamed, so that it is whole or not there. What the user named at
    the start is replaced; under another name nothing is replaced that this object has not written.

    Args:
        options: at the start of the node.
        patience_s: how long `save` waits for the file system.
        write: writes a trajectory to an empty file.

    Raises:
        ConfigError: the home folder in the path is not known.
    """

    def __init__(
        self, options: NodeConfig, patience_s: float = 5.0, write: Write = write_tum
    ) -> None:
        self.start = options.trajectory_file
        self._path = _start_path(options)
        self._patience_s, self._write_to = patience_s, write
        self._written: set[str] = set()
        self._thread: threading.Thread | None = None

    def check(self, name: str) -> None:
        """Check a value of ``node.trajectory_file`` that is set while the node runs.

        Raises:
            ConfigError: it is neither the start value nor a plain name with the same ending.
        """
        if name == self.start:
            return
        is_plain = os.sep not in name and not name.startswith(".") and name.isprintable()
        ending = self._path.suffix
        if not (is_plain and 0 < len(os.fsencode(name)) <= _LONGEST_NAME) or (
            Path(name).suffix != ending
        ):
            raise ConfigError(
                f"'node.trajectory_file' is '{printable(name, 100)}', expected a file name that "
                f"ends in '{ending}', without a folder: while the node runs its files stay in "
                f"{self._path.parent} (node.trajectory_folder, set at the start)"
            )

    def save(self, name: str, log: TrajectoryLog) -> str:
        """Write the poses to the file of this name; what was done, for a person.

        Raises:
            TrajectoryError: there is no pose, the file must not be written, the folder has enough
                of them, or the file system does not answer in time.
            OSError: the file system refuses.
        """
        if self._thread is not None and self._thread.is_alive():
            raise TrajectoryError("the file before is still being written")
        results: list[str | Exception] = []
        path = self._path if name == self.start else self._path.parent / name
        self._thread = threading.Thread(
            target=self._work, args=(path, log, results), name="sfm_trajectory", daemon=True
        )
        self._thread.start()
        self._thread.join(self._patience_s)
        if not results:
            raise TrajectoryError(
                f"the file system has not taken it for {self._patience_s:g} s; it is tried further"
            )
        if isinstance(results[0], Exception):
            raise results[0]
        return results[0]

    def _work(self, path: Path, log: TrajectoryLog, results: list[str | Exception]) -> None:
        try:
            results.append(self._save(path, log))
        except ValueError as error:  # a NUL in the path
            results.append(TrajectoryError(str(error)))
        except (OSError, SfmRosError) as error:
            results.append(error)

    def _save(self, path: Path, log: TrajectoryLog) -> str:
        trajectory, forgotten = log.trajectory()
        if trajectory is None:
            raise TrajectoryError("no pose has been published yet")
        self._refuse(path)
        self._replace(path, trajectory)
        self._written.add(path.name)
        text = f"{len(trajectory)} poses written to {path}"
        if forgotten:
            text += f"; {forgotten} older ones had been dropped (node.trajectory_length)"
        return text

    def _refuse(self, path: Path) -> None:
        """Raise if the path is not ours to write."""
        if path.name not in self._written and len(self._written) >= _MOST_FILES:
            raise TrajectoryError(
                f"{len(self._written)} files are written, expected no more; start the node again"
            )
        try:
            found = path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISREG(found):
            raise TrajectoryError("it is a link or no regular file, expected a new name")
        if path != self._path and path.name not in self._written:
            raise TrajectoryError(
                "this node did not write the file that is there, expected a new name"
            )

    def _replace(self, path: Path, trajectory: Trajectory) -> None:
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        # "x": new, and no link of this name is followed.
        with part.open("x", encoding="utf-8"):
            pass
        try:
            self._write_to(part, trajectory)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _start_path(options: NodeConfig) -> Path:
    try:
        return Path(options.trajectory_folder, options.trajectory_file).expanduser().absolute()
    except RuntimeError as error:  # no such user's ~
        raise ConfigError(
            f"'node.trajectory_file' is '{options.trajectory_file}': {error}"
        ) from error
