"""What is known of a camera's translation before its newest image is looked at: inertia.

A constant-velocity Kalman filter (Kalman 1960) whose measurement is the geometric refinement: the
velocity of the frame before and how well it was known, and how much it may have changed since.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray

_SMALLEST_CHANGE = 0.005
"""Network units per frame by which the translation of a camera that stands may always change."""
_SMALLEST_SIGMA = 0.02
"""Standard deviation of a predicted translation of zero, network units."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TranslationPrior:
    """A Gaussian over a translation.

    Attributes:
        mean: (3,) network units.
        information: (3, 3) inverse of its covariance.
    """

    mean: FloatArray
    information: FloatArray

    @classmethod
    def around(cls, translation: FloatArray, share: float) -> TranslationPrior:
        """A round one whose standard deviation is a share of the length."""
        sigma = share * float(np.linalg.norm(translation)) + _SMALLEST_SIGMA
        return cls(mean=np.array(translation, dtype=np.float64), information=np.eye(3) / sigma**2)

    def fused(self, other: TranslationPrior) -> TranslationPrior:
        """What both together know."""
        information = self.information + other.information
        pull = self.information @ self.mean + other.information @ other.mean
        mean: FloatArray = np.linalg.solve(information, pull).astype(np.float64)
        return TranslationPrior(mean=mean, information=information)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Velocity:
    """Of the last motion that was refined.

    Attributes:
        per_s: (3,) translation a second, in the axes of the camera before it.
        covariance: (3, 3) of ``per_s``.
        stamp_ns: until when it held.
    """

    per_s: FloatArray
    covariance: FloatArray
    stamp_ns: int


class ConstantVelocityModel:
    """Remembers the last velocity and predicts the next translation from it."""

    def __init__(self) -> None:
        self._last: _Velocity | None = None

    def forget(self) -> None:
        """The last motion is not known; nothing is predicted from it."""
        self._last = None

    def remember(
        self, translation: FloatArray, covariance: FloatArray, dt_s: float, stamp_ns: int
    ) -> None:
        """Take in a refined translation (3,), its covariance (3, 3), its duration and its end."""
        self._last = _Velocity(
            per_s=translation / dt_s, covariance=covariance / dt_s**2, stamp_ns=stamp_ns
        )

    def predict(self, begin_ns: int, dt_s: float, change_share: float) -> TranslationPrior | None:
        """The next translation, where the last motion ended when this one begins; else None.

        Args:
            begin_ns: stamp of the older frame.
            dt_s: time to the newer one.
            change_share: standard deviation of the change from a frame to the next, as a share.
        """
        last = self._last
        if last is None or last.stamp_ns != begin_ns:
            return None
        mean = last.per_s * dt_s
        change = change_share * float(np.linalg.norm(mean)) + _SMALLEST_CHANGE
        covariance = last.covariance * dt_s**2 + change**2 * np.eye(3)
        information: FloatArray = np.linalg.inv(covariance).astype(np.float64)
        return TranslationPrior(mean=mean, information=information)
