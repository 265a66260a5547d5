"""Errors of predicted depth, in the metrics of Eigen et al. (2014, section 4.2) and successors.

Depth learned from monocular video is defined up to scale, so it is usually scaled by the ratio of
medians first. Always state the scaling with a figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sfm_ros.errors import SfmRosError

SCALINGS = ("none", "median", "global")
"""``median``: each image by its own ratio of medians; ``global``: all by the median of these."""
_CROP_FRACTIONS = {
    "garg": ((0.40810811, 0.99189189), (0.03594771, 0.96405229)),
    "eigen": ((0.3324324, 0.91351351), (0.0359477, 0.96405229)),
}
CROPS = (*_CROP_FRACTIONS, "none")
"""Parts of a KITTI image that published tables compare, see `crop_mask`."""

MIN_DEPTH_M, MAX_DEPTH_M = 1e-3, 80.0
"""The usual caps."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthMetrics:
    """Errors of one image, or their means over several.

    With prediction p and ground truth g, over the compared pixels:

    Attributes:
        abs_rel: mean |p - g| / g.
        sq_rel: mean (p - g)^2 / g, meters.
        rmse: root mean (p - g)^2, meters.
        rmse_log: root mean (ln p - ln g)^2.
        abs_diff: mean |p - g|, meters.
        abs_log: mean |ln p - ln g|.
        log10: mean |log10 p - log10 g|.
        a1, a2, a3: fraction of pixels with max(p / g, g / p) below 1.25, 1.25^2, 1.25^3.
        scale: factor applied to the prediction.
        coverage: fraction of the ground-truth pixels that have a prediction.
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
        mean: each metric averaged over images, not pixels.
        images: number of images with at least one compared pixel.
        scale_median, scale_mean, scale_std: of the ratios of medians (ground truth over
            prediction) of the images, for any scaling.
        scale_spread: scale_std / scale_median: how consistent the scale is between images.
    """

    mean: DepthMetrics
    images: int
    scale_median: float
    scale_mean: float
    scale_std: float
    scale_spread: float


def valid_pixels(
    ground_truth: npt.NDArray,
    min_depth: float = MIN_DEPTH_M,
    max_depth: float = MAX_DEPTH_M,
    mask: Mask | None = None,
) -> Mask:
    """(H, W) pixels of the mask whose ground truth is finite and strictly between the caps."""
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(ground_truth) & (ground_truth > min_depth) & (ground_truth < max_depth)
    return valid if mask is None else valid & np.asarray(mask, dtype=bool)


def compared_pixels(prediction: npt.NDArray, valid: Mask) -> Mask:
    """(H, W) those of the valid pixels that have a prediction: finite and positive."""
    with np.errstate(invalid="ignore"):
        compared: Mask = valid & np.isfinite(prediction) & (prediction > 0)
    return compared


def crop_mask(name: str, height: int, width: int) -> Mask | None:
    """The mask of one of `CROPS`; None for the whole image.

    ``garg`` is the crop of Garg et al. (2016) and most papers since, ``eigen`` that of Eigen et
    al. (2014).

    Raises:
        SfmRosError: an unknown name.
    """
    if name not in CROPS:
        raise SfmRosError(f"the crop is '{name}', expected one of {', '.join(CROPS)}")
    if name == "none":
        return None
    mask = np.zeros((height, width), dtype=bool)
    (top, bottom), (left, right) = _CROP_FRACTIONS[name]
    rows = slice(int(top * height), int(bottom * height))
    mask[rows, int(left * width) : int(right * width)] = True
    return mask


def depth_errors(
    prediction: npt.NDArray,
    ground_truth: npt.NDArray,
    scaling: str | float = "median",
    min_depth: float = MIN_DEPTH_M,
    max_depth: float = MAX_DEPTH_M,
    mask: Mask | None = None,
) -> DepthMetrics | None:
    """Errors of the depth of one image.

    The scaled prediction is clipped to the caps, as in the published programs. Pixels without a
    prediction (NaN, infinite or not positive) are not compared, see ``coverage``.

    Args:
        prediction: (H, W) depth along +z on the grid of the ground truth.
        ground_truth: (H, W) meters; 0, NaN or infinity if unknown.
        scaling: ``none``, ``median``, or a factor.
        min_depth, max_depth: caps in meters.
        mask: (H, W) pixels that may be compared, such as `crop_mask`; None for all.

    Returns:
        The errors, or None if no pixel can be compared.

    Raises:
        SfmRosError: different shapes, or an unknown scaling.
    """
    shapes = [None if each is None else each.shape for each in (prediction, ground_truth, mask)]
    if shapes[0] != shapes[1] or shapes[2] not in (None, shapes[1]):
        raise SfmRosError(
            f"the predicted depth is {shapes[0]}, the ground truth {shapes[1]}, the mask "
            f"{shapes[2]}; expected one grid"
        )
    valid = valid_pixels(ground_truth, min_depth, max_depth, mask)
    compared = compared_pixels(prediction, valid)
    if not np.any(compared):
        return None
    p, g = prediction[compared].astype(np.float64), ground_truth[compared].astype(np.float64)
    scale = _scale(scaling, p, g)
    coverage = float(np.count_nonzero(compared) / np.count_nonzero(valid))
    return _errors(np.clip(p * scale, min_depth, max_depth), g, scale, coverage)


def _errors(p: npt.NDArray, g: npt.NDArray, scale: float, coverage: float) -> DepthMetrics:
    """The metrics of (N,) scaled predictions and ground-truth depths."""
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
        coverage=coverage,
    )


def _scale(scaling: str | float, p: npt.NDArray, g: npt.NDArray) -> float:
    if not isinstance(scaling, str):
        return float(scaling)
    if scaling == "median":
        return float(np.median(g) / np.median(p))
    if scaling == "none":
        return 1.0
    raise SfmRosError(f"the scaling is '{scaling}', expected none, median or a factor")


def summarize(errors: Sequence[DepthMetrics], ratios: Sequence[float]) -> DepthSetMetrics:
    """Means over the images of a set, of which at least one has errors.

    Ratios are those of the median of the ground truth to that of the prediction.
    """
    names = [field.name for field in fields(DepthMetrics)]
    means = {name: float(np.mean([getattr(each, name) for each in errors])) for name in names}
    median, spread = float(np.median(ratios)), float(np.std(ratios))
    return DepthSetMetrics(
        mean=DepthMetrics(**means),
        images=len(errors),
        scale_median=median,
        scale_mean=float(np.mean(ratios)),
        scale_std=spread,
        scale_spread=spread / median,
    )
