"""Whether measuring depth from several views pays on this machine."""

from __future__ import annotations

from statistics import median

_FRAMES = 30
_SHARE = 0.7
"""Of the time between images that a whole step may take."""


class StepBudget:
    """Decides once, from the time that the first steps took.

    If the median step takes more than 0.7 of the time between images, images would be dropped
    sooner or later, and an image that is dropped costs the odometry more than depth gains.

    Attributes:
        is_exceeded: the decision; False until there is one.
    """

    def __init__(self) -> None:
        self._steps_ns: list[int] = []
        self._intervals_ns: list[int] = []
        self.is_exceeded = False

    def add(self, step_ns: int, interval_ns: int) -> None:
        """Take the duration of a step, and the time since the image before."""
        if len(self._steps_ns) >= _FRAMES or interval_ns <= 0:
            return
        self._steps_ns.append(step_ns)
        self._intervals_ns.append(interval_ns)
        if len(self._steps_ns) == _FRAMES:
            limit = _SHARE * median(self._intervals_ns)
            self.is_exceeded = median(self._steps_ns) > limit
