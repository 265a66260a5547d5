"""Limits the rate at which images are processed."""

from __future__ import annotations

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
