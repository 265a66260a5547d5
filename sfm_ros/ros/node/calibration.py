"""The camera's newest calibration, between the callback that receives it and the worker."""

from __future__ import annotations

import threading

from sensor_msgs.msg import CameraInfo

from sfm_ros.cameras.pixels import PixelCamera, choose_camera
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.camera_info import calibration_key, camera_from_info


class CalibrationCache:
    """Keeps the newest CameraInfo; gives the same intrinsics object until its content changes.

    Args:
        topic: on which it is received.
        image_topic: of the images that it describes; its name may show that they are rectified.
        input: see ``PreprocessConfig.input``.
    """

    def __init__(
        self, topic: str = "camera_info", image_topic: str = "image", input: str = "auto"
    ) -> None:
        self.topic = topic
        self._names, self._input = (image_topic, topic), input
        self._changed = threading.Condition()
        self._key: tuple | None = None
        self._camera: PixelCamera | None = None
        self._error: CalibrationError | None = None

    def take(self, info: CameraInfo) -> None:
        """Store a CameraInfo that was received."""
        key = calibration_key(info)
        with self._changed:
            if key == self._key:
                return
            self._key = key
            self._camera = self._error = None
            try:
                stated = camera_from_info(info, self.topic)
                self._camera = choose_camera(stated, self._names, self._input)
            except CalibrationError as error:
                self._error = error
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> CameraIntrinsics | None:
        """The calibration in use; None if none arrives in time.

        Raises:
            CalibrationError: the newest one cannot be used and no other arrives in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._camera is not None, timeout_s)
            if self._error is not None:
                raise self._error
            return None if self._camera is None else self._camera.intrinsics

    @property
    def camera(self) -> PixelCamera | None:
        """The camera in use, and why it is taken; None if there is none."""
        with self._changed:
            return self._camera
