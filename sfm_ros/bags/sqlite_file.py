"""A db3 file of ROS 2, with what its recorder left beside it, read without changing anything.

A recorder that was killed leaves the newest messages in a ``-wal`` file (rosbag2's resilient
preset), or a ``-journal``. SQLite reads these only by changing the files, so that they are copied.
rosbags' own reader ignores them, and refuses a bag with a type whose definition is unknown.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Any

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
)

from sfm_ros.bags.damage import Damage
from sfm_ros.bags.decompression import quality_of_service
from sfm_ros.bags.metadata import MetadataError, read_only_address
from sfm_ros.safety import limits
from sfm_ros.safety.files import member

_UNDEFINED = MessageDefinition(MessageDefinitionFormat.NONE, "")
_LEFT_BEHIND = ("-wal", "-journal")
_TABLES = {"messages", "topics"}


def left_behind(file: Path) -> list[Path]:
    """The files beside a db3 file that hold a part of it."""
    beside = [member(file.parent, f"{file.name}{suffix}") for suffix in _LEFT_BEHIND]
    return [each for each in beside if each.is_file() and each.stat().st_size]


def complete_copy(file: Path, beside: list[Path], folder: Path) -> Path:
    """A copy of a db3 file in a folder, with what is in the files beside it.

    Raises:
        OSError: it cannot be copied.
        MetadataError: the disk has no room for it.
    """
    size = sum(each.stat().st_size for each in (file, *beside))
    room = shutil.disk_usage(folder).free - limits.BAG_DISK_RESERVE
    if 2 * size > room:  # what is in the -wal is written to the copy, too
        raise MetadataError(
            f"{beside[0].name} holds messages of {file.name}, and the copy that is needed to read "
            f"them takes {2 * size} bytes in {folder}, which has {max(room, 0)}; complete the "
            f"file with: sqlite3 {quote(str(file))} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        )
    for each in (file, *beside):
        shutil.copyfile(each, folder / each.name)
    copy = folder / file.name
    copy.chmod(0o600)
    try:
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    except sqlite3.Error as error:
        raise MetadataError(f"{file.name} with {beside[0].name} is damaged: {error}") from error
    return copy


class Sqlite3File:
    """One storage file; open it as a context.

    Attributes:
        damage: notes what cannot be read.
        connections: the topics, once it is open.
    """

    def __init__(self, path: Path, note: Callable[[str], object]) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None
        self.damage = Damage(path, note)
        self.connections: list[Connection] = []

    def __enter__(self) -> Sqlite3File:
        # A reader thread may open what the thread that stops it closes.
        self._database = sqlite3.connect(
            read_only_address(self._path), uri=True, check_same_thread=False
        )
        try:
            self.connections = self._list_topics(self._database)
        except BaseException:
            self._database.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()
        self._database = None

    def _list_topics(self, database: sqlite3.Connection) -> list[Connection]:
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        if not names >= _TABLES:
            raise MetadataError(f"{self._path.name} has no tables {' and '.join(sorted(_TABLES))}")
        columns = {row[1] for row in database.execute("PRAGMA table_info(topics)")}
        profiles = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        rows = database.execute(
            f"SELECT topics.id, name, type, serialization_format, {profiles}, count(messages.id) "  # noqa: S608
            "FROM topics LEFT JOIN messages ON topics.id == messages.topic_id "
            "GROUP BY topics.id ORDER BY topics.id"
        )
        return [
            Connection(
                number, str(name), str(kind), _UNDEFINED, "", count,
                ConnectionExtRosbag2(str(encoding), quality_of_service(profiles or [])), self,
            )
            for number, name, kind, encoding, profiles, count in rows
        ]  # fmt: skip

    def messages(self, connections: Collection[Connection]) -> Iterator[Any]:
        """Connection, time of recording and bytes of the messages in order of recording."""
        assert self._database is not None
        by_id = {connection.id: connection for connection in connections}
        marks = ",".join("?" * len(by_id))
        rows = self._database.execute(
            f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) "  # noqa: S608
            "ORDER BY timestamp, id",
            tuple(by_id),
        )
        for number, time_ns, data in self.damage.until_error(rows):
            yield by_id[number], time_ns, data
