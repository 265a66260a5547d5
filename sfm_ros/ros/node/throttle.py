"""Repeated messages, said now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class LogThrottle:
    """Passes a message on unless it was said in the last ``period_s``.

    However many different messages there are, at most ``limit`` of them pass in a period.
    """

    def __init__(
        self,
        say: Callable[[str], object],
        period_s: float = 5.0,
        limit: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._period_s = period_s
        self._limit = limit
        self._clock = clock
        self._said: deque[tuple[float, str]] = deque()

    def __call__(self, message: str) -> None:
        """Say it, or leave it out."""
        now = self._clock()
        while self._said and now - self._said[0][0] >= self._period_s:
            self._said.popleft()
        if len(self._said) < self._limit and all(message != said for _, said in self._said):
            self._said.append((now, message))
            self._say(message)
