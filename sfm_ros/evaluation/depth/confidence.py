"""Errors of depth by distance, and against the uncertainty that it states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.evaluation.depth.metrics import (
    MAX_DEPTH_M,
    MIN_DEPTH_M,
    DepthMetrics,
    Mask,
    compared_pixels,
    depth_errors,
    summarize,
    valid_pixels,
)

DISTANCES_M = ((0, 10), (10, 20), (20, 40), (40, 80))
SHARES = tuple(round(0.1 * k, 1) for k in range(1, 11))
"""Fractions of the pixels, the surest first."""
SIGMAS = (1, 2)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthScore:
    """Errors of one depth map, up to 80 m.

    Attributes:
        scaled, unscaled: with and without scaling by the ratio of medians.
        by_distance: (4, 2) sum of |depth - gt| / gt and number of the pixels of each of
            `DISTANCES_M`, unscaled.
        by_share: abs_rel, unscaled, of the surest of `SHARES` of the pixels: the sparsification
            curve; None without uncertainty.
        within: fraction of the pixels whose inverse depth is off by less than `SIGMAS` standard
            deviations; None without uncertainty.
    """

    scaled: DepthMetrics
    unscaled: DepthMetrics
    by_distance: FloatArray
    by_share: FloatArray | None = None
    within: FloatArray | None = None


def score_depth_map(
    prediction: DepthMap,
    ground_truth: DepthMap,
    uncertainty: DepthMap | None = None,
    mask: Mask | None = None,
) -> DepthScore | None:
    """Score a depth map; None if no pixel can be compared.

    Args:
        prediction: (H, W) depth on the grid of the ground truth, NaN if unknown.
        ground_truth: (H, W) meters, 0 or NaN if unknown.
        uncertainty: (H, W) relative standard deviation of the prediction, or None.
        mask: (H, W) pixels that may be compared; None for all.
    """
    scaled = depth_errors(prediction, ground_truth, "median", mask=mask)
    unscaled = depth_errors(prediction, ground_truth, "none", mask=mask)
    if scaled is None or unscaled is None:
        return None
    compared = compared_pixels(prediction, valid_pixels(ground_truth, mask=mask))
    p, g = prediction[compared].astype(np.float64), ground_truth[compared].astype(np.float64)
    relative = np.abs(np.clip(p, MIN_DEPTH_M, MAX_DEPTH_M) - g) / g
    sigma = None if uncertainty is None else uncertainty[compared].astype(np.float64)
    return DepthScore(
        scaled=scaled,
        unscaled=unscaled,
        by_distance=_by_distance(relative, g),
        by_share=None if sigma is None else _by_share(relative, sigma),
        # The relative error of the inverse depth.
        within=None if sigma is None else _within(np.abs(p / g - 1), sigma),
    )


def _by_distance(relative: FloatArray, ground_truth: FloatArray) -> FloatArray:
    parts = [relative[(ground_truth >= a) & (ground_truth < b)] for a, b in DISTANCES_M]
    return np.array([(part.sum(), part.size) for part in parts], dtype=np.float64)


def _by_share(relative: FloatArray, sigma: FloatArray) -> FloatArray:
    ordered = relative[np.argsort(sigma, kind="stable")]
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    last = [max(round(share * len(ordered)), 1) - 1 for share in SHARES]
    return np.asarray(means[last], dtype=np.float64)


def _within(errors: FloatArray, sigma: FloatArray) -> FloatArray:
    return np.array([np.mean(errors < k * sigma) for k in SIGMAS])


def scores_as_json(scores: Sequence[DepthScore]) -> dict[str, Any]:
    """Means over the maps of at least one image, as plain values."""
    ratios = [score.scaled.scale for score in scores]
    scaled = summarize([score.scaled for score in scores], ratios)
    unscaled = summarize([score.unscaled for score in scores], ratios).mean
    sums, counts = np.sum([score.by_distance for score in scores], axis=0).T
    shares = [score.by_share for score in scores if score.by_share is not None]
    within = [score.within for score in scores if score.within is not None]
    return {
        "images": len(scores),
        "abs_rel": unscaled.abs_rel,
        "abs_rel_scaled": scaled.mean.abs_rel,
        "rmse_m": unscaled.rmse,
        "a1": unscaled.a1,
        "coverage": unscaled.coverage,
        "scale_median": scaled.scale_median,
        "scale_spread": scaled.scale_spread,
        "by_distance": {
            f"{near}-{far} m": float(total / count) if count else None
            for (near, far), total, count in zip(DISTANCES_M, sums, counts, strict=True)
        },
        "surest": _named(SHARES, shares),
        "within_sigma": _named(SIGMAS, within),
    }


def _named(keys: Sequence[float], values: Sequence[FloatArray]) -> dict[str, float] | None:
    """Means by key; None if there are no values."""
    if not values:
        return None
    means = np.mean(values, axis=0).tolist()
    return {str(key): value for key, value in zip(keys, means, strict=True)}
