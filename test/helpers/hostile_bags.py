"""Bags that unpack to far more than they take."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2.storage_mcap import zstd

MAGIC = b"\x89MCAP0\r\n"
MIB = 2**20


@dataclass(frozen=True)
class PackedChunk:
    """A chunk of an mcap file: packed data, the size that is stated, and its times."""

    data: bytes
    stated: int
    start_ns: int = 0
    end_ns: int = 10


def packed_message(mib: int) -> bytes:
    """A chunk with one message of so many MiB of zeros, packed."""
    packer = zstd.ZstdCompressor()
    head = struct.pack("<BQHIQQ", 0x05, 22 + mib * MIB, 1, 0, 5, 5)
    zeros = bytes(MIB)
    parts = [packer.compress(head), *(packer.compress(zeros) for _ in range(mib))]
    return b"".join([*parts, packer.flush()])


def size_of_message(mib: int) -> int:
    """The unpacked size of `packed_message`."""
    return 31 + mib * MIB


def write_mcap(
    path: Path, chunks: Sequence[PackedChunk], index: bool = True, qos: str = ""
) -> Path:
    """An mcap file of one topic ``/image``; without its index it is scanned."""
    described = _description(qos)
    data = MAGIC + _record(0x01, _text("ros2") + _text("hostile"))
    data += b"" if index else described
    places: list[tuple[int, int]] = []
    for chunk in chunks:
        record = struct.pack("<QQQI", chunk.start_ns, chunk.end_ns, chunk.stated, 0)
        record += _text("zstd") + struct.pack("<Q", len(chunk.data)) + chunk.data
        places.append((len(data), len(_record(0x06, record))))
        data += _record(0x06, record)
        data += _record(0x07, struct.pack("<HIQQ", 1, 16, 5, 0)) if index else b""
    summary = len(data) if index else 0
    if index:
        data += described + _chunk_index(chunks, places) + _statistics(len(chunks))
    data += _record(0x02, struct.pack("<QQI", summary, 0, 0)) + MAGIC
    path.write_bytes(data)
    return path


def _description(qos: str) -> bytes:
    schema = struct.pack("<H", 1) + _text("sensor_msgs/msg/Image") + _text("ros2msg") + _text("")
    metadata = _text("offered_qos_profiles") + _text(qos) if qos else b""
    channel = struct.pack("<HH", 1, 1) + _text("/image") + _text("cdr")
    channel += struct.pack("<I", len(metadata)) + metadata
    return _record(0x03, schema) + _record(0x04, channel)


def _chunk_index(chunks: Sequence[PackedChunk], places: Sequence[tuple[int, int]]) -> bytes:
    records = b""
    for chunk, (start, length) in zip(chunks, places, strict=True):
        record = struct.pack("<QQQQ", chunk.start_ns, chunk.end_ns, start, length)
        record += struct.pack("<IHQ", 10, 1, start + length) + struct.pack("<Q", 31)
        record += _text("zstd") + struct.pack("<QQ", len(chunk.data), chunk.stated)
        records += _record(0x08, record)
    return records


def _statistics(count: int) -> bytes:
    counts = struct.pack("<QHIIIIQQ", count, 1, 1, 0, 0, count, 0, 10)
    return _record(0x0B, counts + struct.pack("<IHQ", 10, 1, count))


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text.encode())) + text.encode()
