"""A video of a run: image, depth of the network, measured depth, and its uncertainty."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from sfm_ros.colormap import UNKNOWN_GRAY, SteadyLimits, captioned, color_of_depth
from sfm_ros.datatypes import DepthMap, OdometryEstimate, RgbImage
from sfm_ros.errors import OutputError

_CODEC = "mp4v"
_ENLARGED = 2
"""Factor of the panels."""
_MAX_UNCERTAINTY = 0.4
_USUAL_FPS, _MAX_FPS = 10.0, 60.0
_NAME = b"sfm_ros depth video"
_TAG = struct.pack(">I4s", 8 + len(_NAME), b"free") + _NAME
"""The end of each of these files: a box of MP4 that players skip (ISO/IEC 14496-12, 8.1.2)."""


class DepthVideo:
    """Writes one image for each frame: four panels, two by two.

    A context manager: the file is complete at the end, and after an exception as it was before.

    Args:
        path: of the file, ``.mp4``. It is there once the video is closed.
    """

    def __init__(self, path: Path) -> None:
        """OutputError if the file cannot be written, see `check_video_file`."""
        check_video_file(path)
        self._path, self._partial = path, path.with_name(f".{path.stem}.partial.mp4")
        self._writer: cv2.VideoWriter | None = None
        self._first: tuple[int, RgbImage] | None = None
        self._limits = SteadyLimits()

    def add(self, rgb: RgbImage, estimate: OdometryEstimate) -> None:
        """Append a frame.

        Args:
            rgb: (h, w, 3) the network's input.
            estimate: of this frame; without depth its panels stay gray.

        Raises:
            OutputError: OpenCV cannot write the video.
        """
        sheet = draw_panels(rgb, estimate, self._limits)
        if self._first is None:
            self._first = estimate.stamp_ns, sheet
            return
        if self._writer is None:
            self._start(estimate.stamp_ns)
        self._write(sheet)

    def _start(self, stamp_ns: int) -> None:
        """Open the file, with the rate of the first two frames, and write the first."""
        assert self._first is not None
        first_ns, sheet = self._first
        interval_s = (stamp_ns - first_ns) * 1e-9
        fps = min(1 / interval_s, _MAX_FPS) if interval_s > 0 else _USUAL_FPS
        height, width = sheet.shape[:2]
        code = cv2.VideoWriter.fourcc(*_CODEC)
        self._writer = cv2.VideoWriter(str(self._partial), code, fps, (width, height))
        if not self._writer.isOpened():
            self._discard()
            raise OutputError(
                f"OpenCV cannot write {self._path} with the codec {_CODEC}; install an "
                "opencv-python-headless with FFmpeg, or leave --video out"
            )
        self._write(sheet)

    def _write(self, sheet: RgbImage) -> None:
        assert self._writer is not None
        self._writer.write(np.ascontiguousarray(sheet[:, :, ::-1]))

    def close(self) -> None:
        """Complete the file; without frames there is none.

        Raises:
            OutputError: it cannot be written, or meanwhile there is a file of others.
        """
        if self._writer is None and self._first is not None:
            self._start(self._first[0])
        if self._writer is None:
            return
        self._writer.release()
        try:
            check_video_file(self._path)
            with self._partial.open("ab") as stream:
                stream.write(_TAG)
            os.replace(self._partial, self._path)
        except OSError as error:
            raise OutputError(
                f"cannot write {self._path}: {error.strerror or error}; name another file"
            ) from error
        finally:
            self._discard()

    def __enter__(self) -> DepthVideo:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._discard()

    def _discard(self) -> None:
        """Drop what is not in place yet."""
        if self._writer is not None:
            self._writer.release()
            self._partial.unlink(missing_ok=True)
        self._writer = self._first = None


def check_video_file(path: Path) -> None:
    """OutputError unless a video may be written there: only those of earlier runs are replaced."""
    if path.suffix.lower() != ".mp4" or not path.parent.is_dir():
        raise OutputError(f"the video is {path}, expected a file .mp4 in an existing folder")
    if os.path.lexists(path) and not _is_own(path):
        raise OutputError(
            f"{path} was not written by an earlier run and is not replaced; name another file for "
            "--video, or give --video alone to score the recording"
        )


def _is_own(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size < len(_TAG):
        return False
    with path.open("rb") as stream:
        stream.seek(-len(_TAG), os.SEEK_END)
        return stream.read() == _TAG


def draw_panels(rgb: RgbImage, estimate: OdometryEstimate, limits: SteadyLimits) -> RgbImage:
    """The four panels of a frame, (H, W, 3), with depth in common colors."""
    network = estimate.network_depth
    measured = estimate.depth if estimate.depth_uncertainty is not None else None
    shown = network if measured is None else measured
    near_far = limits.follow(shown) if shown is not None else (1.0, 80.0)
    span = f"{near_far[0]:.0f} to {near_far[1]:.0f} m, bright = near"
    rows = (
        (_panel(rgb, "image"), _panel(_depth(network, rgb, near_far), f"network, {span}")),
        (
            _panel(_depth(measured, rgb, near_far), f"several views, {span}"),
            _panel(
                _certainty(estimate.depth_uncertainty, rgb),
                f"uncertainty, 0 to {_MAX_UNCERTAINTY:.0%}, bright = sure",
            ),
        ),
    )
    return np.vstack([np.hstack(row) for row in rows])


def _depth(depth: DepthMap | None, rgb: RgbImage, limits: tuple[float, float]) -> RgbImage:
    return _unknown(rgb) if depth is None else color_of_depth(depth, limits)


def _certainty(uncertainty: DepthMap | None, rgb: RgbImage) -> RgbImage:
    if uncertainty is None:
        return _unknown(rgb)
    known = np.isfinite(uncertainty)
    level = 1 - np.clip(np.where(known, uncertainty, 1) / _MAX_UNCERTAINTY, 0, 1)
    colors = cv2.applyColorMap(np.rint(255 * level).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    shown: RgbImage = np.ascontiguousarray(colors[:, :, ::-1], dtype=np.uint8)
    shown[~known] = UNKNOWN_GRAY
    return shown


def _unknown(rgb: RgbImage) -> RgbImage:
    return np.full_like(rgb, UNKNOWN_GRAY)


def _panel(rgb: RgbImage, caption: str) -> RgbImage:
    height, width = (_ENLARGED * side for side in rgb.shape[:2])
    large = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return captioned(np.asarray(large, dtype=np.uint8), caption)
