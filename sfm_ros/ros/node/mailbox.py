"""Bounded hand-over from a subscription's callback to the worker thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue of bounded length between a thread that puts items and one that takes them.

    ``newest``: one slot. An item that was not taken in time is replaced and counted, so that a
    slow consumer always works on the latest image.

    ``every``: all items in order. When the queue is full, ``put`` waits and counts that; the rest
    waits in the middleware's own queue.

    Attributes:
        replaced: how many items were replaced by a newer one (``newest``).
        waited: how many times ``put`` found the queue full and waited (``every``).
        closed: whether :meth:`close` was called.
    """

    def __init__(self, image_queue: str = "newest", capacity: int = 16) -> None:
        """Create an empty mailbox.

        Args:
            image_queue: ``newest`` or ``every``.
            capacity: longest queue of ``every``; ``newest`` has one slot.

        Raises:
            ValueError: another ``image_queue``, or a capacity below one.
        """
        if image_queue not in ("newest", "every"):
            raise ValueError(f"the image_queue is '{image_queue}', expected 'newest' or 'every'")
        if capacity < 1:
            raise ValueError(f"the capacity is {capacity}, expected at least 1")
        self._waits_for_room = image_queue == "every"
        self._capacity = capacity if self._waits_for_room else 1
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self.closed = False
        self.replaced = self.waited = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Add an item; False, and the item is dropped, once the mailbox is closed."""
        with self._changed:
            if len(self._items) >= self._capacity:
                self._make_room()
            if self.closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def _make_room(self) -> None:
        if not self._waits_for_room:
            self._items.popleft()
            self.replaced += 1
            return
        self.waited += 1
        self._changed.wait_for(lambda: self.closed or len(self._items) < self._capacity)

    def wait(self) -> bool:
        """Wait until there is an item; False once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.closed)
            return not self.closed

    def get(self, timeout_s: float | None = None) -> T | None:
        """The oldest item; None if none arrives in time or the mailbox is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.closed, timeout_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Refuse new items and end all waits; what is queued can still be taken."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
