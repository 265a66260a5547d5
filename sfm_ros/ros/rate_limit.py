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


class _Allowance:
    """What may be spent: ``most`` at once, refilled evenly."""

    def __init__(self, per_s: float, most: float, clock: Callable[[], float]) -> None:
        self._per_s, self._most, self._clock = per_s, most, clock
        self._left, self._at_s = most, clock()

    def _refill(self) -> float:
        """What is left now."""
        now_s = self._clock()
        self._left = min(self._left + self._per_s * (now_s - self._at_s), self._most)
        self._at_s = now_s
        return self._left


class BurstLimit(_Allowance):
    """Admits as many events at once as in a minute, then evenly as many per minute.

    Args:
        per_minute: events.
        clock: steady time in seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(per_minute / 60, per_minute, clock)

    def admits(self) -> bool:
        """Whether an event now is admitted."""
        if self._refill() < 1:
            return False
        self._left -= 1
        return True


class TimeBudget(_Allowance):
    """Limits the share of a core that work takes; a context that measures the work.

    Args:
        share: of the time.
        burst_s: work that may be done at once, after as much rest.

    Attributes:
        refused: how many times `is_left` was False.
    """

    def __init__(
        self, share: float, burst_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(share, burst_s, clock)
        self.share, self.refused = share, 0

    def is_left(self) -> bool:
        """Whether more work may be done now."""
        left_s = self._refill()
        self.refused += left_s <= 0
        return left_s > 0

    def __enter__(self) -> None:
        self._begin_s = self._clock()

    def __exit__(self, *_: object) -> None:
        self._left -= self._clock() - self._begin_s
