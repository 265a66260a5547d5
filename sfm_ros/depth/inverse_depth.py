"""Inverse depth with its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import DepthMap, read_only
from sfm_ros.depth.maps import Mask


@dataclass(frozen=True, slots=True, eq=False)
class InverseDepth:
    """Inverse depth of each pixel of an image.

    Attributes:
        inv_depth: (h, w) float32, 1 / depth along +z, in 1 / the unit of the motions.
        sigma: (h, w) float32, its standard deviation, absolute, in the same unit.
        valid: (h, w) bool; where it is False the other two mean nothing.
    """

    inv_depth: DepthMap
    sigma: DepthMap
    valid: Mask

    def __post_init__(self) -> None:
        for name in ("inv_depth", "sigma", "valid"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @staticmethod
    def from_depth(depth: DepthMap, relative_sigma: float) -> InverseDepth:
        """The inverse of a depth map; where that is not finite and positive it is invalid.

        Args:
            depth: (h, w) along +z.
            relative_sigma: standard deviation of the depth over the depth.
        """
        valid = np.isfinite(depth) & (depth > 0)
        inv_depth = (1 / np.where(valid, depth, 1)).astype(np.float32)
        return InverseDepth(inv_depth, inv_depth * np.float32(relative_sigma), valid)

    @property
    def relative_sigma(self) -> DepthMap:
        """(h, w) standard deviation over the value; that of the depth is the same."""
        return (self.sigma / np.maximum(self.inv_depth, np.finfo(np.float32).tiny)).astype(
            np.float32
        )

    def depth(self) -> DepthMap:
        """(h, w) float32 depth along +z, NaN where it is invalid."""
        valid = self.valid & (self.inv_depth > 0)
        return np.where(valid, 1 / np.where(valid, self.inv_depth, 1), np.nan).astype(np.float32)
