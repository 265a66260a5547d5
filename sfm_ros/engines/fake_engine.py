"""An engine with a given output, for tests and to check the frames of a robot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray, Prediction
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window


def fake_spec(
    width: int = 416, height: int = 128, sequence_length: int = 3, metric: bool = True
) -> ModelSpec:
    """A model spec without files."""
    return ModelSpec(
        name="fake",
        width=width,
        height=height,
        sequence_length=sequence_length,
        target_index=sequence_length // 2,
        training_fx=0.58 * width,
        metric=metric,
        min_depth=0.1,
        max_depth=100.0,
    )


class FakeEngine:
    """Predicts a given motion and depth.

    Args:
        spec: its model spec; by default `fake_spec`.
        motion: increments (N-1, 4, 4), one (4, 4) for all pairs of neighbors, or a function of the
            window that returns them; by default no motion.
        depth: (h, w) depth or a function of the window; by default a road 1.65 m below the camera.
    """

    name, precision = "fake", "fp32"

    def __init__(
        self,
        spec: ModelSpec | None = None,
        motion: FloatArray | Callable[[Window], FloatArray] | None = None,
        depth: DepthMap | Callable[[Window], DepthMap] | None = None,
    ) -> None:
        self.spec = spec or fake_spec()
        self._motion = np.eye(4) if motion is None else motion
        self._depth = road_depth if depth is None else depth

    def infer(self, window: Window) -> Prediction:
        """The given motion and depth for this window."""
        motion = self._motion(window) if callable(self._motion) else self._motion
        depth = self._depth(window) if callable(self._depth) else self._depth
        increments = np.broadcast_to(motion, (self.spec.sequence_length - 1, 4, 4))
        return Prediction(depth=np.asarray(depth, dtype=np.float32), increments=increments)

    def close(self) -> None:
        """No resources to release."""


def road_depth(window: Window, camera_height: float = 1.65, far: float = 80.0) -> DepthMap:
    """(h, w) depth of a level road: fy * height / (row - cy) below the horizon, else ``far``."""
    camera = window.intrinsics
    below = np.maximum(np.arange(camera.height) - camera.cy, 1e-6)
    column = np.minimum(camera.fy * camera_height / below, far).astype(np.float32)
    return np.repeat(column[:, None], camera.width, axis=1)
