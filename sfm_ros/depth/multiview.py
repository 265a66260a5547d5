"""Inverse depth measured by matching an image with others along the motion between them.

For each pixel, hypotheses of the inverse depth around a prior are tried: all at half the size of
the image, a few around the best at full size. The matching cost is the difference of locally
normalized gray levels, so that gain and offset of an exposure cancel; it is compared between
neighboring pixels as in semi-global matching (Hirschmueller, PAMI 2008, eq. 11-14), but in a few
parallel rounds instead of along paths. Windows follow the shape of the prior, so that a road or a
facade needs no window of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.depth.multiview_config import MultiViewConfig

_GrayImage = npt.NDArray[np.uint8]
_Array = npt.NDArray[np.float32]

_MIN_RELATIVE_DEPTH = 0.05
"""Depth in the source over depth in the target; a point nearer than that is out of view."""


def measure(
    target: _GrayImage,
    sources: Sequence[_GrayImage],
    T_source_target: Sequence[FloatArray],
    K: FloatArray,
    prior: InverseDepth,
    config: MultiViewConfig | None = None,
    floor: DepthMap | None = None,
) -> InverseDepth:
    """Measure the inverse depth of an image's pixels.

    Args:
        target: (h, w) uint8 gray.
        sources: images of the same camera and size, at other times.
        T_source_target: (4, 4) motions that map points of the target camera into each source's.
        K: (3, 3) of the images, pixels.
        prior: guess of the inverse depth, and its standard deviation, which sets how far is
            searched.
        config: constants.
        floor: (h, w) inverse depth of the road, or None; below it nothing is measured.

    Returns:
        The measurement, independent of the prior but for where it searched; valid where the
        match is good, unique, agreed on by the sources, and certain enough. Without sources, or
        without parallax, nothing is valid.
    """
    config = config or MultiViewConfig()
    guess = np.where(prior.valid, prior.inv_depth, 1).astype(np.float32)
    spread = config.range_sigmas * np.where(prior.valid, prior.relative_sigma, 1)
    reach = np.clip(spread, config.min_range, config.max_range).astype(np.float32)
    if not sources:
        return InverseDepth(guess, guess, np.zeros(guess.shape, bool))
    views = [
        _View.of(target, source, T, K) for source, T in zip(sources, T_source_target, strict=True)
    ]
    halves = [view.half() for view in views]
    coarse = _search_coarse(halves, _halved(guess), _halved(reach), config)
    shift = _doubled(coarse.shift, guess.shape).astype(np.float32)
    step = np.float32(2 * config.fine_step / (config.hypotheses - 1)) * reach
    fine = _search_fine(views, guess * np.exp(shift).astype(np.float32), step, config)
    valid = prior.valid & _doubled(coarse.valid, guess.shape) & fine.valid
    if floor is not None:
        valid &= fine.inv_depth > config.min_floor * floor
    return InverseDepth(fine.inv_depth, fine.sigma, valid)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A target and one source.

    A pixel at inverse depth w is seen in the source at ``a + w b`` (homogeneous), with
    ``a = K R K^-1 p`` and ``b = K t``.
    """

    target: _Array
    source: _Array
    R: FloatArray
    t: FloatArray
    K: FloatArray

    @staticmethod
    def of(target: _GrayImage, source: _GrayImage, T: FloatArray, K: FloatArray) -> _View:
        images = (target.astype(np.float32), source.astype(np.float32))
        return _View(*images, T[:3, :3], T[:3, 3], K)

    def half(self) -> _View:
        """The same at half the size."""
        K = self.K * 0.5
        K[:2, 2] -= 0.25
        K[2, 2] = 1.0
        return _View(_halved(self.target), _halved(self.source), self.R, self.t, K)

    def rays(self) -> tuple[_Array, _Array]:
        """(3, h, w) ``a``, and (3,) ``b``."""
        height, width = self.target.shape
        rows, columns = np.mgrid[:height, :width]
        pixels = np.stack([columns, rows, np.ones_like(rows)]).reshape(3, -1)
        a = self.K @ self.R @ np.linalg.inv(self.K) @ pixels
        return a.reshape(3, height, width).astype(np.float32), (self.K @ self.t).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Coarse:
    """Result at half size: logarithm of the inverse depth over the prior's, and where it holds."""

    shift: _Array
    valid: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Fine:
    inv_depth: _Array
    sigma: _Array
    valid: npt.NDArray[np.bool_]


