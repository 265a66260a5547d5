"""Conversion of network units to published units, and what vouches for it."""

from __future__ import annotations

from typing import Protocol

from sfm_ros.config import ScaleConfig
from sfm_ros.datatypes import Prediction, ScaleSource, ScaleState
from sfm_ros.model_spec import ModelSpec


class ScaleEstimator(Protocol):
    """Estimates the length of a network unit."""

    def update(self, prediction: Prediction, stamp_ns: int) -> ScaleState:
        """The scale to publish this prediction with."""

    def reset(self) -> None:
        """Forget what was learned from past frames."""


class ConstantScale:
    """A factor that does not change."""

    def __init__(self, state: ScaleState) -> None:
        self._state = state

    def update(self, prediction: Prediction, stamp_ns: int) -> ScaleState:
        """The factor."""
        return self._state

    def reset(self) -> None:
        """Nothing was learned."""


def create_scale(config: ScaleConfig, spec: ModelSpec) -> ScaleEstimator:
    """The estimator a configuration asks for."""
    source = scale_source(config, spec)
    value = config.factor if source is ScaleSource.FIXED else 1.0
    return ConstantScale(ScaleState(value=value, source=source))


def scale_source(config: ScaleConfig, spec: ModelSpec) -> ScaleSource:
    """What makes lengths metric: the configuration or the bundle; UNKNOWN if neither does."""
    if config.source == "fixed":
        return ScaleSource.FIXED
    if config.source == "model" and spec.metric:
        return ScaleSource.MODEL
    return ScaleSource.UNKNOWN
