"""Past images that the newest one is matched with, chosen by their distance from it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.depth.maps import GrayImage

_TARGETS = (0.06, 0.2)
"""Baselines over the typical depth: a short one that is seldom wrong, a long one that is exact."""
_LEAST = 0.02
"""A shorter baseline measures nothing."""
_SPACING = 0.015
"""Distance between kept images over the typical depth."""
_KEPT = 16


@dataclass(frozen=True, slots=True, eq=False)
class SourceView:
    """A past image and the motion to its camera.

    Attributes:
        gray: (h, w) uint8.
        T_source_target: (4, 4) from the camera of the newest image.
    """

    gray: GrayImage
    T_source_target: FloatArray

    @property
    def baseline(self) -> float:
        """Distance of the cameras, in the unit of the motions."""
        return float(np.linalg.norm(self.T_source_target[:3, 3]))


class SourceViews:
    """The last images that a moving camera took, sparse enough to reach back far enough."""

    def __init__(self) -> None:
        self._views: deque[SourceView] = deque(maxlen=_KEPT)

    def clear(self) -> None:
        """Forget all: the motion to them is unknown."""
        self._views.clear()

    def move(self, T_prev_curr: FloatArray) -> None:
        """Go on to the next image's camera."""
        moved = [SourceView(v.gray, v.T_source_target @ T_prev_curr) for v in self._views]
        self._views = deque(moved, maxlen=_KEPT)

    def add(self, gray: GrayImage, inv_depth: float) -> None:
        """Keep the newest image, unless the last kept one is as good.

        Args:
            gray: (h, w) uint8.
            inv_depth: typical inverse depth of what it shows.
        """
        if not self._views or self._views[-1].baseline * inv_depth > _SPACING:
            self._views.append(SourceView(gray, np.eye(4)))

    def choose(self, inv_depth: float) -> list[SourceView]:
        """The images to match with, at most two; none if the camera has hardly moved.

        Args:
            inv_depth: typical inverse depth of what the newest image shows.
        """
        ratios = {i: view.baseline * inv_depth for i, view in enumerate(self._views)}
        usable = {i: ratio for i, ratio in ratios.items() if ratio > _LEAST}
        chosen: list[SourceView] = []
        for target in _TARGETS:
            if usable:
                best = min(usable, key=lambda i: abs(np.log(usable[i] / target)))
                chosen.append(self._views[best])
                del usable[best]
        return chosen
