"""The topics of a bag that can be published: message classes and quality of service."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_full_topic_name import validate_full_topic_name
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from sfm_ros.bags.camera import IMAGE_TYPES
from sfm_ros.bags.reader import BagFile
from sfm_ros.errors import SourceError
from sfm_ros.ros.process.refusals import reason_of

_DEPTH = 10
# Fast DDS requests acknowledgements every 3 s, but with each message if the history is full, and a
# history of one message always is.
_OFFLINE_DEPTH = 1
_LATCHED_DEPTH = 100


@dataclass(frozen=True)
class Track:
    """One topic of a bag.

    Attributes:
        topic: its name in the bag.
        type_name: as in ``sensor_msgs/msg/Image``.
        message_class: the Python class.
        count: messages in the bag.
        is_latched: subscribers that start later receive it too.
    """

    topic: str
    type_name: str
    message_class: type
    count: int
    is_latched: bool = False

    @property
    def is_image(self) -> bool:
        """Whether its messages are images."""
        return self.type_name in IMAGE_TYPES

    def qos(self, best_effort: bool = False, offline: bool = False) -> QoSProfile:
        """Quality of service to publish it with.

        Args:
            best_effort: like a camera driver; else reliable, which matches every subscriber.
            offline: each message is acknowledged before the next one is published.
        """
        if self.is_latched:
            return QoSProfile(depth=_LATCHED_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        policy = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
        return QoSProfile(depth=_OFFLINE_DEPTH if offline else _DEPTH, reliability=policy)


class Playable(Protocol):
    """A recording that the player can publish."""

    tracks: list[Track]

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time of recording in ns, message in CDR) in order of time."""


class PlayableBag:
    """The topics of a bag that can be published here.

    Args:
        path: any bag :class:`sfm_ros.bags.reader.BagFile` opens.
        topics: only these; all if empty.
        log: logs one line.

    Raises:
        SourceError: there is no such bag, it cannot be read, is empty, lacks a topic, or a
            requested topic has a name that ROS 2 does not allow.
    """

    def __init__(
        self, path: Path, topics: Sequence[str] = (), log: Callable[[str], object] = print
    ) -> None:
        self._file = BagFile(path)
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._log = log
        self._refused: set[str] = set()
        if not self._file.topics:
            raise SourceError(f"the bag {path} is empty: it holds no messages")
        topics = [self._file.named(topic) for topic in topics]
        for topic in topics:
            if topic not in self._file.topics:
                raise SourceError(f"the bag {path} has no topic {topic}; it has:{self._listing()}")
        self.tracks = list(self._find_tracks(topics))
        if not self.tracks:
            raise SourceError(
                f"nothing in the bag {path} can be published here: no topic in it has both an "
                f"installed message type and a valid name; it has:{self._listing()}"
            )

    def _listing(self) -> str:
        rows = sorted(self._file.topics.items())
        return "".join(f"\n  {name}  [{kind}, {count} messages]" for name, (kind, count) in rows)

    def _find_tracks(self, topics: Sequence[str]) -> Iterator[Track]:
        latched = {c.topic for c in self._file.connections if _is_latched(c.ext)}
        for topic, (kind, count) in sorted(self._file.topics.items()):
            if topics and topic not in topics:
                continue
            fault = _fault_of_name(topic)
            if fault and topics:
                raise SourceError(f"{topic} cannot be played: not a valid name, {fault}")
            if fault:
                self._log(f"skipping {topic}: not a valid name, {fault}")
                continue
            message_class = message_class_of(kind)
            if message_class is None:
                self._log(f"skipping {topic}: the type {kind} is not installed")
                continue
            # Subscribers that start later need these, with whatever QoS they were recorded.
            is_latched = topic in latched or topic.endswith("/tf_static")
            yield Track(topic, kind, message_class, count, is_latched)

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """See `Playable`.

        A topic of ROS 1 whose messages have another definition in ROS 2 is skipped from the first
        message that shows it.

        Raises:
            SourceError: the bag is damaged further on, or every topic is skipped.
        """
        topics = [track.topic for track in self.tracks]
        for connection, time_ns, raw in self._file.serialized(topics):
            topic, kind = connection.topic, connection.msgtype
            if topic in self._refused:
                continue
            try:
                cdr = self._store.ros1_to_cdr(raw, kind) if self._file.is_ros1 else raw
            except SerdeError:
                self._refuse(topic, kind)
                continue
            yield topic, time_ns, bytes(cdr)

    def _refuse(self, topic: str, kind: str) -> None:
        reason = f"its messages do not fit ROS 2's definition of {kind}"
        self._refused.add(topic)
        if all(track.topic in self._refused for track in self.tracks):
            raise SourceError(f"{topic} cannot be played: {reason}; nothing else is left to play")
        self._log(f"skipping {topic}: {reason}")


def message_class_of(type_name: str) -> type | None:
    """The class of ``package/msg/Name``, or None if it is not installed."""
    package, _, name = type_name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except (ImportError, ValueError):
        return None


def _fault_of_name(topic: str) -> str:
    """Why ROS 2 does not allow a topic's name; empty if it does."""
    try:
        # Bags of ROS 1 may omit the leading slash; such topics join the player's namespace.
        validate_full_topic_name(topic if topic.startswith("/") else f"/{topic}")
    except InvalidTopicNameException as error:
        return reason_of(error).partition(": ")[2]
    return ""


def _is_latched(extension: Any) -> bool:
    """Whether a connection was latched (ROS 1) or transient local (ROS 2)."""
    if hasattr(extension, "latching"):
        return bool(extension.latching)
    return any(qos.durability.name == "TRANSIENT_LOCAL" for qos in extension.offered_qos_profiles)
