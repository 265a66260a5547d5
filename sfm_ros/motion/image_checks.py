"""Checks of the camera's images at full size: dark, overexposed, blurred."""

from __future__ import annotations

from collections import deque
from statistics import median

from sfm_ros.config import HealthConfig
from sfm_ros.datatypes import Reason
from sfm_ros.motion.tracker import TrackedPair

_USUAL = 30
_MIN_FRAMES = 3


class ImageChecks:
    """Compares each image with limits and with the last ones."""

    def __init__(self, config: HealthConfig) -> None:
        self._sharpness: deque[float] = deque(maxlen=_USUAL)
        self.configure(config)

    def configure(self, config: HealthConfig) -> None:
        """Apply other limits from the next frame on."""
        self._config = config

    def reset(self) -> None:
        """Forget the last images."""
        self._sharpness.clear()

    def check(self, pair: TrackedPair) -> list[Reason]:
        """What is doubtful about the newer image of a pair."""
        config, found = self._config, []
        if pair.brightness < config.min_brightness:
            found.append(Reason.LOW_LIGHT)
        if pair.overexposed > config.max_overexposed:
            found.append(Reason.OVEREXPOSED)
        usual = self._sharpness
        if len(usual) >= _MIN_FRAMES and pair.sharpness < config.min_sharpness * median(usual):
            found.append(Reason.BLUR)
        usual.append(pair.sharpness)  # in the end, fog or a dirty lens is what is usual
        return found
