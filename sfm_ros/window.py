"""The last N frames of a segment, and the rules that decide when a new segment starts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sfm_ros.config import WindowConfig
from sfm_ros.datatypes import CameraIntrinsics, Reason, RgbImage

IGNORED = (Reason.NO_STAMP, Reason.DUPLICATE_STAMP, Reason.OUT_OF_ORDER)
"""Rules by which a frame is rejected."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Window:
    """Input of one inference.

    Attributes:
        images: N images (h, w, 3) uint8 in order of time, all of the same camera.
        stamps_ns: their stamps.
        intrinsics: calibration of that grid.
        camera_height_m: height of the camera above the road; 0 if unknown.
    """

    images: tuple[RgbImage, ...]
    stamps_ns: tuple[int, ...]
    intrinsics: CameraIntrinsics
    camera_height_m: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Entry:
    stamp_ns: int
    image: RgbImage
    intrinsics: CameraIntrinsics


class FrameWindow:
    """Ordered ring buffer of prepared frames.

    * same stamp as the newest: ignored (``DUPLICATE_STAMP``);
    * stamp 0 after any other frame: ignored (``NO_STAMP``), the driver sets none;
    * older than the newest: ignored (``OUT_OF_ORDER``), until a second frame follows it at that
      time, more than ``max_gap_s`` back: then the two start a segment (``TIME_REVERSED``);
    * later than the newest by more than ``max_gap_s``: starts a segment (``GAP``), and so does
      the frame after a single one whose stamp was too late;
    * of another camera: starts a segment (``CALIBRATION_CHANGED``).
    """

    def __init__(self, length: int, config: WindowConfig) -> None:
        self._length = length
        self.configure(config)
        self._entries: deque[_Entry] = deque(maxlen=length)
        self._out_of_order: _Entry | None = None
        self._before_gap_ns: int | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def configure(self, config: WindowConfig) -> None:
        """Apply another limit from the next frame on."""
        self._max_gap_ns = round(config.max_gap_s * 1e9)

    @property
    def newest_stamp_ns(self) -> int | None:
        """Stamp of the newest frame, or None."""
        return self._entries[-1].stamp_ns if self._entries else None

    def clear(self) -> None:
        """Forget every frame."""
        self._entries.clear()
        self._out_of_order = self._before_gap_ns = None

    def follows(self, stamp_ns: int, intrinsics: CameraIntrinsics) -> bool:
        """Whether a frame would continue the window."""
        return bool(self._entries) and self._check(stamp_ns, intrinsics) is None

    def push(self, stamp_ns: int, image: RgbImage, intrinsics: CameraIntrinsics) -> Reason | None:
        """Add a frame; returns the rule that applied, or None if it continues the window."""
        entry = _Entry(stamp_ns=stamp_ns, image=image, intrinsics=intrinsics)
        reason, out_of_order = self._check(stamp_ns, intrinsics), self._out_of_order
        if (
            reason is Reason.OUT_OF_ORDER
            and out_of_order is not None
            and self._continues(out_of_order, entry)
        ):
            reason = Reason.TIME_REVERSED
        self._out_of_order = entry if reason is Reason.OUT_OF_ORDER else None
        if reason in IGNORED:
            return reason
        before_ns = self.newest_stamp_ns
        if reason is not None:
            self._entries.clear()
        if reason is Reason.TIME_REVERSED and out_of_order is not None:
            self._entries.append(out_of_order)
        self._before_gap_ns = before_ns if reason is Reason.GAP else None
        self._entries.append(entry)
        return reason

    def _check(self, stamp_ns: int, intrinsics: CameraIntrinsics) -> Reason | None:
        """The rule for one frame by itself."""
        newest = self.newest_stamp_ns
        if newest is None:
            return None
        if stamp_ns <= newest:
            return self._check_late(stamp_ns, newest)
        if intrinsics is not self._entries[-1].intrinsics:
            return Reason.CALIBRATION_CHANGED
        return Reason.GAP if stamp_ns - newest > self._max_gap_ns else None

    def _check_late(self, stamp_ns: int, newest: int) -> Reason:
        if stamp_ns == 0:
            return Reason.NO_STAMP
        if stamp_ns == newest:
            return Reason.DUPLICATE_STAMP
        if self._before_gap_ns is not None and stamp_ns > self._before_gap_ns:
            return Reason.GAP
        return Reason.OUT_OF_ORDER

    def _continues(self, out_of_order: _Entry, entry: _Entry) -> bool:
        """Whether a second old frame follows the first: time itself was set back."""
        newest = self.newest_stamp_ns
        return (
            newest is not None
            and newest - entry.stamp_ns > self._max_gap_ns
            and 0 < entry.stamp_ns - out_of_order.stamp_ns <= self._max_gap_ns
            and entry.intrinsics is out_of_order.intrinsics
        )

    def window(self, camera_height_m: float = 0.0) -> Window | None:
        """The full window, or None while frames are missing."""
        if len(self._entries) < self._length:
            return None
        return Window(
            images=tuple(entry.image for entry in self._entries),
            stamps_ns=tuple(entry.stamp_ns for entry in self._entries),
            intrinsics=self._entries[-1].intrinsics,
            camera_height_m=camera_height_m,
        )
