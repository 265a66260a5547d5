"""The camera's newest calibration, between the callback that receives it and the worker."""

from __future__ import annotations

import threading

from sensor_msgs.msg import CameraInfo

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.camera_info import calibration_key, intrinsics_from_info


class CalibrationCache:
    """Keeps the newest CameraInfo; gives the same intrinsics object until its content changes.

    Args:
        topic: on which it is received.
    """

    def __init__(self, topic: str = "camera_info") -> None:
        self.topic = topic
        self._changed = threading.Condition()
        self._key: tuple | None = None
        self._intrinsics: CameraIntrinsics | None = None
        self._error: CalibrationError | None = None

    def take(self, info: CameraInfo) -> None:
        """Store a CameraInfo that was received."""
        key = calibration_key(info)
        with self._changed:
            if key == self._key:
                return
            self._key = key
            self._intrinsics = self._error = None
            try:
                self._intrinsics = intrinsics_from_info(info)
            except CalibrationError as error:
                self._error = error
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> CameraIntrinsics | None:
        """The calibration in use; None if none arrives in time.

        Raises:
            CalibrationError: the newest one cannot be used and no other arrives in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._intrinsics is not None, timeout_s)
            if self._error is not None:
                raise self._error
            return self._intrinsics
