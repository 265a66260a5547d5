"""Rendered streets that tests share: each is built once, each of its frames is rendered once."""

from __future__ import annotations

from functools import cache

import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.geometry import so3_exp
from sfm_ros.source import SourceItem
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

FRAMES = 28
FX, HEIGHT_M = 242.0, 1.5
BRAKING_STEPS_M = np.maximum(1.0 - 0.05 * np.arange(24), 0.0)
"""Distances between the frames of `braking_street`: 5 m/s^2 from 10 m/s to a stop, at 10 Hz."""


class SharedStreet(SyntheticStreet):
    """A street that keeps the frames it has rendered."""

    def __init__(self, config: SyntheticConfig, T_world_camera: FloatArray | None = None) -> None:
        super().__init__(config, T_world_camera)
        self._rendered: dict[int, SourceItem] = {}

    def render(self, index: int) -> SourceItem:
        """See `SyntheticStreet.render`."""
        if index not in self._rendered:
            self._rendered[index] = super().render(index)
        return self._rendered[index]


def street_config(kind: str, seed: int) -> SyntheticConfig:
    """What `shared_street` renders: `FRAMES` images of 416x128 at 10 Hz."""
    return SyntheticConfig(kind=kind, seed=seed, frames=FRAMES)


def shared_street(kind: str = "city", seed: int = 1) -> SharedStreet:
    """A street with random camera poses; the tests take seeds 1, 6 and 14."""
    return _street(street_config(kind, seed))


_street = cache(SharedStreet)


@cache
def braking_street() -> SharedStreet:
    """A camera of focal length `FX` at `HEIGHT_M` above a straight street, level, along +z.

    It brakes from the first frame on (`BRAKING_STEPS_M`; the first step is one meter). One more
    frame is taken where it stops, turned 5 degrees to the left.
    """
    poses = np.tile(np.eye(4), (len(BRAKING_STEPS_M) + 2, 1, 1))
    poses[1:-1, 2, 3] = np.cumsum(BRAKING_STEPS_M)
    poses[-1] = poses[-2]
    poses[-1, :3, :3] = yaw_left(5.0)
    config = SyntheticConfig(seed=5, fx=FX, camera_height_m=HEIGHT_M, kind="city")
    return SharedStreet(config, T_world_camera=poses)


def yaw_left(degrees: float) -> FloatArray:
    """(3, 3) rotation that turns +z toward -x."""
    return so3_exp([0.0, -np.deg2rad(degrees), 0.0])


def ground_truth(item: SourceItem) -> tuple[DepthMap, FloatArray]:
    """Depth (H, W) in meters and T_world_camera (4, 4) of a rendered frame."""
    assert item.depth_m is not None and item.T_world_camera is not None
    return item.depth_m, item.T_world_camera


def ground_truth_motion(previous: SourceItem, current: SourceItem) -> FloatArray:
    """(4, 4) T_prev_curr of two rendered frames."""
    return np.linalg.inv(ground_truth(previous)[1]) @ ground_truth(current)[1]
