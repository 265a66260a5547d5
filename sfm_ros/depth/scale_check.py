"""Whether the length of the motion can be right, by what is measured with it."""

from __future__ import annotations

_JUMP, _CORRECTION = 0.05, 0.2
"""Of the logarithm, against the depth before: more is doubted, and if it lasts and is no more than
a correction of the scale it is accepted. Without faults 0.03 was not exceeded."""
_LASTS = 5
"""Frames."""
_OFF = 0.27
"""Of the logarithm, against the network, averaged over some frames. Measured on rendered streets
and real drives: up to 0.2 without faults, 0.3 to 0.5 with lengths wrong by a half."""
_UNUSUAL = 0.15
"""Of the same logarithm, without averaging, against what it was before a doubt."""
_AVERAGING, _FORGETTING = 0.3, 0.01
"""Per frame, without and with a doubt: no doubt lasts for ever."""


class ScaleCheck:
    """Doubts a measurement of which all depth is off by one factor: so is the motion's length."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again."""
        self._off: float | None = None
        self._usual = 0.0
        self._doubts = 0

    def is_wrong(self, from_network: float, from_before: float) -> bool:
        """Whether the next measurement contradicts what was known.

        Once there is a doubt, the ratio to the network must be as before, too: by then little is
        left of the depth before.

        Args:
            from_network: logarithm of the measured inverse depth over the network's, which may be
                off by itself.
            from_before: the same over that of the frames before; 0 without any.
        """
        last = from_network if self._off is None else self._off
        self._off = last + _AVERAGING * (from_network - last)
        limit = _CORRECTION if self._doubts >= _LASTS else _JUMP
        is_wrong = abs(self._off) > _OFF or abs(from_before) > limit
        if self._doubts:
            is_wrong |= abs(from_network - self._usual) > _UNUSUAL
        self._doubts = self._doubts + 1 if is_wrong else 0
        pace = _FORGETTING if is_wrong else _AVERAGING
        self._usual += pace * (from_network - self._usual)
        return is_wrong
