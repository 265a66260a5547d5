"""An mcap file of any profile, whose topics of other encodings and damaged chunks are left out.

rosbags' own reader refuses a file whose profile is not ros2, one with a topic of protobuf, and the
rest of a file behind a damaged chunk.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rosbags.interfaces import Connection, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag1.reader import normalize_msgtype
from rosbags.rosbag2 import storage_mcap
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.storage_mcap import ChunkInfo, McapReader, Msg, Statistics

from sfm_ros.bags.damage import Damage

CDR, ROS1 = "cdr", "ros1"
"""Encodings of messages that are read."""
_MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER = b"\x01", b"\x02\x14\0\0\0\0\0\0\0"
_END_BYTES = 37
_ALWAYS = (0, 2**64)
_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}


class McapFile(McapReader):
    """One storage file.

    Attributes:
        damage: notes what cannot be read.
    """

    def __init__(self, path: Path, note: Callable[[str], object]) -> None:
        super().__init__(path)
        self.damage = Damage(path, note)

    @property
    def encoding(self) -> str:
        """`ROS1` if its messages are serialized so, and none as `CDR`."""
        found = {channel.message_encoding for channel in self.channels.values()}
        return ROS1 if ROS1 in found and CDR not in found else CDR

    def _open(self) -> None:
        """Read the summary, or all of the file if it has none; called by `open`."""
        assert self.bio
        bio = self.bio
        if bio.read(len(_MAGIC)) != _MAGIC or bio.read(1) != _HEADER:
            raise ReaderError("it does not start as an mcap file")
        storage_mcap.skip_sized(bio)  # the profile states a middleware, the channels the encoding
        self.data_start = bio.seek(0, os.SEEK_CUR)
        footer_start = bio.seek(-_END_BYTES, 2)
        end = bio.read()
        if not end.startswith(_FOOTER) or not end.endswith(_MAGIC):
            raise ReaderError("it does not end as an mcap file")
        summary_start = int.from_bytes(end[9:17], "little")
        if summary_start and not self.data_start <= summary_start <= footer_start:
            raise ReaderError(f"its summary is stated at byte {summary_start}")
        self.data_end = summary_start or footer_start
        if summary_start:
            self.read_index()
        if self.statistics is None and self.chunks:
            self._count_by_chunks()
        elif self.statistics is None or not self.schemas:
            self.meta_scan()
        self.connections = [self._completed(each) for each in self.connections]

    def _count_by_chunks(self) -> None:
        counts: Counter[int] = Counter()
        for chunk in self.chunks:
            counts.update(chunk.channel_count)
        self.statistics = Statistics(
            sum(counts.values()), len(self.schemas), len(self.channels), 0, 0, len(self.chunks),
            min(chunk.message_start_time for chunk in self.chunks),
            max(chunk.message_end_time for chunk in self.chunks),
            dict(counts),
        )  # fmt: skip

    def _completed(self, connection: Connection) -> Connection:
        """With the number of messages, and the type's name as in ROS 2."""
        assert self.statistics
        kind = connection.msgtype
        if self.channels[connection.id].message_encoding == ROS1:
            kind = normalize_msgtype(kind)
        count = self.statistics.channel_message_counts.get(connection.id, 0)
        return connection._replace(msgcount=count, msgtype=kind)

    def messages(
        self,
        connections: Collection[Connection] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """The messages of these connections in order of recording; see `damage`."""
        if not self.chunks:
            yield from self.damage.until_error(self._in_sequence(connections))
            return
        channels = {connection.id: connection for connection in connections}
        chunks = [
            self._messages_of(chunk, channels)
            for chunk in self.chunks
            # Without an index of its messages it may hold any.
            if not chunk.channel_count or any(map(chunk.channel_count.get, channels))
        ]
        for time_ns, _, connection, data in heapq.merge(*chunks, key=lambda message: message[0]):
            if connection is not None and data is not None:
                yield connection, time_ns, data

    def _in_sequence(
        self, connections: Collection[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """The messages of a file without chunks, whose records must fill it exactly."""
        yield from super().messages(connections)
        assert self.bio
        if self.bio.seek(0, os.SEEK_CUR) != self.data_end:
            raise ReaderError("a record reaches beyond the messages")

    def _messages_of(
        self, chunk: ChunkInfo, channels: dict[int, Connection]
    ) -> Iterator[tuple[int, int, Connection | None, bytes | None]]:
        """An entry without data at the start of a chunk, which is unpacked for the next one."""
        assert self.bio
        messages: Iterator[Msg] = storage_mcap.msgsrc(chunk, channels, *_ALWAYS, self.bio)
        yield next(messages)
        place = f"the chunk at byte {chunk.chunk_start_offset}"
        # A list: the generator would keep the unpacked chunk as long as one message is left.
        yield from list(self.damage.until_error(messages, place))


def message_definition(schema: Any) -> MessageDefinition:
    """rosbags' own function, but for definitions in other languages, which are left out."""
    kind = MessageDefinitionFormat.NONE if schema is None else _FORMATS.get(schema.encoding)
    if kind is None or schema is None:
        return MessageDefinition(MessageDefinitionFormat.NONE, "")
    return MessageDefinition(kind, schema.data)


def read_string(bio: BinaryIO) -> str:
    """rosbags' own function, but for definitions in bytes, such as those of protobuf."""
    return storage_mcap.read_bytes(bio).decode(errors="replace")


storage_mcap.get_msgdef = message_definition
storage_mcap.read_string = read_string
