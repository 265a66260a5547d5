"""What a bag holds that can be published: topics, message classes, quality of service."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from sfm_ros.errors import SourceError

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_DEPTH = 10
# Fast DDS asks for acknowledgements every 3 s, but with each message where the history is full,
# and one of a single message always is.
_LOCKSTEP_DEPTH = 1
_LATCHED_DEPTH = 100


@dataclass(frozen=True, kw_only=True)
class Track:
    """One topic of a bag.

    Attributes:
        topic: its name in the bag.
        type_name: as in ``sensor_msgs/msg/Image``.
        message_class: the Python class.
        is_latched: whether late subscribers are to receive it too.
        count: messages in the bag.
    """

    topic: str
    type_name: str
    message_class: type
    is_latched: bool
    count: int

    @property
    def is_image(self) -> bool:
        """Whether it carries pictures."""
        return self.type_name in IMAGE_TYPES

    def qos(self, best_effort: bool = False, lockstep: bool = False) -> QoSProfile:
        """Quality of service to publish it with.

        Args:
            best_effort: as a camera driver does; else reliable, which every subscriber accepts.
            lockstep: each message is acknowledged before the next one is sent.
        """
        if self.is_latched:
            return QoSProfile(depth=_LATCHED_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        policy = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        return QoSProfile(depth=_LOCKSTEP_DEPTH if lockstep else _DEPTH, reliability=policy)


class OpenBag:
    """A bag opened for playing; a context manager.

    Args:
        path: a ROS 1 ``.bag`` file, a ROS 2 bag folder, or one of its ``.db3`` or ``.mcap`` files.
        topics: only these; all where empty.
        say: logs one line.

    Raises:
        SourceError: there is no such bag, it cannot be read, is empty, or lacks a topic.
    """

    def __init__(
        self, path: Path, topics: Sequence[str] = (), say: Callable[[str], object] = print
    ) -> None:
        self.path = Path(path)
        self._say = say
        self._store = get_typestore(Stores.ROS2_JAZZY)
        if not self.path.exists():
            raise SourceError(f"there is no bag at {self.path}")
        self._reader = self._open()
        try:
            self._refuse_missing(topics)
            self.tracks = list(self._find_tracks(topics))
            if not self.tracks:
                raise SourceError(f"{self.path} holds nothing that can be published here")
        except SourceError:
            self._reader.close()
            raise

    def __enter__(self) -> OpenBag:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._reader.close()

    def _open(self) -> AnyReader:
        try:
            reader = AnyReader([self.path], default_typestore=self._store)
            reader.open()
        except Exception as error:  # a damaged bag fails in rosbags, sqlite, mcap, yaml or struct
            raise SourceError(
                f"cannot read the bag {self.path}: {error or type(error).__name__}; expected a "
                "ROS 1 .bag file or a ROS 2 bag folder (sqlite3 or mcap)"
            ) from error
        if reader.message_count == 0:
            reader.close()
            raise SourceError(f"the bag {self.path} is empty: it holds no messages")
        return reader

    def _refuse_missing(self, topics: Sequence[str]) -> None:
        missing = [topic for topic in topics if topic not in self._reader.topics]
        if missing:
            found = "".join(
                f"\n  {name}  [{info.msgtype}, {info.msgcount} messages]"
                for name, info in sorted(self._reader.topics.items())
            )
            raise SourceError(f"the bag {self.path} has no topic {missing[0]}; it has:{found}")

    def _find_tracks(self, topics: Sequence[str]) -> Iterator[Track]:
        for topic, info in sorted(self._reader.topics.items()):
            if (topics and topic not in topics) or info.msgcount == 0:
                continue
            message_class = _message_class(info.msgtype or "")
            if message_class is None:
                self._say(f"skipping {topic}: the type {info.msgtype} is not installed")
                continue
            yield Track(
                topic=topic,
                type_name=info.msgtype or "",
                message_class=message_class,
                is_latched=any(_is_latched(c.ext) for c in info.connections),
                count=info.msgcount,
            )

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time of recording in ns, serialized message) in order of time.

        Raises:
            SourceError: the bag is damaged further on; names how far it could be read.
        """
        wanted = {track.topic for track in self.tracks}
        connections = [c for c in self._reader.connections if c.topic in wanted]
        done = 0
        try:
            for connection, time_ns, raw in self._reader.messages(connections):
                if not self._reader.is2:
                    raw = bytes(self._store.ros1_to_cdr(raw, connection.msgtype))
                yield connection.topic, time_ns, bytes(raw)
                done += 1
        except GeneratorExit:
            raise
        except Exception as error:
            raise SourceError(
                f"the bag {self.path} is damaged after {done} messages: {error}"
            ) from error


def _message_class(type_name: str) -> type | None:
    """The class of ``package/msg/Name``, or None where it is not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except (ImportError, ValueError):
        return None


def _is_latched(extension: Any) -> bool:
    """Whether a connection was latched (ROS 1) or transient local (ROS 2)."""
    if hasattr(extension, "latching"):
        return bool(extension.latching)
    return any(qos.durability.name == "TRANSIENT_LOCAL" for qos in extension.offered_qos_profiles)
