"""The network's depth, brought to the scale of what is known of the scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.depth.edge_fill import spread
from sfm_ros.depth.maps import GrayImage, Map, Mask, median, sample, select

_MIN_KNOWN = 400
"""Pixels, for the factor."""
_ADAPTATION, _SPREAD_ADAPTATION = 0.03, 0.1
"""Of the factor and of the spread, per frame. The factor is slow, so that a motion that suddenly
has another length is seen against it."""
_START_SPREAD, _LEAST_SPREAD = 0.25, 0.1
_TO_NORMAL = 1.4826
"""Standard deviation over the median of the absolute deviation."""
_COARSE = 8
"""Shrinks the image for the correction far from anything known."""
_COARSE_SIGMA, _COARSE_WEIGHT = 3.0, 0.05
_FINE_WEIGHT = 1.0
_MANY_KNOWN = 10.0
"""Known pixels around one, from which on the error of its prior is nearly halved."""
_NEAR_GAIN = 0.5
_LARGEST = 1.5
"""Of the logarithm of a correction."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prior:
    """A guess for each pixel.

    Attributes:
        inv_depth: (h, w) in the unit of the motion.
        relative_sigma: (h, w) its standard deviation over its value.
    """

    inv_depth: Map
    relative_sigma: Map


class NetworkPrior:
    """Corrects the network by a factor that adapts slowly, and a field that follows the image.

    The logarithm of known inverse depth over the network's is spread to the pixels around, as far
    as no edge of the image is between; far from anything known the mean around applies.

    Attributes:
        log_factor: logarithm of the known inverse depth over the network's.
        spread: relative standard deviation of the network with that factor.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.log_factor = 0.0
        self.spread = _START_SPREAD
        self._field: Map | None = None

    def scaled(self, network: Map) -> Map:
        """The network's inverse depth (h, w) with the factor alone."""
        return np.asarray(network * np.exp(np.float32(self.log_factor)))

    def last(self, network: Map) -> Map:
        """The network's inverse depth (h, w) with the last correction."""
        if self._field is None or self._field.shape != network.shape:
            self._field = np.zeros_like(network)
        return self._corrected(network, self._field)

    def correct(self, gray: GrayImage, network: Map, inv_depth: Map, known: Mask) -> Prior:
        """Learn from the known of (h, w) inverse depths; returns the corrected network.

        Args:
            gray: (h, w) the image.
            network: (h, w) the network's inverse depth.
            inv_depth: (h, w) of what is known of the scene.
            known: (h, w) where it is known.
        """
        log_ratio = np.log(select(known, inv_depth / network, np.ones_like(network)))
        if np.count_nonzero(known) > _MIN_KNOWN:
            self._adapt(sample(log_ratio, known))
        weights = known.astype(np.float32)
        residual = np.clip(log_ratio - np.float32(self.log_factor), -_LARGEST, _LARGEST) * weights
        total, count = spread(gray, (residual, weights))
        coarse = _coarse_mean(residual, weights)
        self._field = (total + np.float32(_FINE_WEIGHT) * coarse) / (count + _FINE_WEIGHT)
        gain = 1 - _NEAR_GAIN * count / (count + _MANY_KNOWN)
        sigma = np.float32(self.spread) * gain
        return Prior(inv_depth=self._corrected(network, self._field), relative_sigma=sigma)

    def _corrected(self, network: Map, field: Map) -> Map:
        return np.asarray(network * np.exp(np.float32(self.log_factor) + field))

    def _adapt(self, log_ratio: Map) -> None:
        middle = median(log_ratio)
        self.log_factor += _ADAPTATION * (middle - self.log_factor)
        deviation = _TO_NORMAL * median(np.abs(log_ratio - np.float32(middle)))
        self.spread += _SPREAD_ADAPTATION * (max(deviation, _LEAST_SPREAD) - self.spread)


def _coarse_mean(weighted: Map, weights: Map) -> Map:
    """(h, w) weighted mean of values in a wide neighborhood, drawn to 0 where there are few."""
    height, width = weights.shape
    size = (max(width // _COARSE, 1), max(height // _COARSE, 1))
    total, count = (
        cv2.GaussianBlur(
            cv2.resize(each, size, interpolation=cv2.INTER_AREA), (0, 0), _COARSE_SIGMA
        )
        for each in (weighted, weights)
    )
    mean = total / (count + np.float32(_COARSE_WEIGHT))
    return np.asarray(cv2.resize(mean, (width, height)), dtype=np.float32)
