"""What every inference engine offers."""

from __future__ import annotations

from typing import Protocol

from sfm_ros.datatypes import Prediction
from sfm_ros.model_spec import ModelSpec
from sfm_ros.window import Window


class Engine(Protocol):
    """Two networks, ready to run."""

    name: str
    spec: ModelSpec

    def infer(self, window: Window) -> Prediction:
        """Depth of the newest frame and the newest motion of a window.

        Raises:
            EngineError: the library failed.
        """

    def close(self) -> None:
        """Release what the engine holds."""
