"""A bag of ROS 1, whose damaged chunks are left out."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Collection, Generator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader
from rosbags.rosbag1.reader import Header, IndexData, RecordType, read_bytes, read_uint32

from sfm_ros.bags.damage import Damage


class Ros1File(Reader):
    """One storage file.

    Attributes:
        damage: notes what cannot be read.
    """

    def __init__(self, path: Path, note: Callable[[str], object]) -> None:
        super().__init__(path)
        self.damage = Damage(path, note)

    def messages(
        self,
        connections: Collection[Connection] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """The messages of these connections in order of recording; see `damage`."""
        by_id = {connection.id: connection for connection in connections}
        position, chunk = -1, None
        for entry in heapq.merge(*(self.indexes[each] for each in by_id)):
            try:
                if entry.chunk_pos != position:
                    position, chunk = entry.chunk_pos, None
                    chunk = self._unpacked(position)
                if chunk is None:
                    continue
                found = self._message(chunk, entry, by_id)
            except Exception as error:  # a damaged chunk raises errors of any kind
                self.damage.add(f"the chunk at byte {entry.chunk_pos}", error)
                continue
            yield found

    def _unpacked(self, position: int) -> BinaryIO:
        assert self.bio
        chunk = self.chunks[position]
        self.bio.seek(chunk.datapos)
        return BytesIO(chunk.decompressor(read_bytes(self.bio, chunk.datasize)))

    def _message(
        self, chunk: BinaryIO, entry: IndexData, by_id: dict[int, Connection]
    ) -> tuple[Connection, int, bytes]:
        chunk.seek(entry.offset)
        header = Header.read(chunk)
        while header.get_uint8("op") == RecordType.CONNECTION:
            chunk.seek(read_uint32(chunk), os.SEEK_CUR)
            header = Header.read(chunk)
        if header.get_uint8("op") != RecordType.MSGDATA or header.get_time("time") != entry.time:
            raise ValueError("there is no message where the index has one")
        data = read_bytes(chunk, read_uint32(chunk))
        return by_id[header.get_uint32("conn")], entry.time, data
