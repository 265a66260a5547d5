"""Motion as the pose network predicts it (Zhou et al., CVPR 2017)."""

from __future__ import annotations

import numpy as np

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import Frame, Prediction, ScaleSource, ScaleState
from sfm_ros.model_spec import ModelSpec
from sfm_ros.motion.base import Motion, Step
from sfm_ros.pose import motion_covariance
from sfm_ros.window import Window


class NetworkMotion:
    """The increments of the pose network, with a covariance that grows with their length."""

    def __init__(self, config: SfmConfig, spec: ModelSpec) -> None:
        self._scale = _constant_scale(config, spec)
        self._new = True
        self.configure(config)

    def add(self, frame: Frame) -> None:
        """Nothing to do before the networks have run."""

    def estimate(self, window: Window, prediction: Prediction | None) -> Motion:
        """The newest increment; all of them if the window has just filled."""
        if prediction is None:
            dt_ns = window.stamps_ns[-1] - window.stamps_ns[-2]
            return Motion(steps=(Step(T_prev_curr=None, dt_ns=dt_ns),), scale=self._scale)
        increments = prediction.increments[0 if self._new else -1 :].copy()
        increments[:, :3, 3] *= self._scale.value
        self._new = False
        steps = tuple(
            Step(
                T_prev_curr=T,
                dt_ns=window.stamps_ns[index + 1] - window.stamps_ns[index],
                covariance=motion_covariance(self._noise, float(np.linalg.norm(T[:3, 3]))),
            )
            for index, T in enumerate(increments, len(window.stamps_ns) - 1 - len(increments))
        )
        return Motion(steps=steps, scale=self._scale)

    def set_camera_height(self, height_m: float) -> None:
        """Lengths have it already, see `sfm_ros.engines.lens`."""

    def add_speed(self, stamp_ns: int, speed: float) -> None:
        """The networks know no speed."""

    def restart(self) -> None:
        """The next window has just filled."""
        self._new = True

    def reset(self) -> None:
        """The next window has just filled."""
        self._new = True

    def configure(self, config: SfmConfig) -> None:
        """Apply other noise."""
        self._noise = config.noise


def _constant_scale(config: SfmConfig, spec: ModelSpec) -> ScaleState:
    """What makes lengths metric without any geometry: the configuration or the bundle."""
    source = config.scale.source
    if source == "fixed":
        return ScaleState(value=config.scale.factor, source=ScaleSource.FIXED)
    if source in ("auto", "model") and spec.metric:
        return ScaleState(source=ScaleSource.MODEL)
    return ScaleState()
