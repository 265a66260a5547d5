"""The interface of an inference engine."""

from __future__ import annotations

from typing import Protocol

from sfm_ros.datatypes import Prediction
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window


class Engine(Protocol):
    """The depth and the pose network of a bundle, loaded."""

    spec: ModelSpec

    @property
    def name(self) -> str:
        """As in ``model.engine``."""

    @property
    def precision(self) -> str:
        """What it computes in, as in ``model.precision`` but for auto."""

    def infer(self, window: Window) -> Prediction:
        """Predict the depth of the newest frame and the motions of a window.

        Raises:
            EngineError: the inference library failed.
        """

    def close(self) -> None:
        """Release the resources of the engine."""
