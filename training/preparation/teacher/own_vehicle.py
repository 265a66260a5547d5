"""The parts of the own vehicle in the image: they do not move while everything else does."""

from __future__ import annotations

import cv2
import numpy as np

from training.preparation.teacher.checks import difference, slope_along
from training.preparation.teacher.pair import Flow
from training.preparation.teacher.view import Gray, Mask, View

_LEAST_EXPECTED_PX = 4.0
"""Flow of the road from which on a pixel shows whether it moves."""
_LEAST_SLOPE = 2.0
"""Gray levels per pixel along that flow, for the same reason."""
_STILL = 0.5
"""Difference of the images over this slope: pixels by which a still one seems to move."""
_MOST_OF = 0.6
_LEAST_SAMPLES = 4
_OPENED_PX, _GROWN_PX = 5, 9


class OwnVehicle:
    """Collects where the image stands still below the horizon while the camera moves."""

    def __init__(self, view: View) -> None:
        shape = view.camera.height, view.camera.width
        self._road = view.road_inv_depth() > 0
        self._still = np.zeros(shape, np.int32)
        self._seen = np.zeros(shape, np.int32)

    def add(self, first: Gray, second: Gray, expected: Flow) -> None:
        """Take a pair of images in, and the optical flow that a road has between them."""
        slope = slope_along(first, expected)
        size = cv2.magnitude(expected[..., 0], expected[..., 1])
        seen = self._road & (size > _LEAST_EXPECTED_PX) & (slope > _LEAST_SLOPE)
        self._seen += seen
        self._still += seen & (difference(first, second) < _STILL * slope)

    def mask(self) -> Mask:
        """(h, w) where the own vehicle is: its upper edge, and what is below it."""
        still = (self._still > _MOST_OF * self._seen) & (self._seen >= _LEAST_SAMPLES)
        kernel = np.ones((_OPENED_PX, _OPENED_PX), np.uint8)
        edge = cv2.morphologyEx(still.astype(np.uint8), cv2.MORPH_OPEN, kernel)
        below = np.maximum.accumulate(np.asarray(edge), axis=0)
        grown = cv2.dilate(below, np.ones((_GROWN_PX, _GROWN_PX), np.uint8))
        return np.asarray(grown) > 0
