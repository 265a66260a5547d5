"""Unpacks the chunks, messages and files of bags, never to more than a limit.

rosbags unpacks what a bag asks for: 131 kB of mcap took 8.3 GB. Importing this module replaces its
decompressors by bounded ones.
"""

from __future__ import annotations

import shutil
import struct
import sys
from bz2 import BZ2Decompressor
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lz4.frame import LZ4FrameDecompressor
from rosbags.rosbag1 import reader as rosbag1_reader
from rosbags.rosbag2 import storage_mcap
from rosbags.rosbag2.metadata import parse_qos

from sfm_ros.errors import UnsafeFileError
from sfm_ros.safety import limits
from sfm_ros.safety.documents import parse_yaml
from sfm_ros.safety.files import open_regular

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MOST_FRAMES = 64
"""Writers make one frame; each one more copies the data that follow it."""
_ZSTD_HEADER = 18
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MCAP_HEAD, _MCAP_CHUNK, _RECORD_HEAD = struct.Struct("<BQQQQ"), 0x06, 9
"""The start of a record, read as that of a chunk: kind, length, times, unpacked size."""
_BLOCK = 2**20


class UnpackError(UnsafeFileError):
    """Packed data is damaged, or larger than is accepted."""


class CutOffError(UnpackError):
    """Packed data ends early."""


def unpack(data: bytes, limit: int, make: Callable[[], Any] = zstd.ZstdDecompressor) -> bytes:
    """Unpacked data.

    Args:
        data: one or several frames.
        limit: most bytes to unpack.
        make: makes the decompressor of a frame, by default zstd's.

    Raises:
        UnpackError: there are more bytes, or the data is cut off.
    """
    parts: list[bytes] = []
    left = limit
    for _ in range(_MOST_FRAMES):
        decompressor = make()
        parts.append(decompressor.decompress(data, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise UnpackError(f"it holds packed data of more than {limit} bytes")
        if not decompressor.eof:
            raise CutOffError("packed data is cut off")
        data = decompressor.unused_data
        if not data:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise UnpackError(f"packed data consists of more than {_MOST_FRAMES} frames")


def unpack_message(data: bytes) -> bytes:
    """A message of a bag that is compressed message by message."""
    return unpack(data, limits.BAG_CHUNK)


def is_packed(data: bytes) -> bool:
    """Whether a message of ROS 2 is compressed: CDR starts with another number than zstd."""
    return data[: len(_ZSTD_MAGIC)] == _ZSTD_MAGIC


def unpack_files(files: Sequence[Path], folder: Path) -> list[Path]:
    """Unpack zstd files into a folder; returns the new files, without the suffix.

    Raises:
        OSError: a file cannot be read or written.
        UnpackError: they need more than `limits.BAG_UNPACKED` or the free disk, or are damaged.
    """
    left = min(limits.BAG_UNPACKED, shutil.disk_usage(folder).free - limits.BAG_DISK_RESERVE)
    declared = sum(map(_declared_size, files))
    if declared > left:
        raise UnpackError(
            f"its files are {declared} bytes when unpacked, {folder} takes {max(left, 0)} of one "
            "bag; unpack them yourself, with zstd -d"
        )
    unpacked = [folder / file.stem for file in files]
    for file, target in zip(files, unpacked, strict=True):
        left = _unpack_file(file, target, left)
    return unpacked


def _declared_size(file: Path) -> int:
    """Size that the header of a zstd file states; 0 if it states none."""
    with open_regular(file) as stream:
        head = stream.read(_ZSTD_HEADER)
    try:
        return zstd.get_frame_info(head).decompressed_size or 0
    except zstd.ZstdError as error:
        raise UnpackError(f"{file} is no zstd file: {error}") from error


def _unpack_file(file: Path, target: Path, left: int) -> int:
    """Unpack a file; returns how many of the ``left`` bytes are left."""
    limit = left
    try:
        with (
            open_regular(file) as packed,
            zstd.ZstdFile(packed) as stream,
            target.open("wb") as out,
        ):
            while block := stream.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise UnpackError(f"{file} unpacks to more than {limit} bytes")
                out.write(block)
    except (zstd.ZstdError, EOFError) as error:
        raise UnpackError(f"{file} is damaged: {error}") from error
    return left


def check_chunks(files: Sequence[Any]) -> None:
    """Make sure that the chunks of a bag that are unpacked together fit into memory.

    These are the chunks that cover one moment, and one of each mcap file without an index.

    Args:
        files: rosbags' readers of the storage files, open.

    Raises:
        UnpackError: they do not.
    """
    mcaps = [file for file in files if isinstance(file, storage_mcap.McapReader)]
    scanned = [file for file in mcaps if not file.chunks]
    total = sum(map(_largest_chunk, scanned)) if len(scanned) > 1 else 0
    changes = [(-1, total)]
    for chunk in (chunk for file in mcaps for chunk in file.chunks):
        changes.append((chunk.message_start_time, chunk.uncompressed_size))
        changes.append((chunk.message_end_time + 1, -chunk.uncompressed_size))
    total = 0
    for _, size in sorted(changes):
        total += size
        if total > limits.BAG_OPEN_CHUNKS:
            raise UnpackError(
                f"its chunks of one moment are more than {limits.BAG_OPEN_CHUNKS} bytes unpacked"
            )


def _largest_chunk(file: storage_mcap.McapReader) -> int:
    """Unpacked size that the largest chunk of an mcap file states, for a file without an index."""
    largest, at = 0, file.data_start
    with open_regular(Path(str(file.path))) as stream:
        while at < file.data_end:
            stream.seek(at)
            head = stream.read(_MCAP_HEAD.size)
            kind, length, *_, size = _MCAP_HEAD.unpack(head.ljust(_MCAP_HEAD.size, b"\0"))
            largest = max(largest, size if kind == _MCAP_CHUNK else 0)
            at += _RECORD_HEAD + length
    return largest


def _mcap_chunk(make: Callable[[], Any] | None, data: bytes, size: int) -> bytes:
    """A chunk whose header states its unpacked size."""
    if size > limits.BAG_CHUNK:
        raise UnpackError(
            f"a chunk is {size} bytes when unpacked, expected at most {limits.BAG_CHUNK}"
        )
    return data if make is None else unpack(data, size, make)


def _rosbag1_chunk(make: Callable[[], Any], data: bytes) -> bytes:
    return unpack(data, limits.BAG_CHUNK, make)


def quality_of_service(profiles: Any) -> list[Any]:
    """rosbags' own reader of the profiles of a topic, after their text was examined.

    None of them if they are damaged: nothing that is read depends on them.
    """
    try:
        return parse_qos(parse_yaml(profiles) if isinstance(profiles, str) else profiles)
    except UnsafeFileError:
        raise
    except Exception:  # of any kind
        return []


def _limit_rosbags() -> None:
    for name, make in (("", None), ("lz4", LZ4FrameDecompressor), ("zstd", zstd.ZstdDecompressor)):
        storage_mcap.DECOMPRESSORS[name] = partial(_mcap_chunk, make)
    for name, make in (("lz4", LZ4FrameDecompressor), ("bz2", BZ2Decompressor)):
        rosbag1_reader.decompressors[name] = partial(_rosbag1_chunk, make)
    storage_mcap.parse_qos = quality_of_service  # type: ignore[assignment]


_limit_rosbags()