def _search_coarse(
    views: Sequence[_View], guess: _Array, reach: _Array, config: MultiViewConfig
) -> _Coarse:
    count = config.hypotheses
    shifts = [reach * s for s in np.linspace(-1, 1, count, dtype=np.float32)]
    costs = [_matched(view, guess, shifts, config.window, config) for view in views]
    smooth = _smoothed(_mean_cost(costs, config), config)
    best = np.clip(smooth.argmin(0), 1, count - 2)
    low, middle, high = _around(smooth, best)
    offset, _ = _vertex(low, middle, high)
    margin = _second_best(smooth, best) - middle
    shift = reach * ((best + offset) * 2 / (count - 1) - 1)
    inner = (middle <= low) & (middle <= high)
    return _Coarse(shift.astype(np.float32), inner & (margin > config.min_margin))


def _search_fine(
    views: Sequence[_View], guess: _Array, step: _Array, config: MultiViewConfig
) -> _Fine:
    count = config.fine_hypotheses
    shifts = [step * np.float32(k - count // 2) for k in range(count)]
    costs = [_matched(view, guess, shifts, config.fine_window, config) for view in views]
    mean = _mean_cost(costs, config)
    best = np.clip(mean.argmin(0), 1, count - 2)
    low, middle, high = _around(mean, best)
    offset, curvature = _vertex(low, middle, high)
    inv_depth = guess * np.exp(step * (best + offset - count // 2))
    parallax = np.max([_parallax(view, inv_depth) for view in views], axis=0)
    matched = step * np.sqrt(config.cost_sigma / np.maximum(curvature, 1e-4))
    placed = config.pixel_sigma / np.maximum(parallax, 1e-3)
    relative = np.hypot(matched, placed)
    valid = (middle <= low) & (middle <= high) & (middle < config.max_cost)
    valid &= (parallax > config.min_parallax) & (relative < config.max_relative_sigma)
    for cost in costs:
        valid &= _agrees(cost, offset + best, step, relative, config)
    return _Fine(inv_depth.astype(np.float32), (relative * inv_depth).astype(np.float32), valid)


def _agrees(
    cost: _Array, at: _Array, step: _Array, relative: _Array, config: MultiViewConfig
) -> npt.NDArray[np.bool_]:
    """Whether one source, where it sees the pixel, has its best match near the joint one."""
    best = np.clip(np.where(np.isnan(cost), np.inf, cost).argmin(0), 1, len(cost) - 2)
    low, middle, high = _around(cost, best)
    offset, _ = _vertex(low, middle, high)
    gap = np.abs(best + offset - at) * step
    return (gap < config.max_gap_sigmas * relative) | np.isnan(offset)


def _matched(
    view: _View, guess: _Array, shifts: Sequence[_Array], window: int, config: MultiViewConfig
) -> _Array:
    """(n, h, w) cost of each hypothesis ``guess * exp(shift)``; NaN out of view."""
    a, b = view.rays()
    target, source = _normalized(view.target, config), _normalized(view.source, config)
    height, width = guess.shape
    costs = np.empty((len(shifts), height, width), np.float32)
    for cost, shift in zip(costs, shifts, strict=True):
        x, y, z = a + b[:, None, None] * (guess * np.exp(shift))
        z = np.where(z > _MIN_RELATIVE_DEPTH, z, np.nan)
        u, v = (x / z).astype(np.float32), (y / z).astype(np.float32)
        sample = cv2.remap(source, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        difference = np.minimum(np.abs(sample - target), np.float32(config.truncation))
        cost[:] = _box(difference, window)
        seen = (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
        cost[~seen] = np.nan
    return costs


def _normalized(image: _Array, config: MultiViewConfig) -> _Array:
    """Gray levels minus their local mean, over their local contrast."""
    side = config.normal_window
    mean = _box(image, side)
    variance = np.maximum(_box(image * image, side) - mean * mean, 0)
    normalized = (image - mean) / (np.sqrt(variance) + np.float32(config.contrast))
    return normalized.astype(np.float32)


def _box(image: _Array, side: int) -> _Array:
    return cv2.blur(image, (side, side), borderType=cv2.BORDER_REPLICATE).astype(np.float32)


def _mean_cost(costs: Sequence[_Array], config: MultiViewConfig) -> _Array:
    """Mean over the sources that see a pixel; the largest cost where none does."""
    seen = np.sum([~np.isnan(cost) for cost in costs], axis=0)
    total = np.sum([np.nan_to_num(cost) for cost in costs], axis=0)
    mean = np.where(seen > 0, total / np.maximum(seen, 1), config.truncation)
    return mean.astype(np.float32)


def _smoothed(cost: _Array, config: MultiViewConfig) -> _Array:
    """The cost plus what neighboring pixels would pay for the same hypothesis."""
    total = cost
    for _ in range(config.smooth_rounds):
        message = _message(total, config)
        padded = np.pad(message, ((0, 0), (1, 1), (1, 1)), mode="edge")
        around = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1]
        around = around + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]
        total = cost + np.float32(config.smooth_weight / 4) * around
    return np.asarray(total, np.float32)


def _message(total: _Array, config: MultiViewConfig) -> _Array:
    """Hirschmueller eq. 13: the least cost to come from any hypothesis of the neighbor."""
    least = total.min(0)
    beside = np.pad(total, ((1, 1), (0, 0), (0, 0)), mode="edge")
    beside = np.minimum(beside[:-2], beside[2:]) + np.float32(config.small_jump)
    return np.minimum(np.minimum(total, beside) - least, np.float32(config.large_jump))


def _around(cost: _Array, best: npt.NDArray[np.intp]) -> tuple[_Array, _Array, _Array]:
    """Cost below, at and above the best hypothesis, (h, w) each."""
    low, middle, high = (np.take_along_axis(cost, best[None] + k, axis=0)[0] for k in (-1, 0, 1))
    return low, middle, high


def _vertex(low: _Array, middle: _Array, high: _Array) -> tuple[_Array, _Array]:
    """Minimum of the parabola through three costs, in steps from the middle; and its curvature."""
    curvature = np.maximum(low - 2 * middle + high, 1e-6)
    return np.clip(0.5 * (low - high) / curvature, -0.5, 0.5), curvature


def _second_best(cost: _Array, best: npt.NDArray[np.intp]) -> _Array:
    """Least cost that is not beside the best one."""
    index = np.arange(len(cost))[:, None, None]
    return np.where(np.abs(index - best) > 2, cost, np.inf).min(0)


def _parallax(view: _View, inv_depth: _Array) -> _Array:
    """Pixels in the source per unit of the logarithm of the inverse depth; 0 out of view."""
    a, b = view.rays()
    x, y, z = a + b[:, None, None] * inv_depth
    z = np.where(z > _MIN_RELATIVE_DEPTH, z, np.inf)
    du, dv = b[0] - b[2] * x / z, b[1] - b[2] * y / z
    return (np.hypot(du, dv) * inv_depth / z).astype(np.float32)


def _halved(image: _Array) -> _Array:
    """Mean of two by two pixels; an odd last row or column is left out."""
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    image = image[:height, :width].astype(np.float32)
    return 0.25 * (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2])


def _doubled(image: npt.NDArray, shape: tuple[int, ...]) -> npt.NDArray:
    """Each pixel repeated two by two, and at an odd border."""
    rows = np.minimum(np.arange(shape[0]) // 2, image.shape[0] - 1)
    columns = np.minimum(np.arange(shape[1]) // 2, image.shape[1] - 1)
    return image[rows[:, None], columns]
