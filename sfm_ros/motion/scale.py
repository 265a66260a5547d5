"""The length of each step: a Kalman filter on its logarithm, and the sources that correct it.

The depths of the tracks predict the next length; the height over the road, a speed from outside
or the predicted depth corrects it (Kalman 1960). A correction far off is weighted down, so that
a wrong one never makes the scale jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_TRACKS_SIGMA = 0.008
"""Least drift per frame of the scale that tracks carry."""
_SPEED_SIGMA = 0.25
"""Of the change of speed between frames if no tracks give the ratio."""
_START_SIGMA = 1.0
_GATE = 3.0
_CONFIRMED = 5
"""Corrections in a row that agree, before a length is trusted: the first points that look like a
road may be those of the traffic ahead, and then all lengths are wrong by the same factor."""
_AGREES = 0.25
"""Of the logarithm: what a correction may differ by from a length that it confirms."""
_UNCONFIRMED_SIGMA = 1.0
_OFFSET_FRAMES = 100.0
_OFFSET_KNOWN = 5.0
"""Frames after which the offset is used, and a jump of it limited."""
_MAX_OFFSET_CHANGE = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Correction:
    """A measured length of the step.

    Attributes:
        log_length: its logarithm, published units.
        sigma: standard deviation of it.
        is_sure: whether it needs no other to confirm it.
    """

    log_length: float
    sigma: float
    is_sure: bool = True


class StepLength:
    """Length of the newest step."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the length."""
        self._log: float | None = None
        self._variance = _START_SIGMA**2
        self._dt_s, self._has_stopped, self._agreeing = 0.0, False, 0
        self.age_s = math.inf
        """Time since the last correction."""

    @property
    def length(self) -> float | None:
        """Length of the newest step in published units, or None if nothing gave one."""
        return None if self._log is None else math.exp(self._log)

    @property
    def sigma(self) -> float:
        """Relative standard deviation of ``length``."""
        is_open = 0 < self._agreeing < _CONFIRMED
        return _UNCONFIRMED_SIGMA if is_open else math.sqrt(self._variance)

    def predict(self, dt_s: float, by_tracks: tuple[float, float] | None) -> None:
        """Advance to the next step.

        Args:
            dt_s: its duration.
            by_tracks: logarithm of its length by the depth of the tracks and the deviation of
                it, or None: same speed.
        """
        self.age_s += dt_s
        if self._log is None:
            return
        if by_tracks is None and self._has_stopped:
            self._variance = _START_SIGMA**2
        elif by_tracks is not None:
            self._log = by_tracks[0]
            self._variance += max(by_tracks[1], _TRACKS_SIGMA) ** 2
        else:
            self._log += math.log(dt_s / self._dt_s) if self._dt_s > 0 else 0.0
            self._variance += _SPEED_SIGMA**2
        self._variance = min(self._variance, _START_SIGMA**2)
        self._dt_s, self._has_stopped = dt_s, False

    def stop(self, dt_s: float = 0.0) -> None:
        """The camera stands for a while: without tracks the next step may have any length."""
        self._has_stopped = True
        self.age_s += dt_s

    def correct(self, measured: Correction, dt_s: float, is_fallback: bool = False) -> float:
        """Take a measurement in.

        Until enough of them agree, or one is sure, one that differs starts the length again: which
        of the two is the outlier is not known.

        Returns:
            By how much the logarithm of the length changed.
        """
        self._dt_s = dt_s
        variance = measured.sigma**2
        innovation = 0.0 if self._log is None else measured.log_length - self._log
        starts_again = not is_fallback and self._starts_again(innovation, measured.is_sure)
        if self._log is None or starts_again:
            self._log, self._variance = measured.log_length, variance
            return innovation
        spread = math.sqrt(self._variance + variance)
        excess = abs(innovation) / (_GATE * spread)
        if excess > 1:  # an outlier counts less the further off it is
            variance *= excess**2
        gain = self._variance / (self._variance + variance)
        self._log += gain * innovation
        self._variance *= 1 - gain
        return gain * innovation

    def _starts_again(self, innovation: float, is_sure: bool) -> bool:
        """Count a correction by the source; whether it takes the place of the length."""
        self.age_s = 0.0
        differs = self._agreeing < _CONFIRMED and abs(innovation) > _AGREES
        agreeing = 1 if differs else self._agreeing + 1
        self._agreeing = _CONFIRMED if is_sure else agreeing
        return agreeing == 1

    def assume(self, log_length: float, dt_s: float) -> None:
        """Start with a length that nothing measured."""
        self._log, self._dt_s = log_length, dt_s


class DepthOffset:
    """Running mean of the logarithm of the factor from network units to published units."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget it."""
        self.log, self._weight = 0.0, 0.0

    @property
    def is_known(self) -> bool:
        """Whether enough frames have been seen."""
        return self._weight >= _OFFSET_KNOWN

    def update(self, log_factor: float) -> None:
        """Take the factor of one frame in; a jump is limited."""
        self._weight = min(self._weight + 1.0, _OFFSET_FRAMES)
        change = log_factor - self.log
        if self._weight > _OFFSET_KNOWN:
            change = max(-_MAX_OFFSET_CHANGE, min(_MAX_OFFSET_CHANGE, change))
        self.log += change / self._weight
