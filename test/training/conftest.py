"""A world with a closed form: one slanted, textured wall, seen by a camera that moves."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import RECIPE

from training.data.sequence import PreparedFrame, PreparedSet
from training.preparation.writer import PreparedWriter

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
    """What the camera sees of the wall NORMAL . x = DISTANCE; its center is not K's."""
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


@pytest.fixture(scope="session")
def wall_frames() -> Callable[..., Iterator[PreparedFrame]]:
    """``wall_frames(count, width, height, ground_truth, K)``: frames of the wall, one at a time."""

    def frames(
        count: int,
        width: int = 64,
        height: int = 64,
        ground_truth: bool = True,
        K: tuple[float, float, float, float] | None = None,
    ) -> Iterator[PreparedFrame]:
        for index in range(count):
            yield wall_frame(index, width, height, ground_truth, K)

    return frames


@pytest.fixture(scope="session")
def wall_set(
    tmp_path_factory: pytest.TempPathFactory, wall_frames: Callable[..., Iterator[PreparedFrame]]
) -> PreparedSet:
    """A prepared set of two rides of 40 frames 64x64 along the wall, with depth and poses."""
    path: Path = tmp_path_factory.mktemp("wall")
    writer = PreparedWriter(path, 64, 64)
    for recording in range(2):
        writer.add(f"recording{recording}", wall_frames(40), "closed form")
    return writer.finish()


@pytest.fixture
def recipe(tmp_path: Path, wall_set: PreparedSet, keep_process_state: None) -> Path:
    """A small recipe over the wall, as a file."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(prepared=wall_set.path))
    return path


@pytest.fixture
def keep_process_state() -> Iterator[None]:
    """train.main sets signal handlers and the number of threads of the process."""
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for number, handler in handlers.items():
        signal.signal(number, handler)
