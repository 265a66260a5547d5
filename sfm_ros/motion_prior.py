"""Prior of a camera's translation before its newest image is processed.

A constant-velocity Kalman filter (Kalman 1960) whose measurement is the geometric refinement: the
velocity at the last frame with its covariance, and how much it may have changed since.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray

_SMALLEST_CHANGE = 0.005
"""Network units per frame by which the translation of a standing camera may change."""
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
    def around(cls, translation: FloatArray, sigma_ratio: float) -> TranslationPrior:
        """An isotropic one; ``sigma_ratio`` is its standard deviation over the length."""
        sigma = sigma_ratio * float(np.linalg.norm(translation)) + _SMALLEST_SIGMA
        return cls(mean=np.array(translation, dtype=np.float64), information=np.eye(3) / sigma**2)

    def fused(self, other: TranslationPrior) -> TranslationPrior:
        """The product of both."""
        information = self.information + other.information
        pull = self.information @ self.mean + other.information @ other.mean
        mean: FloatArray = np.linalg.solve(information, pull).astype(np.float64)
        return TranslationPrior(mean=mean, information=information)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Velocity:
    """Velocity of the last refined motion.

    Attributes:
        per_s: (3,) translation per second, in the axes of the older camera.
        covariance: (3, 3) of ``per_s``.
        stamp_ns: stamp of the newer frame.
    """

    per_s: FloatArray
    covariance: FloatArray
    stamp_ns: int


class ConstantVelocityModel:
    """Predicts the next translation from the last velocity."""

    def __init__(self) -> None:
        self._last: _Velocity | None = None

    def forget(self) -> None:
        """Discard the last velocity; the next prediction is None."""
        self._last = None

    def update(
        self, translation: FloatArray, covariance: FloatArray, dt_s: float, stamp_ns: int
    ) -> None:
        """Add a refined translation (3,) with its covariance (3, 3), duration and end."""
        self._last = _Velocity(
            per_s=translation / dt_s, covariance=covariance / dt_s**2, stamp_ns=stamp_ns
        )

    def predict(self, start_ns: int, dt_s: float, sigma_ratio: float) -> TranslationPrior | None:
        """The next translation; None unless the last motion ended when this one starts.

        Args:
            start_ns: stamp of the older frame.
            dt_s: time to the newer one.
            sigma_ratio: standard deviation of the change between frames over the length.
        """
        last = self._last
        if last is None or last.stamp_ns != start_ns:
            return None
        mean = last.per_s * dt_s
        change = sigma_ratio * float(np.linalg.norm(mean)) + _SMALLEST_CHANGE
        covariance = last.covariance * dt_s**2 + change**2 * np.eye(3)
        information: FloatArray = np.linalg.inv(covariance).astype(np.float64)
        return TranslationPrior(mean=mean, information=information)
