"""A scene with a closed form: one slanted, textured wall in front of a moving camera."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.data.sequence import PreparedFrame

NORMAL = np.array([0.3, 0.1, 1.0])
DISTANCE = 6.0
WAVES = np.array([[1.1, 0.4, 0.2], [-0.7, 1.9, 1.3], [2.3, 1.2, 2.1], [0.5, -2.6, 0.7]])


def wall_pose(index: int) -> np.ndarray:
    """T_world_camera of a frame: forward, to the right, and a yaw that changes its sign."""
    yaw = 0.03 * np.sin(0.9 * index)
    T = np.eye(4)
    T[:3, :3] = [
        [np.cos(yaw), 0.0, np.sin(yaw)],
        [0.0, 1.0, 0.0],
        [-np.sin(yaw), 0.0, np.cos(yaw)],
    ]
    T[:3, 3] = [0.05 * index, 0.01 * index, 0.04 * index + 0.03 * np.sin(index)]
    return T


def wall_frame(
    index: int,
    width: int,
    height: int,
    ground_truth: bool = True,
    K: tuple[float, float, float, float] | None = None,
) -> PreparedFrame:
    """Image and depth of the wall NORMAL . x = DISTANCE; the principal point is off-center."""
    fx, fy, cx, cy = K or (0.8 * width, 0.9 * width, 0.4 * width, 0.55 * height)
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack([(u - cx) / fx, (v - cy) / fy, np.ones_like(u, dtype=float)], axis=-1)
    T = wall_pose(index)
    directions = rays @ T[:3, :3].T
    depth = (DISTANCE - NORMAL @ T[:3, 3]) / (directions @ NORMAL)
    points = T[:3, 3] + depth[..., None] * directions
    colors = [
        np.sin(1.7 * (points[..., :2] @ wave[:2]) + wave[2] + 2.0 * channel)
        for channel in range(3)
        for wave in WAVES
    ]
    rgb = np.array(colors).reshape(3, len(WAVES), height, width).mean(1).transpose(1, 2, 0)
    return PreparedFrame(
        rgb=np.rint(127.5 + 120.0 * rgb).astype(np.uint8),
        K=(fx, fy, cx, cy),
        stamp_ns=index * 100_000_000,
        T_world_camera=T if ground_truth else None,
        depth_m=depth.astype(np.float32) if ground_truth else None,
    )


def wall_frames(
    count: int,
    width: int = 64,
    height: int = 64,
    ground_truth: bool = True,
    K: tuple[float, float, float, float] | None = None,
) -> Iterator[PreparedFrame]:
    """The first frames of the sequence, one at a time."""
    for index in range(count):
        yield wall_frame(index, width, height, ground_truth, K)
