"""A street of planes, whose optical flow is known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics, FloatArray
from training.preparation.teacher.pair import Flow
from training.preparation.teacher.view import View

WIDTH, HEIGHT = 160, 64
ExactFlow = Callable[[FloatArray], Flow]


@pytest.fixture
def view() -> View:
    """A camera 1.5 m above the road, without pitch, with different focal lengths."""
    camera = CameraIntrinsics(width=WIDTH, height=HEIGHT, fx=120.0, fy=110.0, cx=78.0, cy=30.0)
    return View(camera, 1.5, np.array([0.0, 1.0, 0.0]))


@pytest.fixture
def inv_depth(view: View) -> FloatArray:
    """(h, w) of the road, with a wall at 20 m across it."""
    y = (np.arange(HEIGHT) - view.camera.cy) / view.camera.fy
    return np.repeat(np.maximum(y / view.height_m, 1 / 20.0)[:, None], WIDTH, axis=1)


@pytest.fixture
def exact_flow(view: View, inv_depth: FloatArray) -> ExactFlow:
    """``exact_flow(T_source_target)`` projects each point of the street, one by one."""
    K = view.camera.K
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    points = np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1)
    points = points / inv_depth.ravel()

    def flow(T_source_target: FloatArray) -> Flow:
        seen = K @ (T_source_target[:3, :3] @ points + T_source_target[:3, 3:])
        pixels = (seen[:2] / seen[2]).reshape(2, HEIGHT, WIDTH)
        return np.stack([pixels[0] - u, pixels[1] - v], axis=-1).astype(np.float32)

    return flow
