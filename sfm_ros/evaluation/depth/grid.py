"""Predicted depth on the grid of the original image.

The *inverse* depth is upsampled bilinearly, as in Zhou et al. (2017) and later programs:
interpolated depth would create points in the air at edges. At the border the outermost values
extend to the edge of their pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.datatypes import CameraIntrinsics, DepthMap
from sfm_ros.evaluation.depth.metrics import Mask
from sfm_ros.preprocess import calibration_key, normalized_points


class ImageGrid:
    """Maps the pixels of a camera image to the image of the network.

    The maps are expensive, and kept as long as the cameras are the same.
    """

    def __init__(self) -> None:
        self._key: tuple | None = None

    def enlarge(
        self, depth: DepthMap, image: CameraIntrinsics, network: CameraIntrinsics
    ) -> DepthMap:
        """(H, W) depth on the image of (h, w) depth on the network's grid; NaN if not visible.

        Args:
            depth: (h, w).
            image: camera of the original image.
            network: pinhole camera of the network's input, see `ImagePreparer`.
        """
        key = (calibration_key(image), calibration_key(network))
        if key != self._key:
            self._compute_maps(image, network)
            self._key = key
        with np.errstate(divide="ignore", invalid="ignore"):
            known = np.isfinite(depth) & (depth > 0)
            inverse = np.where(known, 1.0 / depth, np.nan).astype(np.float32)
        enlarged = cv2.remap(
            inverse, self._x, self._y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.where(self._visible, 1.0 / enlarged, np.float32(np.nan)).astype(np.float32)

    def _compute_maps(self, image: CameraIntrinsics, network: CameraIntrinsics) -> None:
        columns, rows = np.meshgrid(np.arange(image.width), np.arange(image.height))
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
        rays = normalized_points(image, pixels)
        x, y = rays.T.reshape(2, image.height, image.width)
        self._x = (network.fx * x + network.cx).astype(np.float32)
        self._y = (network.fy * y + network.cy).astype(np.float32)
        # Up to the edge of the outermost pixels, with a tolerance for rounding.
        edge = 0.5 + 1e-4
        # (H, W): the image of the network covers the center of the pixel.
        self._visible: Mask = (
            (self._x >= -edge)
            & (self._x <= network.width - 1 + edge)
            & (self._y >= -edge)
            & (self._y <= network.height - 1 + edge)
        )
