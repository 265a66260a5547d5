"""How often images are let through."""

from __future__ import annotations

_LONG_S = 3600.0


class RateLimit:
    """Lets through at most so many a second, evenly.

    What is let through is processed at once: an image that comes too early is left out, rather
    than kept until its turn, when it would be old. A camera that runs at the limit keeps all its
    images although they come up to a quarter of a period early or late: half a period of
    earliness is forgiven, and made up for.
    """

    def __init__(self) -> None:
        self._due_s = float("-inf")

    def admits(self, now_s: float, rate_hz: float) -> bool:
        """Whether an image that comes now is let through.

        Args:
            now_s: steady time.
            rate_hz: the limit now; 0 sets none.
        """
        if rate_hz <= 0:
            return True
        period_s = 1 / rate_hz
        # The first one, or a time left over from a much lower rate.
        if not now_s - _LONG_S < self._due_s <= now_s + 1.5 * period_s:
            self._due_s = now_s
        if now_s < self._due_s - period_s / 2:
            return False
        self._due_s = max(self._due_s, now_s - period_s / 2) + period_s
        return True
