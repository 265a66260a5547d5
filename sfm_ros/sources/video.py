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

_COUNTED_SUFFIXES = (".avi", ".m4v", ".mov", ".mp4")
"""Of files that state the number of their frames; of others it is estimated by the duration."""
_ESTIMATE = 0.05


class VideoSource:
    """The frames of a video that OpenCV can decode, with its own presentation times.

    Attributes:
        name: the file.
        fps: frames per second, as stated in the file or by the caller.
        camera: the camera of all frames, and why it is taken.
        camera_height_m: None; a video file does not hold it.
        remarks: what was unusual so far, a sentence each.
        unreadable: frames that the file states and the latest iteration could not decode.
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
            fps: replaces the times in the file.
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
            first, first_ns = _next_image(capture), _presentation_ns(capture)
            has_second, second_ns = _next_image(capture) is not None, _presentation_ns(capture)
        finally:
            capture.release()
        if first is None:
            raise SourceError(f"the video {path} holds no frame that can be decoded")
        self._has_times = fps is None and has_second and second_ns > first_ns
        self.fps = float(fps if fps is not None else stated)
        if not 0 < self.fps < float("inf"):
            if not self._has_times:
                raise SourceError(
                    f"the video {path} has the frame rate {self.fps:g}, expected a positive "
                    "number; pass fps"
                )
            self.fps = NS / (second_ns - first_ns)
        self.remarks: tuple[str, ...] = ()
        if fps is None and not self._has_times and has_second:
            self.remarks = (
                f"{path}: it has no presentation times, so that its {self.fps:g} frames per "
                "second are used",
            )
        self._count = max(int(count), 1)
        self.unreadable = 0
        self.camera = camera_for(first, calib, camera, (Path(path).stem,), input)
        self._intrinsics = self.camera.intrinsics

    def __len__(self) -> int:
        """Number of frames stated in the file; a damaged file may hold fewer."""
        return self._count

    def __iter__(self) -> Iterator[SourceItem]:
        capture = self._open()
        self.unreadable = 0
        try:
            index, stamp_ns = 0, None
            while (rgb := _next_image(capture)) is not None:
                stamp_ns = self._stamp_ns(capture, index, stamp_ns)
                frame = Frame(stamp_ns=stamp_ns, rgb=rgb, intrinsics=self._intrinsics)
                yield SourceItem(frame=frame)
                index += 1
            self._count_missing(index)
        finally:
            capture.release()

    def _count_missing(self, found: int) -> None:
        is_exact = Path(self.name).suffix.lower() in _COUNTED_SUFFIXES
        missing = max(self._count - found, 0)
        if missing > (0 if is_exact else _ESTIMATE * self._count):
            self.unreadable = missing
            self._note(f"it ends early: {missing} of {self._count} frames cannot be read")

    def _note(self, text: str) -> None:
        """Add a remark, once."""
        remark = f"{self.name}: {text}"
        if remark not in self.remarks:
            self.remarks += (remark,)

    def _stamp_ns(self, capture: cv2.VideoCapture, index: int, before_ns: int | None) -> int:
        """The stamp of the frame that was decoded last."""
        if not self._has_times:
            return round(index * NS / self.fps)
        stamp_ns = _presentation_ns(capture)
        if before_ns is None or stamp_ns > before_ns:
            return stamp_ns
        self._note("some presentation times do not increase; they are made up")
        return before_ns + round(NS / self.fps)

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


def _presentation_ns(capture: cv2.VideoCapture) -> int:
    """Presentation time of the frame that was decoded last."""
    return round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)


def _next_image(capture: cv2.VideoCapture) -> RgbImage | None:
    ok, bgr = capture.read()
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8) if ok else None
