"""Lengths of the steps of a whole drive, from what each step was measured by.

The odometry filters forward: a length follows from earlier ones alone. Here all measurements of a
drive are weighed together (the least-squares form of a Rauch-Tung-Striebel smoother), with
outliers weighted down (Geman-McClure).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.motion.metric_scale import LengthEvidence

Mask = npt.NDArray[np.bool_]

_ITERATIONS = 15
_LEAST_RATIO_SIGMA = 0.02
"""Tracks carry the length of a step to the next with at least this error."""
_OUTLIER = 2.0
"""Standard deviations at which a ratio has lost three quarters of its weight; a measurement, whose
standard deviation stands for errors that last, at one half of it."""
_CONNECTED, _AGREES = 0.1, 0.15
"""Largest difference of a ratio, and of a measurement, from the lengths that it belongs to."""
_LEAST_AGREEING, _LEAST_PART, _NEAR = 3, 0.35, 50
"""Of the measurements of a run: how many agree with it, which part of them, and the steps up to
which one supports others."""
_STAY = 1e-6
"""Weight of the given lengths, so that those without any measurement keep them."""


def smoothed_lengths(log_lengths: FloatArray, evidence: Sequence[LengthEvidence]) -> FloatArray:
    """(N,) logarithms of the lengths of N steps in order of time.

    Args:
        log_lengths: (N,) as the odometry found them, to start from.
        evidence: of each step; the ratio is to the step before it in the list.
    """
    ratio, ratio_sigma = _columns([e.log_ratio for e in evidence])
    ratio[:1] = np.nan
    measured, measured_sigma = _columns(
        [None if (m := e.measured) is None else (m.log_length, m.sigma) for e in evidence]
    )
    links = 1 / np.maximum(ratio_sigma, _LEAST_RATIO_SIGMA) ** 2
    anchors = 1 / measured_sigma**2
    result = log_lengths
    for _ in range(_ITERATIONS):
        link_error = np.diff(result, prepend=0.0) - ratio
        link = links * _kept(link_error**2 * links / _OUTLIER**2)
        anchor = anchors * _kept((result - measured) ** 2 * anchors * _OUTLIER**2)
        diagonal = anchor + link + np.append(link[1:], 0.0) + _STAY
        pull = link * np.nan_to_num(ratio)
        right = anchor * np.nan_to_num(measured) + pull - np.append(pull[1:], 0.0)
        result = _solve_tridiagonal(diagonal, -link[1:], right + _STAY * log_lengths)
    return result


def supported(log_lengths: FloatArray, evidence: Sequence[LengthEvidence]) -> Mask:
    """(N,) whether the measurements support the smoothed lengths of these steps.

    Steps that ratios connect are right or wrong together: a few of their measurements must agree
    with them, and a good part of those that there are.
    """
    ratio, _ = _columns([e.log_ratio for e in evidence])
    measured = np.array([np.nan if (m := e.measured) is None else m.log_length for e in evidence])
    follows = np.abs(np.diff(log_lengths, prepend=np.nan) - ratio) < _CONNECTED
    run = np.cumsum(~follows)
    is_right = np.abs(measured - log_lengths) < _AGREES
    agrees, known = np.bincount(run, is_right), np.bincount(run, np.isfinite(measured))
    is_supported = (agrees >= _LEAST_AGREEING) & (agrees > _LEAST_PART * known)
    right = np.flatnonzero(is_right & is_supported[run])
    if not len(right):
        return np.zeros(len(run), dtype=bool)
    steps = np.arange(len(run))
    after = np.searchsorted(right, steps)
    beside = right[np.clip([after - 1, after], 0, len(right) - 1)]
    return np.asarray(is_supported[run] & (np.abs(beside - steps).min(axis=0) <= _NEAR))


def _columns(pairs: Sequence[tuple[float, float] | None]) -> tuple[FloatArray, FloatArray]:
    """Values and standard deviations; NaN and 1 where there is none."""
    rows = [(np.nan, 1.0) if pair is None else pair for pair in pairs]
    values, sigmas = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return values.copy(), sigmas


def _kept(squares: FloatArray) -> FloatArray:
    """Geman-McClure weights of squared errors, 0 where there is no measurement."""
    return np.where(np.isfinite(squares), 1 / (1 + np.nan_to_num(squares)) ** 2, 0.0)


def _solve_tridiagonal(diagonal: FloatArray, beside: FloatArray, right: FloatArray) -> FloatArray:
    """Solve a symmetric tridiagonal system (Thomas algorithm); ``beside`` has N - 1 entries."""
    pivots, values = diagonal.tolist(), right.tolist()
    for k, b in enumerate(beside.tolist(), start=1):
        factor = b / pivots[k - 1]
        pivots[k] -= factor * b
        values[k] -= factor * values[k - 1]
    result = np.zeros(len(values))
    for k in range(len(values) - 1, -1, -1):
        after = beside[k] * result[k + 1] if k + 1 < len(values) else 0.0
        result[k] = (values[k] - after) / pivots[k]
    return result
