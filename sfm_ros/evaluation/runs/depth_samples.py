"""Looks at the depth of some frames of a run: keeps it, and compares it with the ground truth."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, OdometryEstimate, RgbImage
from sfm_ros.evaluation.depth.grid import ImageGrid
from sfm_ros.evaluation.depth.metrics import depth_errors
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth
from sfm_ros.evaluation.runs.result import DepthSnapshot
from sfm_ros.preprocess import rectified_camera

WANTED = 32
"""Frames that are kept of a run; there may be twice as many where its length was not known."""
DEPTH_SCALE = 256.0
"""Units a meter in 16-bit images of depth, as KITTI stores it."""


class SnapshotKeeper:
    """Keeps the depth of every n-th frame, so few that a long run takes no more than a short one.

    Args:
        frames: how many frames are expected.
        input: whether images arrive rectified, as ``PreprocessConfig.input`` says it.
    """

    def __init__(self, frames: int, input: str) -> None:
        self._every = max(frames // WANTED, 1)
        self._input = input
        self._grid: ImageGrid | None = None
        self._kept: dict[int, DepthSnapshot] = {}

    def wants(self, index: int) -> bool:
        """Whether this frame is one of those."""
        return index % self._every == 0

    def add(
        self,
        index: int,
        rgb: RgbImage,
        estimate: OdometryEstimate,
        ground_truth: GroundTruthDepth | None,
    ) -> None:
        """Keep a frame that is wanted, ``rgb`` as the networks saw it; nothing without depth."""
        if estimate.depth is None or estimate.depth_intrinsics is None:
            return
        network = estimate.depth_intrinsics
        scaled = unscaled = shown = None
        if ground_truth is not None:
            predicted = self._grid_for(ground_truth, network).enlarge(estimate.depth)
            scaled = depth_errors(predicted, ground_truth.depth, "median")
            unscaled = depth_errors(predicted, ground_truth.depth, "none")
            shown = on_network_grid(ground_truth, network)
        self._kept[index] = DepthSnapshot(
            stamp_ns=estimate.stamp_ns,
            depth=estimate.depth,
            rgb=rgb,
            ground_truth=shown,
            scaled=scaled,
            unscaled=unscaled,
        )
        if len(self._kept) > 2 * WANTED:  # the run is longer than its source said
            self._every *= 2
            self._kept = {i: kept for i, kept in self._kept.items() if i % self._every == 0}

    @property
    def snapshots(self) -> tuple[DepthSnapshot, ...]:
        """What has been kept, in order."""
        return tuple(self._kept.values())

    def _grid_for(self, ground_truth: GroundTruthDepth, network: CameraIntrinsics) -> ImageGrid:
        if self._grid is None or not self._grid.fits(ground_truth.camera, network):
            how = "rectified" if ground_truth.is_rectified else self._input
            self._grid = ImageGrid(ground_truth.camera, network, how)
        return self._grid


def on_network_grid(ground_truth: GroundTruthDepth, network: CameraIntrinsics) -> DepthMap:
    """(h, w) ground-truth depth where its pixels fall on the network's grid, to be looked at; else NaN.

    The grid of the ground truth is taken as that of a pinhole camera.
    """
    camera = rectified_camera(ground_truth.camera)
    rows, columns = np.nonzero(np.isfinite(ground_truth.depth) & (ground_truth.depth > 0))
    to_network = network.K @ np.linalg.inv(camera.K)
    x = np.rint(to_network[0, 0] * columns + to_network[0, 2]).astype(np.int64)
    y = np.rint(to_network[1, 1] * rows + to_network[1, 2]).astype(np.int64)
    inside = (x >= 0) & (x < network.width) & (y >= 0) & (y < network.height)
    shown = np.full((network.height, network.width), np.nan, dtype=np.float32)
    shown[y[inside], x[inside]] = ground_truth.depth[rows[inside], columns[inside]]
    return shown


def sixteen_bit(depth: DepthMap) -> npt.NDArray[np.uint16]:
    """(H, W) depth in units of 1/256, 0 where unknown or too far to be stored."""
    known = np.isfinite(depth) & (depth > 0) & (depth * DEPTH_SCALE < 65535)
    return np.where(known, np.rint(depth * DEPTH_SCALE), 0).astype(np.uint16)


def png_of(depth: DepthMap) -> bytes:
    """A 16-bit PNG of depth, not compressed: that takes longer than all else about it."""
    _, data = cv2.imencode(".png", sixteen_bit(depth), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    return data.tobytes()
