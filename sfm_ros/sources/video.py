"""A video file as a source of frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from sfm_ros.datatypes import CameraIntrinsics, Frame, RgbImage
from sfm_ros.errors import ImageError, SourceError
from sfm_ros.safety import limits
from sfm_ros.safety.image_size import check_size
from sfm_ros.source import SourceItem
from sfm_ros.sources.folder import camera_for
from sfm_ros.sources.timestamps import NS


class VideoSource:
    """The frames of a video that OpenCV can decode, with stamps from 0 at its frame rate.

    Attributes:
        name: the file.
        fps: frames per second.
        camera: the camera of all frames, and why it is taken.
        camera_height_m: None; a video file does not hold it.
    """

    camera_height_m: float | None = None

    def __init__(
        self,
        path: str | Path,
        calib: str | Path | CameraIntrinsics,
        fps: float | None = None,
        max_megapixels: float = limits.IMAGE_MEGAPIXELS,
        camera: str | int | None = None,
        input: str = "auto",
    ) -> None:
        """Open the video and decode its first frame.

        Args:
            path: the file.
            calib: camera of its frames, or a calibration file (see `read_camera`).
            fps: overrides the frame rate in the file.
            max_megapixels: a video of larger frames is refused, by its header.
            camera: which camera of a calibration file with several.
            input: see ``PreprocessConfig.input``.

        Raises:
            SourceError: no such file, not a video, too large, no frame, or no frame rate.
            CalibrationError: see `read_camera` and `choose_camera`.
        """
        self.name, self._max_megapixels = str(path), max_megapixels
        capture = self._open()
        try:
            stated, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
            first = _next_image(capture)
        finally:
            capture.release()
        if first is None:
            raise SourceError(f"the video {path} holds no frame that can be decoded")
        self.fps = float(fps if fps is not None else stated)
        if not 0 < self.fps < float("inf"):
            raise SourceError(
                f"the video {path} has the frame rate {self.fps:g}, expected a positive number; "
                "pass fps"
            )
        self._count = max(int(count), 1)
        self.camera = camera_for(first, calib, camera, (Path(path).stem,), input)
        self._intrinsics = self.camera.intrinsics

    def __len__(self) -> int:
        """Number of frames stated in the file; a damaged file may hold fewer."""
        return self._count

    def __iter__(self) -> Iterator[SourceItem]:
        capture = self._open()
        try:
            index = 0
            while (rgb := _next_image(capture)) is not None:
                stamp_ns = round(index * NS / self.fps)
                frame = Frame(stamp_ns=stamp_ns, rgb=rgb, intrinsics=self._intrinsics)
                yield SourceItem(frame=frame)
                index += 1
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        if not Path(self.name).is_file():
            raise SourceError(f"there is no video file {self.name}")
        capture = cv2.VideoCapture(self.name)
        if not capture.isOpened():
            raise SourceError(f"cannot read {self.name}: not a video, damaged, or no codec for it")
        width, height = (
            capture.get(cv2.CAP_PROP_FRAME_WIDTH),
            capture.get(cv2.CAP_PROP_FRAME_HEIGHT),
        )
        try:
            check_size(width, height, self._max_megapixels)
        except ImageError as error:
            capture.release()
            raise SourceError(f"cannot read the video {self.name}: {error}") from error
        return capture


def _next_image(capture: cv2.VideoCapture) -> RgbImage | None:
    ok, bgr = capture.read()
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8) if ok else None
