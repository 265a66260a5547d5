"""Whether the covariance of the poses agrees with their errors.

NEES, the normalized estimation error squared (Bar-Shalom, Li and Kirubarajan 2001, section 5.4),
is e^T C^-1 e of an error e with covariance C; its mean is the number of dimensions if C is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import inverse, so3_log

_DIMENSIONS = 6
_LEAST_VARIANCE = 1e-12
"""Of a pose that has not moved."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Consistency:
    """Errors of the poses since the first one, in units of their covariance.

    Attributes:
        nees: (N,) normalized estimation error squared of position and rotation together.
        position, rotation: (N,) sigmas of their three dimensions, sqrt(e^T C^-1 e).
    """

    nees: FloatArray
    position: FloatArray
    rotation: FloatArray

    @property
    def mean_nees(self) -> float:
        """Mean per dimension: 1 if the covariance is right, above if it is too small."""
        return float(self.nees.mean()) / _DIMENSIONS


def score_consistency(
    estimate: FloatArray, ground_truth: FloatArray, covariances: FloatArray
) -> Consistency:
    """Compare poses with the ground truth, both in their first camera.

    Args:
        estimate, ground_truth: (N + 1, 4, 4) of the same stamps; the first is not scored.
        covariances: (N + 1, 6, 6) of the estimate: position, then rotation, in the fixed axes of
            its own world.
    """
    R_first = estimate[0, :3, :3].T
    moved, expected = (
        inverse(estimate[0]) @ estimate,
        np.linalg.inv(ground_truth[0]) @ ground_truth,
    )
    errors = np.empty((len(moved), _DIMENSIONS))
    errors[:, :3] = moved[:, :3, 3] - expected[:, :3, 3]
    for error, T, other in zip(errors, moved, expected, strict=True):
        error[3:] = so3_log(T[:3, :3] @ other[:3, :3].T)
    J = np.kron(np.eye(2), R_first)
    C = J @ covariances @ J.T + np.eye(_DIMENSIONS) * _LEAST_VARIANCE
    return Consistency(
        nees=_squared(errors[1:], C[1:]),
        position=np.sqrt(_squared(errors[1:, :3], C[1:, :3, :3])),
        rotation=np.sqrt(_squared(errors[1:, 3:], C[1:, 3:, 3:])),
    )


def _squared(errors: FloatArray, covariances: FloatArray) -> FloatArray:
    """(N,) e^T C^-1 e of (N, d) errors."""
    whitened = np.linalg.solve(covariances, errors[:, :, None])[:, :, 0]
    return np.asarray(np.maximum((errors * whitened).sum(axis=1), 0.0))


def fraction_within(sigmas: npt.ArrayLike) -> FloatArray:
    """Fraction of normal errors in three dimensions within k sigma: the chi distribution."""
    k = np.asarray(sigmas, dtype=np.float64)
    erf = np.vectorize(math.erf, otypes=[np.float64])(k / math.sqrt(2.0))
    return np.asarray(erf - math.sqrt(2.0 / math.pi) * k * np.exp(-0.5 * k * k))
