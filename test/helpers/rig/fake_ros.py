"""What the parts of the node need of a node, without a middleware."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from sfm_ros.bags.transform_tree import TransformTree
from sfm_ros.datatypes import FloatArray


class FakePublisher:
    """A publisher with one subscriber, which keeps what is published.

    Args:
        topic: its name.
        check: called with each message.
    """

    def __init__(self, topic: str, check: Callable[[str, Any], None]) -> None:
        self.topic = topic
        self._check = check
        self.messages: list[Any] = []

    def get_subscription_count(self) -> int:
        return 1

    def publish(self, message: Any) -> None:
        self._check(self.topic, message)
        self.messages.append(message)


class FakeLogger:
    """Keeps what is logged, as level and text."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level: str) -> Callable[..., bool]:
        def log(text: str, **_: Any) -> bool:
            self.lines.append((level, text))
            return True

        return log

    def texts(self, level: str) -> list[str]:
        return [text for found, text in self.lines if found == level]


class FakeNode:
    """A node of publishers, a logger and a clock.

    Args:
        check: called with topic and message of everything that is published.
        logger: by default one that keeps what is logged.
    """

    def __init__(
        self, check: Callable[[str, Any], None] = lambda *_: None, logger: Any = None
    ) -> None:
        self._check = check
        self._logger = logger or FakeLogger()
        self.publishers: dict[str, FakePublisher] = {}
        self.context_is_ok = True
        self.context = SimpleNamespace(ok=lambda: self.context_is_ok)

    def create_publisher(self, _: type, topic: str, __: Any) -> FakePublisher:
        return self.publishers.setdefault(topic, FakePublisher(topic, self._check))

    def destroy_publisher(self, publisher: FakePublisher) -> None:
        del self.publishers[publisher.topic]

    def get_logger(self) -> Any:
        return self._logger

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=time.time_ns()))

    def published(self, topic: str) -> list[Any]:
        """Messages on a topic so far."""
        return self.publishers[topic].messages


class FakeLookup:
    """TF as a tree that a test fills.

    Attributes:
        tree: the transforms.
        receives: the topics that are still subscribed to.
    """

    def __init__(self) -> None:
        self.tree = TransformTree()
        self.receives = {"/tf", "/tf_static"}
        self.node: Any = FakeNode()

    def find(self, target: str, source: str, stamp_ns: int | None = None) -> FloatArray | None:
        return self.tree.lookup(target, source, stamp_ns)

    def is_static(self, target: str, source: str) -> bool:
        return self.tree.static_transform(target, source) is not None

    def has_parent(self, frame: str) -> bool:
        return self.tree.has_parent(frame)

    def ignore_moving(self) -> None:
        self.receives.discard("/tf")

    def close(self) -> None:
        self.receives.clear()
