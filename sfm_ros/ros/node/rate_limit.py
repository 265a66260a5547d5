"""Limits the rate at which images are processed, and lines are logged."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONG_S = 3600.0


class RateLimit:
    """Admits images at a limited rate, evenly.

    An admitted image is processed at once: one that arrives too early is dropped, rather than kept
    until it is due, when it would be old. A camera that runs at the limit keeps all its images
    although they arrive up to a quarter of a period early or late: half a period of earliness is
    tolerated, and the next image is due that much later.
    """

    def __init__(self) -> None:
        self._due_s = float("-inf")

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Whether an image that arrives now is admitted.

        Args:
            now_s: steady time.
            rate_hz: the current limit; 0 sets none.
        """
        if rate_hz <= 0:
            return True
        period_s = 1 / rate_hz
        # The first image, or a due time left from a much lower rate.
        if not now_s - _LONG_S < self._due_s <= now_s + 1.5 * period_s:
            self._due_s = now_s
        if now_s < self._due_s - period_s / 2:
            return False
        self._due_s = max(self._due_s, now_s - period_s / 2) + period_s
        return True


class BurstLimit:
    """Admits as many events at once as in a minute, then evenly as many per minute.

    Args:
        per_minute: events.
        clock: steady time in seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = per_minute, clock
        self._left = float(per_minute)
        self._at_s = clock()

    def admits(self) -> bool:
        """Whether an event now is admitted."""
        now_s = self._clock()
        self._left = min(self._left + self._most * (now_s - self._at_s) / 60, self._most)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
