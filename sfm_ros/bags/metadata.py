"""The files of a ROS 2 bag, from its ``metadata.yaml``.

rosbags' own reader of folders is not used: it yields no message of a topic whose quality of
service differs between the metadata and the storage, as older recorders wrote it, and it sets no
limits to what it reads and unpacks. The files themselves need no metadata.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from sfm_ros.bags.repair import advice_for
from sfm_ros.errors import UnsafeFileError
from sfm_ros.safety.documents import read_yaml
from sfm_ros.safety.files import member

METADATA = "metadata.yaml"
ROS2_SUFFIXES = (".mcap", ".db3")
ROOT = "rosbag2_bagfile_information"
PACKED = ".zstd"
_MODES = ("none", "file", "message")
_NEWEST = 9
_COMPUTED = re.compile(r"\bAS\b|\bVIRTUAL\b", re.IGNORECASE)


class MetadataError(UnsafeFileError):
    """The metadata of a bag is damaged, or lists other files than those of a bag."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BagStorage:
    """What a bag consists of.

    Attributes:
        files: the storage files, with the suffix ``.zstd`` if each is compressed.
        packed_messages: whether each message is compressed.
        counts: topic -> number of messages that the recorder counted; empty if unknown.
    """

    files: tuple[Path, ...]
    packed_messages: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)


def read_metadata(folder: Path) -> BagStorage:
    """The storage of a bag's folder.

    Raises:
        OSError: there is no metadata.
        UnsafeFileError: it is damaged, of an unknown version, or lists anything but storage files
            of this folder.
    """
    document = read_yaml(member(folder, METADATA))
    information = document.get(ROOT) if isinstance(document, Mapping) else None
    if not isinstance(information, Mapping):
        raise MetadataError(f"{METADATA} has no block {ROOT}")
    version, names = information.get("version"), information.get("relative_file_paths")
    if not isinstance(version, int) or version > _NEWEST:
        raise MetadataError(f"{METADATA} has the version {version}, expected up to {_NEWEST}")
    if not isinstance(names, list):
        raise MetadataError(f"{METADATA} has no relative_file_paths")
    mode = _compression(information)
    files = tuple(_storage_file(folder, name, mode) for name in names)
    counts = _counts(information.get("topics_with_message_count"))
    return BagStorage(files=files, packed_messages=mode == "message", counts=counts)


def _counts(topics: object) -> dict[str, int]:
    """The numbers of messages that can be read of a list of topics."""
    counts = {}
    for entry in topics if isinstance(topics, list) else []:
        topic = entry.get("topic_metadata") if isinstance(entry, Mapping) else None
        name = topic.get("name") if isinstance(topic, Mapping) else None
        count = entry.get("message_count") if isinstance(entry, Mapping) else None
        if isinstance(name, str) and isinstance(count, int):
            counts[name] = count
    return counts


def _compression(information: Mapping[str, Any]) -> str:
    mode = str(information.get("compression_mode") or "none").lower()
    kind = information.get("compression_format")
    if mode not in _MODES or (mode != "none" and kind != "zstd"):
        raise MetadataError(f"the compression {kind!r} by {mode!r} is not supported, only zstd")
    return mode


def _storage_file(folder: Path, name: object, mode: str) -> Path:
    # Old metadata names the files with the bag's folder in front.
    file = member(folder, PurePath(name).name if isinstance(name, str) else name)
    suffix = file.with_suffix("").suffix if mode == "file" else file.suffix
    if suffix not in ROS2_SUFFIXES or (mode == "file" and file.suffix != PACKED):
        expected = ", ".join(s + PACKED * (mode == "file") for s in ROS2_SUFFIXES)
        raise MetadataError(f"it lists {file.name}, expected a file ending in {expected}")
    if not file.is_file():
        raise MetadataError(f"the file {file.name} is missing")
    return file


def read_only_address(file: Path) -> str:
    """The address by which SQLite neither changes nor locks a file."""
    return f"file:{quote(str(file.absolute()))}?mode=ro&immutable=1"


def check_tables(file: Path) -> None:
    """Make sure that an SQLite file holds what it lists: a view or a formula may be endless.

    Raises:
        MetadataError: it computes values, or is no SQLite file.
    """
    try:
        with closing(sqlite3.connect(read_only_address(file), uri=True)) as connection:
            rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        reason = f"{file.name} is no SQLite file: {error}; {advice_for(file)}"
        raise MetadataError(reason) from error
    for kind, name, text in rows:
        if kind not in ("table", "index") or _COMPUTED.search(str(text)):
            raise MetadataError(f"{file.name} has the {kind} {name}, expected tables of values")
