"""Views of a street with a closed form, from a camera that moved by known steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from corridor import HEIGHT_M, Board, ahead, depth_map, draw

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray
from sfm_ros.depth.inverse_depth import InverseDepth
from sfm_ros.geometry import inverse

CAMERA = CameraIntrinsics(width=416, height=128, fx=240.0, fy=240.0, cx=207.5, cy=57.0)
STEPS_M = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Views:
    """What a measurement of inverse depth takes, and the depth (h, w) that it should find."""

    target: np.ndarray
    sources: list[np.ndarray]
    T_source_target: list[FloatArray]
    K: FloatArray
    depth: DepthMap

    def prior(self, factor: float = 1.0, relative_sigma: float = 0.25) -> InverseDepth:
        """The ground truth, wrong by a factor."""
        return InverseDepth.from_depth(self.depth * np.float32(factor), relative_sigma)

    @property
    def floor(self) -> DepthMap:
        """(h, w) inverse depth of the road, 0 above the horizon."""
        rows = (np.arange(len(self.depth)) - self.K[1, 2]) / self.K[1, 1]
        column = np.maximum(rows / HEIGHT_M, 0).astype(np.float32)
        return np.repeat(column[:, None], self.depth.shape[1], axis=1)


@cache
def street_views(yaw_deg: float = 0.0) -> Views:
    """A road between two walls, seen from the last pose and from the first and third."""
    return views(ahead(STEPS_M, yaw_deg), (0, 2))


@cache
def box_views() -> Views:
    """The same with a board before each wall."""
    boards = (Board(left=-4.0, right=-1.5, z=9.0), Board(left=2.0, right=4.5, z=14.0))
    return views(ahead(STEPS_M), (0, 2), boards)


def views(
    poses: FloatArray,
    sources: Sequence[int],
    boards: Sequence[Board] = (),
    camera: CameraIntrinsics = CAMERA,
) -> Views:
    """The newest of these poses as target."""
    images = [draw(pose, camera, boards, seed=i)[:, :, 0] for i, pose in enumerate(poses)]
    return Views(
        target=images[-1],
        sources=[images[i] for i in sources],
        T_source_target=[inverse(poses[i]) @ poses[-1] for i in sources],
        K=camera.K,
        depth=depth_map(poses[-1], camera, boards),
    )


def mover_views(across_m: float, ahead_m: float) -> tuple[Views, np.ndarray]:
    """The street with a board that moves by so much in each step, and where it is (h, w)."""
    poses, newest = ahead(STEPS_M), len(STEPS_M)
    boards = [
        [Board(left=-1.0 + across_m * i, right=1.0 + across_m * i, z=12.0 + ahead_m * i)]
        for i in range(-newest, 1)
    ]
    scenes = [views(poses[: i + 1], (), boards[i]) for i in range(newest + 1)]
    target = views(poses, (0, 2), boards[-1])
    moving = replace(target, sources=[scenes[i].target for i in (0, 2)])
    return moving, target.depth < 0.98 * depth_map(poses[-1], CAMERA)
