"""Errors of predicted depth, in the measures of Eigen et al. (2014, section 4.2) and followers.

A network trained on single-camera video knows depth up to a factor, so its depth is usually scaled
by the ratio of medians first. Always say which scaling a figure was made with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sfm_ros.errors import SfmRosError

SCALINGS = ("none", "median", "global")
"""``median``: each image by its own ratio of medians; ``global``: all by the median of these."""
CROPS = ("garg", "eigen", "none")
"""Parts of a KITTI image that published tables compare, see `crop_mask`."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthMetrics:
    """Errors of one image, or their means over several.

    With prediction p and ground truth g, means over the pixels that count:

    Attributes:
        abs_rel: mean |p - g| / g.
        sq_rel: mean (p - g)^2 / g, meters.
        rmse: root mean (p - g)^2, meters.
        rmse_log: root mean (ln p - ln g)^2.
        abs_diff: mean |p - g|, meters.
        abs_log: mean |ln p - ln g|.
        log10: mean |log10 p - log10 g|.
        a1, a2, a3: share of pixels with max(p / g, g / p) below 1.25, 1.25^2, 1.25^3.
        scale: factor the prediction was multiplied with.
        coverage: share of the pixels with a ground truth for which there is a prediction.
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    abs_diff: float
    abs_log: float
    log10: float
    a1: float
    a2: float
    a3: float
    scale: float
    coverage: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthSetMetrics:
    """Means over the images of a set.

    Attributes:
        mean: each figure averaged over images, not pixels.
        images: images that count, those with a ground truth and a prediction somewhere.
        scale_median, scale_mean, scale_std: of the images' ratios of medians, ground truth over
            prediction, whatever the scaling.
        scale_spread: their standard deviation divided by their median: how steady the scale is
            from image to image.
    """

    mean: DepthMetrics
    images: int
    scale_median: float
    scale_mean: float
    scale_std: float
    scale_spread: float


def valid_pixels(
    ground_truth: npt.NDArray,
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
    mask: Mask | None = None,
) -> Mask:
    """Pixels whose ground truth is finite and between the caps, both excluded, and in the mask.

    Args:
        ground_truth: (H, W) meters; 0, NaN or infinity where unknown.
        min_depth, max_depth: meters.
        mask: (H, W), True where a pixel may count.
    """
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(ground_truth) & (ground_truth > min_depth) & (ground_truth < max_depth)
    return valid if mask is None else valid & np.asarray(mask, dtype=bool)


def garg_crop(height: int, width: int) -> Mask:
    """The part of a KITTI image that Garg et al. (2016) and most papers since compare."""
    mask = np.zeros((height, width), dtype=bool)
    rows = slice(int(0.40810811 * height), int(0.99189189 * height))
    columns = slice(int(0.03594771 * width), int(0.96405229 * width))
    mask[rows, columns] = True
    return mask


def eigen_crop(height: int, width: int) -> Mask:
    """The part of a KITTI image that Eigen et al. (2014) compare."""
    mask = np.zeros((height, width), dtype=bool)
    rows = slice(int(0.3324324 * height), int(0.91351351 * height))
    columns = slice(int(0.0359477 * width), int(0.96405229 * width))
    mask[rows, columns] = True
    return mask


def crop_mask(name: str, height: int, width: int) -> Mask | None:
    """The mask of one of `CROPS`; None for the whole image.

    Raises:
        SfmRosError: an unknown name.
    """
    if name not in CROPS:
        raise SfmRosError(f"the crop is '{name}', expected one of {', '.join(CROPS)}")
    makers = {"garg": garg_crop, "eigen": eigen_crop}
    return makers[name](height, width) if name in makers else None


def depth_errors(
    prediction: npt.NDArray,
    ground_truth: npt.NDArray,
    scaling: str | float = "median",
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
    mask: Mask | None = None,
) -> DepthMetrics | None:
    """Errors of one image's depth.

    The scaled prediction is clipped to the caps, as the published programs do. Pixels without a
    prediction (NaN, infinite or not positive) do not count; ``coverage`` tells how many do.

    Args:
        prediction: (H, W) depth along +z on the grid of the ground truth.
        ground_truth: (H, W) meters; 0, NaN or infinity where unknown.
        scaling: ``none``, ``median``, or a factor.
        min_depth, max_depth: caps in meters.
        mask: (H, W), True where a pixel may count, such as `garg_crop`.

    Returns:
        The errors, or None where no pixel counts.

    Raises:
        SfmRosError: shapes differ, or an unknown scaling.
    """
    if prediction.shape != ground_truth.shape or (
        mask is not None and mask.shape != ground_truth.shape
    ):
        raise SfmRosError(
            f"the predicted depth is {prediction.shape}, the true one {ground_truth.shape}, the mask "
            f"{None if mask is None else mask.shape}; bring them to one grid first"
        )
    valid = valid_pixels(ground_truth, min_depth, max_depth, mask)
    counted = valid & _is_depth(prediction)
    if not np.any(counted):
        return None
    p, g = prediction[counted].astype(np.float64), ground_truth[counted].astype(np.float64)
    scale = _factor(scaling, p, g)
    p = np.clip(p * scale, min_depth, max_depth)
    difference, log_difference = p - g, np.log(p) - np.log(g)
    ratio = np.maximum(p / g, g / p)
    return DepthMetrics(
        abs_rel=float(np.mean(np.abs(difference) / g)),
        sq_rel=float(np.mean(difference**2 / g)),
        rmse=float(np.sqrt(np.mean(difference**2))),
        rmse_log=float(np.sqrt(np.mean(log_difference**2))),
        abs_diff=float(np.mean(np.abs(difference))),
        abs_log=float(np.mean(np.abs(log_difference))),
        log10=float(np.mean(np.abs(log_difference)) / np.log(10.0)),
        a1=float(np.mean(ratio < 1.25)),
        a2=float(np.mean(ratio < 1.25**2)),
        a3=float(np.mean(ratio < 1.25**3)),
        scale=scale,
        coverage=float(np.count_nonzero(counted) / np.count_nonzero(valid)),
    )


def _factor(scaling: str | float, p: npt.NDArray, g: npt.NDArray) -> float:
    if not isinstance(scaling, str):
        return float(scaling)
    if scaling == "median":
        return float(np.median(g) / np.median(p))
    if scaling == "none":
        return 1.0
    raise SfmRosError(f"the scaling is '{scaling}', expected none, median or a factor")


def _is_depth(prediction: npt.NDArray) -> Mask:
    with np.errstate(invalid="ignore"):
        return np.isfinite(prediction) & (prediction > 0)


def evaluate_depth(
    predictions: Sequence[npt.NDArray],
    ground_truths: Sequence[npt.NDArray],
    scaling: str = "median",
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
    mask: Mask | None = None,
) -> DepthSetMetrics | None:
    """Errors of the depth of a set of images: the mean of the images' errors.

    Args:
        predictions, ground_truths: (H, W) each, as for `depth_errors`; sequences, for ``global`` looks
            at them twice.
        scaling: one of `SCALINGS`.
        min_depth, max_depth, mask: as for `depth_errors`.

    Returns:
        The means, or None where no pixel of any image counts.

    Raises:
        SfmRosError: counts or shapes differ, or an unknown scaling.
    """
    if scaling not in SCALINGS:
        raise SfmRosError(f"the scaling is '{scaling}', expected one of {', '.join(SCALINGS)}")
    if len(predictions) != len(ground_truths):
        raise SfmRosError(
            f"{len(predictions)} predictions for {len(ground_truths)} ground-truth depth maps"
        )
    caps = (min_depth, max_depth, mask)
    medians = [
        found.scale
        for p, g in zip(predictions, ground_truths, strict=True)
        if (found := depth_errors(p, g, "median", *caps)) is not None
    ]
    if not medians:
        return None
    median = float(np.median(medians))
    how: str | float = median if scaling == "global" else scaling
    errors = [
        found
        for p, g in zip(predictions, ground_truths, strict=True)
        if (found := depth_errors(p, g, how, *caps)) is not None
    ]
    return summarize(errors, medians)


def summarize(errors: Sequence[DepthMetrics], ratios: Sequence[float]) -> DepthSetMetrics:
    """Means over the images of a set.

    Args:
        errors: of each image that counts, at least one.
        ratios: median of the ground truth over median of the prediction of each.
    """
    median, spread = float(np.median(ratios)), float(np.std(ratios))
    return DepthSetMetrics(
        mean=_mean(errors),
        images=len(errors),
        scale_median=median,
        scale_mean=float(np.mean(ratios)),
        scale_std=spread,
        scale_spread=spread / median,
    )


def _mean(errors: Sequence[DepthMetrics]) -> DepthMetrics:
    names = [field.name for field in fields(DepthMetrics)]
    return DepthMetrics(
        **{name: float(np.mean([getattr(one, name) for one in errors])) for name in names}
    )
