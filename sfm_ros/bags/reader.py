"""Reads any bag rosbags can read: ROS 1, or ROS 2 sqlite3 and mcap, whole, split or a single file.

A reader for each storage is used, not rosbags' AnyReader: AnyReader parses every message
definition in the bag and fails if one of them is malformed, for example that of a service. The
types needed here are the same in every distribution. What cannot be read is left out and noted.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from sfm_ros.bags.decompression import check_chunks, is_packed, unpack_files, unpack_message
from sfm_ros.bags.mcap_file import CDR, ROS1, McapFile
from sfm_ros.bags.metadata import PACKED, check_tables
from sfm_ros.bags.repair import advice_for
from sfm_ros.bags.ros1_file import Ros1File
from sfm_ros.bags.sqlite_file import Sqlite3File, complete_copy, left_behind
from sfm_ros.bags.storage import storage_of, storage_suffix
from sfm_ros.errors import SourceError, UnsafeFileError, printable, reason_of

_MOST_MESSAGES = 10**10
_MOST_REMARKS, _LONGEST_REMARK = 20, 1000
_LOG = logging.getLogger(__name__)


@cache
def typestore(is_ros1: bool, /) -> Typestore:
    """The message definitions of ROS Noetic or ROS 2 Jazzy; making them takes 50 ms."""
    return get_typestore(Stores.ROS1_NOETIC if is_ros1 else Stores.ROS2_JAZZY)


class Record(NamedTuple):
    """One message: its topic, the time of recording, and the message as rosbags decodes it."""

    topic: str
    log_ns: int
    message: Any


class BagFile:
    """A bag on disk; every use opens and closes it, so that it can be read repeatedly.

    Opening takes long compared with reading one message; see `kept_open`. The copy of a file whose
    recorder did not end, and the unpacking of a packed one, are made for each opening.

    Attributes:
        path: file or folder.
        name: the path as it was given.
        is_ros1: whether messages are serialized as in ROS 1, else as CDR.
        connections: publishers and their quality of service, as rosbags lists them.
        topics: topic -> (message type, number of messages), of topics with messages. The number is
            the one that the bag lists. The type of a topic of another encoding, which is left out,
            has that in parentheses.
        all_topics: the same, with empty topics.
        remarks: what was unusual, or could not be read so far, a sentence each.
    """

    def __init__(self, path: str | Path) -> None:
        """List the topics.

        Raises:
            SourceError: no such bag, not a bag, damaged, or of an unsupported version.
        """
        self.name = str(path)
        self.path = Path(path)
        self._storage = storage_of(self.path)
        self.is_ros1 = any(map(_is_ros1, self._storage.files))
        self.remarks: tuple[str, ...] = ()
        self._readers: list[Any] | None = None
        self.connections: list[Connection] = []
        self.all_topics: dict[str, tuple[str, int]] = {}
        with ExitStack() as stack:
            readers = self._open(stack)
            mcaps = [reader for reader in readers if isinstance(reader, McapFile)]
            self.is_ros1 |= bool(mcaps) and all(reader.encoding == ROS1 for reader in mcaps)
            self.connections = [each for reader in readers for each in reader.connections]
        for connection in self.connections:
            count = self.all_topics.get(connection.topic, ("", 0))[1]
            total = min(count + connection.msgcount, _MOST_MESSAGES)
            encoding = self._foreign_encoding(connection)
            kind = f"{connection.msgtype} ({encoding})" if encoding else connection.msgtype
            self.all_topics[connection.topic] = (kind, total)
        self._note_foreign()
        for topic, count in self._storage.counts.items():
            kind, total = self.all_topics.get(topic, ("", count))
            if total < count <= _MOST_MESSAGES:
                self.all_topics[topic] = (kind, count)
        self.topics = {name: entry for name, entry in self.all_topics.items() if entry[1]}

    def _foreign_encoding(self, connection: Connection) -> str:
        """The encoding of messages that are not serialized as those of ROS are; else empty."""
        encoding = getattr(connection.ext, "serialization_format", ROS1)
        return "" if encoding in ("", ROS1 if self.is_ros1 else CDR) else encoding

    def _note_foreign(self) -> None:
        foreign = {
            f"{each.topic} ({encoding})"
            for each in self.connections
            if (encoding := self._foreign_encoding(each))
        }
        if foreign:
            self._note(f"topics of other encodings are left out: {', '.join(sorted(foreign))}")

    def _note(self, text: str) -> None:
        """Add a remark, and log it, once."""
        if len(self.remarks) >= _MOST_REMARKS:
            return
        remark = printable(f"{self.name}: {text}", _LONGEST_REMARK)
        if remark not in self.remarks:
            self.remarks += (remark,)
            _LOG.warning("%s", remark)

    def named(self, topic: str) -> str:
        """The name that a topic has in the bag, where the leading slash may be left out."""
        other = topic.removeprefix("/") if topic.startswith("/") else f"/{topic}"
        return other if topic not in self.all_topics and other in self.all_topics else topic

    def require(self, topic: str, types: Sequence[str]) -> str:
        """The name in the bag of a topic that holds messages of one of these types.

        Raises:
            SourceError: no such topic, another type, or no messages; lists the topics.
        """
        topic = self.named(topic)
        kind, count = self.all_topics.get(topic, ("", 0))
        if kind not in types or not count:
            found = f"{count} messages of {kind}" if kind else "no such topic"
            raise SourceError(
                f"expected {' or '.join(types)} on {topic}, found {found}; {self.listing()}"
            )
        return topic

    def listing(self) -> str:
        """The topics with their types and numbers of messages, for error messages."""
        entries = [f"{name} ({kind}, {count})" for name, (kind, count) in self.all_topics.items()]
        return f"the bag {self.name} has the topics {', '.join(sorted(entries)) or '(none)'}"

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Opens the bag once for all uses within, one after the other, in this thread."""
        if self._readers is not None:
            yield
            return
        with ExitStack() as stack:
            self._readers = self._open(stack)
            try:
                yield
            finally:
                self._readers = None

    def records(self, topics: Sequence[str]) -> Iterator[Record]:
        """The messages of some topics in order of recording.

        Raises:
            SourceError: the bag is damaged, or a message is not of its type.
        """
        for connection, log_ns, data in self.serialized(topics):
            yield Record(connection.topic, log_ns, self.decode(connection, data))

    def decode(self, connection: Connection, data: bytes) -> Any:
        """A message from `serialized`; SourceError if it is not of its type."""
        store = typestore(self.is_ros1)
        decode = store.deserialize_ros1 if self.is_ros1 else store.deserialize_cdr
        try:
            return decode(data, connection.msgtype)
        except Exception as error:  # as in _open
            raise self._damaged(error) from error

    def serialized(self, topics: Sequence[str]) -> Iterator[tuple[Connection, int, bytes]]:
        """The same without decoding: connection, time of recording, bytes."""
        with ExitStack() as stack:
            readers = self._readers or self._open(stack)
            merged = heapq.merge(
                *(self._messages(reader, topics) for reader in readers),
                key=lambda entry: entry[1],
            )
            while True:
                try:
                    entry = next(merged, None)
                    if entry is not None and self._is_packed(entry[2]):
                        entry = (*entry[:2], unpack_message(entry[2]))
                except Exception as error:  # as in _open
                    raise self._damaged(error) from error
                if entry is None:
                    return
                yield entry

    def _is_packed(self, data: bytes) -> bool:
        return self._storage.packed_messages or (not self.is_ros1 and is_packed(data))

    def first(self, topic: str) -> Record:
        """The first message of a topic.

        Raises:
            SourceError: there is none, although the bag's summary lists it; or see `records`.
        """
        for record in self.records([topic]):
            return record
        raise SourceError(f"the bag {self.path} lists {topic}, but holds no message of it")

    def _open(self, stack: ExitStack) -> list[Any]:
        try:
            readers = [self._opened(file, stack) for file in self._unpacked(stack)]
            check_chunks(readers)
            return readers
        except UnsafeFileError as error:
            raise SourceError(f"cannot open the bag {self.path}: {error}") from error

    def _opened(self, file: Path, stack: ExitStack) -> Any:
        try:
            return self._reader(file, stack)
        except UnsafeFileError:
            raise
        # A damaged file raises errors of any kind: SQLite, struct, zlib, YAML.
        except Exception as error:
            raise SourceError(
                f"cannot open the bag {self.path}: {reason_of(error)}; {advice_for(file)}"
            ) from error

    def _unpacked(self, stack: ExitStack) -> Sequence[Path]:
        """The storage files; those that are compressed are unpacked as long as the bag is open."""
        packed = [file for file in self._storage.files if file.suffix.lower() == PACKED]
        if not packed:
            return self._storage.files
        folder = TemporaryDirectory(prefix="sfm_bag_", ignore_cleanup_errors=True)
        whole = [file for file in self._storage.files if file not in packed]
        return [*whole, *unpack_files(packed, Path(stack.enter_context(folder)))]

    def _reader(self, file: Path, stack: ExitStack) -> Any:
        suffix = storage_suffix(file)
        if suffix == ".bag":
            return stack.enter_context(Ros1File(file, self._note))
        if suffix == ".mcap":
            mcap = McapFile(file, self._note)
            mcap.open()
            stack.callback(mcap.close)
            return mcap
        beside = left_behind(file)
        if beside:
            folder = TemporaryDirectory(prefix="sfm_bag_", ignore_cleanup_errors=True)
            self._note(f"its recorder did not end; {beside[0].name} is read, through a copy")
            file = complete_copy(file, beside, Path(stack.enter_context(folder)))
        elif not file.stat().st_size:  # which SQLite takes for one without tables
            raise ValueError("it is empty")
        check_tables(file)
        return stack.enter_context(Sqlite3File(file, self._note))

    def _messages(
        self, reader: Any, topics: Sequence[str]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        connections = [
            entry
            for entry in reader.connections
            if entry.topic in topics and not self._foreign_encoding(entry)
        ]
        # Without connections a reader would yield all messages.
        return reader.messages(connections) if connections else iter(())

    def _damaged(self, error: Exception) -> SourceError:
        reason = reason_of(error)
        if not isinstance(error, UnsafeFileError):
            reason += "; it is damaged or incomplete"
        return SourceError(f"cannot read further in the bag {self.path}: {reason}")


def _is_ros1(file: Path) -> bool:
    return storage_suffix(file) == ".bag"
