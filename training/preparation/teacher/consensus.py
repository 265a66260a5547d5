"""One inverse depth from several pairs of images: the largest group that agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.preparation.teacher.pair import PairDepth
from training.preparation.teacher.view import Map, Mask, View

_ITERATIONS = 2
_SIGMAS, _RELATIVE = 2.5, 0.04
"""Largest distance of a measurement from the mean: standard deviations, plus a fraction of it."""
_COMMON = 0.02
"""Relative error that a measurement does not know of: motion, calibration."""
_MAX_SIGMA, _MAX_SIGMA_ALONE = 0.12, 0.05
"""Relative standard deviation of what several pairs, and a single one, measure."""
_ALONE_M = 25.0
"""Up to this distance a single precise pair is accepted."""
_LEAST_DEPTH_M = 0.7
_FARTHEST_M = 100.0
_BELOW, _BELOW_ROWS = 0.8, 4.0
"""Inverse depth over that of the road, as it is some rows further up, below which a point would
lie under the road."""
_CONTRADICTED = 2


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """Depth of one image by all pairs.

    Attributes:
        depth_m: (h, w), 0 where it is unknown.
        is_contradicted: (h, w) seen in several images, but no static point explains it.
        is_below: (h, w) found, but under the road: it moves along, or the flow is wrong.
    """

    depth_m: Map
    is_contradicted: Mask
    is_below: Mask


def combine(view: View, pairs: Sequence[PairDepth]) -> Consensus:
    """The consensus of at least one pair; the most precise one decides which group it is."""
    w, sigma = (np.stack([getattr(p, name) for p in pairs]) for name in ("inv_depth", "sigma"))
    static = np.stack([p.is_static for p in pairs])
    mean = _most_precise(w, sigma, static)
    for _ in range(_ITERATIONS):
        agrees = static & (np.abs(w - mean) < _SIGMAS * sigma + _RELATIVE * np.abs(mean))
        weights = agrees / (np.square(sigma) + np.square(_COMMON * mean))
        total = weights.sum(axis=0) + np.float32(1e-12)
        mean = np.where(agrees.any(axis=0), (weights * w).sum(axis=0) / total, mean)
    count = agrees.sum(axis=0)
    against = static.sum(axis=0) - count
    found = np.sum([p.is_found for p in pairs], axis=0)
    relative = 1 / np.sqrt(total) / np.maximum(mean, 1 / _FARTHEST_M)
    alone = (count == 1) & (against == 0) & (relative < _MAX_SIGMA_ALONE) & (mean > 1 / _ALONE_M)
    several = (count >= 2) & (count >= 2 * against) & (relative < _MAX_SIGMA)
    is_below = (mean < _BELOW * view.road_inv_depth(_BELOW_ROWS)) & (found > 0)
    known = (alone | several) & ~is_below & (mean < 1 / _LEAST_DEPTH_M)
    depth = np.where(known, 1 / np.clip(mean, 1 / _FARTHEST_M, None), 0)
    return Consensus(
        depth_m=depth.astype(np.float32),
        is_contradicted=(found >= _CONTRADICTED) & (2 * count < found),
        is_below=is_below,
    )


def _most_precise(w: Map, sigma: Map, static: Mask) -> Map:
    best = np.argmin(np.where(static, sigma, np.inf), axis=0)
    return np.asarray(np.take_along_axis(w, best[None], axis=0)[0])
