"""Keeps the depth of some frames of a run and compares it with the ground truth."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, OdometryEstimate, RgbImage
from sfm_ros.evaluation.depth.confidence import DepthScore, score_depth_map
from sfm_ros.evaluation.depth.grid import ImageGrid
from sfm_ros.evaluation.depth.metrics import crop_mask
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth
from sfm_ros.evaluation.runs.result import MULTIVIEW, NETWORK, DepthSnapshot
from sfm_ros.preprocess import rectified_camera

KEPT_FRAMES = 32
"""Frames kept of a run; up to twice as many if its length was not known."""
DEPTH_SCALE = 256.0
"""Units per meter in 16-bit images of depth, as KITTI stores it."""


class DepthComparison:
    """Compares depth on the network's grid with the ground truth."""

    def __init__(self) -> None:
        self._grid = ImageGrid()

    def snapshot(
        self,
        stamp_ns: int,
        depth: DepthMap,
        network: CameraIntrinsics,
        rgb: RgbImage | None,
        ground_truth: GroundTruthDepth | None,
        uncertainty: DepthMap | None = None,
        network_depth: DepthMap | None = None,
    ) -> DepthSnapshot:
        """One frame with the errors of its depth.

        Args:
            stamp_ns: of the frame.
            depth: (h, w) on the grid of ``network``.
            network: camera of that grid.
            rgb: an image of the frame.
            ground_truth: depth of the frame, or None.
            uncertainty: (h, w) relative standard deviation of the depth; None of the network's.
            network_depth: (h, w) the network's, if ``depth`` is another.
        """
        plain = DepthSnapshot(stamp_ns=stamp_ns, depth=depth, rgb=rgb)
        if ground_truth is None:
            return plain
        own_name = NETWORK if uncertainty is None else MULTIVIEW
        maps: dict[str, tuple[DepthMap, DepthMap | None]] = {own_name: (depth, uncertainty)}
        if network_depth is not None:
            maps = {NETWORK: (network_depth, None), **maps}
        found = {name: self._score(*each, network, ground_truth) for name, each in maps.items()}
        own = found[own_name]
        return replace(
            plain,
            ground_truth=on_network_grid(_cropped(ground_truth), network),
            scaled=None if own is None else own.scaled,
            unscaled=None if own is None else own.unscaled,
            scores={name: score for name, score in found.items() if score is not None},
        )

    def _score(
        self,
        depth: DepthMap,
        uncertainty: DepthMap | None,
        network: CameraIntrinsics,
        ground_truth: GroundTruthDepth,
    ) -> DepthScore | None:
        on_image = [
            None if each is None else self._grid.enlarge(each, ground_truth.camera, network)
            for each in (depth, uncertainty)
        ]
        mask = crop_mask(ground_truth.crop, *ground_truth.depth.shape)
        assert on_image[0] is not None
        return score_depth_map(on_image[0], ground_truth.depth, on_image[1], mask)


def _cropped(ground_truth: GroundTruthDepth) -> GroundTruthDepth:
    """The ground truth of the pixels that are compared alone."""
    mask = crop_mask(ground_truth.crop, *ground_truth.depth.shape)
    if mask is None:
        return ground_truth
    return replace(ground_truth, depth=np.where(mask, ground_truth.depth, np.float32(np.nan)))


class SnapshotKeeper:
    """Keeps the depth of every n-th frame, so that memory does not grow with the run.

    Args:
        frames: number of frames expected.
    """

    def __init__(self, frames: int) -> None:
        self._every = max(frames // KEPT_FRAMES, 1)
        self._comparison = DepthComparison()
        self._kept: dict[int, DepthSnapshot] = {}

    def needs(self, index: int) -> bool:
        """Whether this frame is one of those to keep."""
        return index % self._every == 0

    def add(
        self,
        index: int,
        rgb: RgbImage,
        estimate: OdometryEstimate,
        ground_truth: GroundTruthDepth | None,
    ) -> None:
        """Keep a frame, unless it has no depth; ``rgb`` is the input of the networks."""
        if estimate.depth is None or estimate.depth_intrinsics is None:
            return
        self._kept[index] = self._comparison.snapshot(
            estimate.stamp_ns,
            estimate.depth,
            estimate.depth_intrinsics,
            rgb,
            ground_truth,
            estimate.depth_uncertainty,
            None if estimate.depth_uncertainty is None else estimate.network_depth,
        )
        if len(self._kept) > 2 * KEPT_FRAMES:  # the run is longer than expected
            self._every *= 2
            self._kept = {i: kept for i, kept in self._kept.items() if i % self._every == 0}

    @property
    def snapshots(self) -> tuple[DepthSnapshot, ...]:
        """The frames kept so far, in order."""
        return tuple(self._kept.values())


def on_network_grid(ground_truth: GroundTruthDepth, network: CameraIntrinsics) -> DepthMap:
    """(h, w) ground-truth depth on the network's grid, for figures; NaN where no pixel falls.

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
    """(H, W) depth in units of 1/256 m, 0 if unknown or too far to be stored."""
    known = np.isfinite(depth) & (depth > 0) & (depth * DEPTH_SCALE < 65535)
    return np.where(known, np.rint(depth * DEPTH_SCALE), 0).astype(np.uint16)


def png_of(depth: DepthMap) -> bytes:
    """A 16-bit PNG of depth, not compressed, because compressing takes longer than all else."""
    _, data = cv2.imencode(".png", sixteen_bit(depth), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    return data.tobytes()
