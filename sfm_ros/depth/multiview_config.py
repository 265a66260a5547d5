"""The constants of the multi-view measurement, shared by all its implementations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MultiViewConfig:
    """How inverse depth is searched around its prior.

    Attributes:
        hypotheses: at half size, spread evenly in the logarithm of the inverse depth.
        range_sigmas: half the width of the search, in standard deviations of the prior.
        min_range, max_range: limits of that half width, in units of the logarithm.
        fine_hypotheses: at full size, around the result at half size.
        fine_step: of these, in steps at half size.
        contrast: added to the local contrast of an image by which it is divided, gray levels.
        normal_window: side of the window of that contrast, pixels.
        window, fine_window: sides of the matching windows at half and at full size, pixels.
        truncation: limit of the matching cost of a pixel.
        smooth_rounds: how often neighboring pixels of the cost volume are compared.
        smooth_weight: share of the neighbors' cost in a round.
        small_jump, large_jump: cost of a difference between neighbors of one hypothesis, and of
            any other.
        max_cost: a match that is worse is invalid.
        min_margin: least distance to the second best match.
        min_parallax: pixels that the projection moves when the depth changes by its own size.
        pixel_sigma: least standard deviation of a match, pixels.
        cost_sigma: standard deviation of the cost that is due to noise.
        max_relative_sigma: a measurement that is less certain is invalid.
        max_gap_sigmas: most difference between two sources, in standard deviations.
        min_floor: inverse depth over that of the road, below which a point is under the road.
    """

    hypotheses: int = 32
    range_sigmas: float = 2.0
    min_range: float = 0.15
    max_range: float = 0.7
    fine_hypotheses: int = 5
    fine_step: float = 0.5
    contrast: float = 6.0
    normal_window: int = 7
    window: int = 3
    fine_window: int = 7
    truncation: float = 1.0
    smooth_rounds: int = 4
    smooth_weight: float = 0.5
    small_jump: float = 0.03
    large_jump: float = 0.15
    max_cost: float = 0.5
    min_margin: float = 0.03
    min_parallax: float = 1.0
    pixel_sigma: float = 0.2
    cost_sigma: float = 0.02
    max_relative_sigma: float = 0.2
    max_gap_sigmas: float = 3.0
    min_floor: float = 0.8
