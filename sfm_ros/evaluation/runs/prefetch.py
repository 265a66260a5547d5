"""Reads ahead: the next images are decoded in a thread while the networks look at this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_POLL_S = 0.1


def prefetched(items: Iterable[_Item], ahead: int = 3) -> Generator[_Item, None, None]:
    """The same items in the same order, up to ``ahead`` of them made before they are asked for.

    An error of the source is raised where its item would have come. The thread ends when the
    iteration does, however it ends; close the generator where it may be left early.
    """
    reader = _Reader(items, ahead)
    reader.start()
    try:
        while True:
            got = reader.ready.get()
            if isinstance(got, _Ended):
                if got.error is not None:
                    raise got.error
                return
            yield got
    finally:
        reader.stop()


class _Ended:
    """The source has no more items, or failed."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


class _Reader(threading.Thread, Generic[_Item]):
    """Puts items into a queue until they end or nobody wants them."""

    def __init__(self, items: Iterable[_Item], ahead: int) -> None:
        super().__init__(name="sfm_prefetch", daemon=True)
        self.ready: queue.Queue[_Item | _Ended] = queue.Queue(ahead)
        self._items = items
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._stopped.is_set():
                    return
        except Exception as error:  # it is raised again by the one who waits
            self._put(_Ended(error))
        else:
            self._put(_Ended(None))

    def stop(self) -> None:
        """End the thread; what lies in the queue is lost."""
        self._stopped.set()
        self.join()

    def _put(self, entry: _Item | _Ended) -> None:
        while not self._stopped.is_set():
            try:
                self.ready.put(entry, timeout=_POLL_S)
            except queue.Full:
                continue
            return
