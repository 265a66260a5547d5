"""Rays of random points before a camera that moves in a known way, and of points of a street."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from corridor import HALF_WIDTH_M, HEIGHT_M

from sfm_ros.datatypes import FloatArray
from sfm_ros.motion.tracker import TrackedPair
from sfm_ros.motion.two_view import TwoView, estimate_two_view

FOCAL_PX = 700.0
DT_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Rays:
    """(N, 3) rays at depth 1 of the older and the newer camera, and (N,) depth in the newer."""

    prev: FloatArray
    curr: FloatArray
    depth: FloatArray


def random_points(rng: np.random.Generator, count: int = 400) -> FloatArray:
    """(N, 3) points within the view, 4 to 60 units away."""
    depth = 1 / rng.uniform(1 / 60, 1 / 4, count)
    x, y = rng.uniform(-0.8, 0.8, count), rng.uniform(-0.28, 0.28, count)
    return np.stack([x, y, np.ones(count)], axis=1) * depth[:, None]


def seen(
    R: FloatArray,
    t: FloatArray,
    points: FloatArray,
    rng: np.random.Generator | None = None,
    noise_px: float = 0.0,
) -> Rays:
    """Points of the newer camera as both see them, where X_prev = R X_curr + t."""
    older = points @ R.T + t
    prev, curr = (each / each[:, 2:] for each in (older, points))
    if rng is not None:
        for rays in (prev, curr):
            rays[:, :2] += rng.normal(0.0, noise_px / FOCAL_PX, (len(rays), 2))
    return Rays(prev=prev, curr=curr, depth=points[:, 2])


def pair_of(rays: Rays, ids: np.ndarray | None = None, dt_s: float = DT_S) -> TrackedPair:
    """The rays as tracks of two good images."""
    return TrackedPair(
        ids=np.arange(len(rays.prev)) if ids is None else ids,
        rays_prev=rays.prev,
        rays_curr=rays.curr,
        focal_px=FOCAL_PX,
        dt_s=dt_s,
        brightness=100.0,
        overexposed=0.0,
        sharpness=10.0,
    )


def street_points(rng: np.random.Generator, count: int = 6000, end_m: float = 120.0) -> FloatArray:
    """(N, 3) points of the road and the walls of `corridor`, in its world."""
    half, road = count // 2, HEIGHT_M
    side = rng.choice([-HALF_WIDTH_M, HALF_WIDTH_M], count - half)
    ground = [rng.uniform(-HALF_WIDTH_M, HALF_WIDTH_M, half), np.full(half, road)]
    walls = [side, rng.uniform(-3.0, road, count - half)]
    across = np.concatenate([ground, walls], axis=1)
    return np.column_stack([*across, rng.uniform(2.0, end_m, count)])


def street_pairs(
    poses: FloatArray, rng: np.random.Generator, noise_px: float = 0.1, dt_s: float = DT_S
) -> Iterator[tuple[TwoView, TrackedPair]]:
    """Motion and tracks of neighboring frames of cameras in the street; the tracks persist."""
    world = street_points(rng)
    last: tuple[np.ndarray, FloatArray] | None = None
    for pose in poses:
        inside = (world - pose[:3, 3]) @ pose[:3, :3]
        near = (inside[:, 2] > 2) & (inside[:, 2] < 50)
        near &= np.all(np.abs(inside[:, :2]) < [[0.9, 0.3]] * inside[:, 2:], axis=1)
        ids = np.flatnonzero(near)
        rays = inside[ids] / inside[ids, 2:]
        rays[:, :2] += rng.normal(0.0, noise_px / FOCAL_PX, (len(ids), 2))
        if last is not None:
            both, new, old = np.intersect1d(ids, last[0], return_indices=True)
            pair = pair_of(Rays(prev=last[1][old], curr=rays[new], depth=rays[new, 2]), both, dt_s)
            starts = [(np.eye(3), np.array([0.0, 0.0, 1.0]))]
            yield estimate_two_view(pair.rays_prev, pair.rays_curr, FOCAL_PX, starts), pair
        last = ids, rays


def angle_between(a: FloatArray, b: FloatArray) -> float:
    """Degrees between two vectors."""
    cross, dot = np.linalg.norm(np.cross(a, b)), float(a @ b)
    return float(np.degrees(np.arctan2(cross, dot)))
