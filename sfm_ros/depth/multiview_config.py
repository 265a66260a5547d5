"""The constants of the multi-view measurement, shared by all its implementations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Number = Any
"""A number, or an array or tensor of numbers."""

TINY = 1e-4
"""Least divisor of `relative_variance`."""


MIN_RELATIVE_DEPTH = 0.05
"""Depth in the source over depth in the target; a point nearer than that is out of view."""

OUT_OF_VIEW = 8.0
"""Cost out of view, above every difference."""


@dataclass(frozen=True, kw_only=True)
class MultiViewConfig:
    """How inverse depth is searched around its prior.

    Attributes:
        hypotheses: at half size, spread evenly in the logarithm of the inverse depth.
        range_sigmas: half the width of the search, in standard deviations of the prior.
        min_range, max_range: limits of that half width, in units of the logarithm.
        fine_hypotheses: at full size, around the result at half size.
        fine_step, fine_pixels: distance of these, in steps at half size, and its limit in pixels.
        contrast: added to the local contrast of an image by which it is divided, gray levels.
        normal_window: side of the window of that contrast, pixels.
        window, fine_window: sides of the matching windows at half and at full size, pixels.
        truncation: limit of the difference of two normalized pixels.
        smooth_distances: of the neighbors that are compared in the rounds of smoothing, pixels.
        smooth_weight: what the neighbors count together, in shares of the pixel's own cost.
        small_jump, large_jump: cost of a difference between neighbors of one hypothesis, and of
            any other.
        max_cost: a match that is worse is invalid.
        min_margin: least distance to the cost of the second best match, at half size.
        max_source_gap: most difference between the match in one source and the joint one, in
            steps at full size.
        min_parallax: pixels that the projection moves when the depth changes by its own size.
        curvature_sigma, parallax_sigma, gap_sigma, margin_sigma, least_sigma: parts of the
            relative standard deviation, see `relative_variance`.
        max_relative_sigma: a measurement that is less certain is invalid.
        density_window, min_density: side of a window, pixels, and the least share of it that must
            have been measured, too: what stands alone is often wrong.
        min_floor: inverse depth over that of the road, below which a point is under the road.
    """

    hypotheses: int = 16
    range_sigmas: float = 2.5
    min_range: float = 0.15
    max_range: float = 0.9
    fine_hypotheses: int = 7
    fine_step: float = 1.0
    fine_pixels: float = 1.0
    contrast: float = 4.0
    normal_window: int = 5
    window: int = 7
    fine_window: int = 7
    truncation: float = 2.0
    smooth_distances: tuple[int, ...] = (4, 2, 4, 2)
    smooth_weight: float = 0.9
    small_jump: float = 0.06
    large_jump: float = 0.2
    max_cost: float = 0.5
    min_margin: float = 0.05
    max_source_gap: float = 1.5
    min_parallax: float = 1.0
    curvature_sigma: float = 0.1
    parallax_sigma: float = 0.04
    gap_sigma: float = 0.5
    margin_sigma: float = 0.042
    least_sigma: float = 0.012
    max_relative_sigma: float = 0.2
    density_window: int = 7
    min_density: float = 0.4
    min_floor: float = 0.8

    @property
    def sigmas(self) -> tuple[float, float, float, float, float]:
        """The last arguments of `relative_variance`."""
        return (
            self.curvature_sigma,
            self.gap_sigma,
            self.margin_sigma,
            self.parallax_sigma,
            self.least_sigma,
        )


def relative_variance(
    step: Number,
    curvature: Number,
    gap: Number,
    margin: Number,
    parallax: Number,
    sigmas: tuple[float, float, float, float, float],
) -> Number:
    """Variance of the relative error of a measurement; its parts were fitted to data.

    For numbers, or tensors of one shape.

    Args:
        step: of the hypotheses at full size, in units of the logarithm.
        curvature: of the cost at its minimum, per step squared.
        gap: between the matches in the sources, steps.
        margin: see `MultiViewConfig.min_margin`.
        parallax: pixels per unit of the logarithm.
        sigmas: see `MultiViewConfig.sigmas`.
    """
    flat, apart, ambiguous, placed, least = sigmas
    apart, ambiguous, placed = apart * gap, ambiguous / margin, placed / parallax
    in_steps = flat * flat / curvature + apart * apart + ambiguous * ambiguous
    return step * step * in_steps + placed * placed + least * least
