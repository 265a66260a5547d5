"""The camera of a stream of images, whose camera_info may change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sfm_ros.cameras.pixels import PixelCamera, choose_camera
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.camera_info import calibration_key, camera_from_info


class FollowedCamera:
    """Takes the messages of camera_info in order and keeps the camera that the newest one gives.

    The same object is kept until the content of the messages changes.

    Attributes:
        camera: of the newest message; None before the first one, or if it cannot be used.
        error: why it cannot be used; None if it can.
        has_been_usable: whether any message so far gave a camera.
    """

    def __init__(self, origin: str, names: Sequence[str], input: str) -> None:
        """See `choose_camera`; ``origin`` is the topic, for messages."""
        self._origin, self._names, self._input = origin, names, input
        self._key: tuple[Any, ...] | None = None
        self.camera: PixelCamera | None = None
        self.error: CalibrationError | None = None
        self.has_been_usable = False

    def take(self, info: Any) -> bool:
        """Take the next message; returns whether its content differs from the one before."""
        key = calibration_key(info)
        if key == self._key:
            return False
        self._key = key
        self.camera = self.error = None
        try:
            stated = camera_from_info(info, self._origin)
            self.camera = choose_camera(stated, self._names, self._input)
            self.has_been_usable = True
        except CalibrationError as error:
            self.error = error
        return True
