"""The camera's newest calibration, between the callback that receives it and the worker."""

from __future__ import annotations

import threading

from sensor_msgs.msg import CameraInfo

from sfm_ros.cameras.followed import FollowedCamera
from sfm_ros.cameras.pixels import PixelCamera
from sfm_ros.datatypes import CameraIntrinsics


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
        self._changed = threading.Condition()
        self._followed = FollowedCamera(topic, (image_topic, topic), input)

    def take(self, info: CameraInfo) -> None:
        """Store a CameraInfo that was received."""
        with self._changed:
            if self._followed.take(info):
                self._changed.notify_all()

    def wait(self, timeout_s: float) -> CameraIntrinsics | None:
        """The calibration in use; None if none arrives in time.

        Raises:
            CalibrationError: the newest one cannot be used and no other arrives in time.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._followed.camera is not None, timeout_s)
            if self._followed.error is not None:
                raise self._followed.error
            camera = self._followed.camera
            return None if camera is None else camera.intrinsics

    @property
    def camera(self) -> PixelCamera | None:
        """The camera in use, and why it is taken; None if there is none."""
        with self._changed:
            return self._followed.camera
