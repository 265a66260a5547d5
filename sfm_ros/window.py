"""The last N frames that belong together, and the rules that decide what belongs together."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sfm_ros.datatypes import CameraIntrinsics, Reason, RgbImage


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Window:
    """Input of one inference.

    Attributes:
        images: N pictures (h, w, 3) uint8 in order of time, all through the same camera.
        stamps_ns: their stamps.
        intrinsics: calibration of that grid.
    """

    images: tuple[RgbImage, ...]
    stamps_ns: tuple[int, ...]
    intrinsics: CameraIntrinsics


class FrameWindow:
    """Ordered ring buffer of prepared frames.

    * same stamp as the newest: ignored (``DUPLICATE_STAMP``);
    * older than the newest: everything is forgotten, the frame begins anew (``TIME_REVERSED``);
    * later than the newest by more than ``max_gap_s``: begins anew (``GAP``);
    * through another camera: begins anew (``CALIBRATION_CHANGED``).
    """

    def __init__(self, length: int, max_gap_s: float) -> None:
        self._length = length
        self._max_gap_ns = round(max_gap_s * 1e9)
        self._entries: deque[tuple[int, RgbImage]] = deque(maxlen=length)
        self._intrinsics: CameraIntrinsics | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def newest_stamp_ns(self) -> int | None:
        """Stamp of the newest frame, or None."""
        return self._entries[-1][0] if self._entries else None

    def clear(self) -> None:
        """Forget every frame."""
        self._entries.clear()

    def push(self, stamp_ns: int, image: RgbImage, intrinsics: CameraIntrinsics) -> Reason | None:
        """Take a frame in; returns the rule that applied, or None where it simply follows."""
        reason = self._judge(stamp_ns, intrinsics)
        if reason is Reason.DUPLICATE_STAMP:
            return reason
        if reason is not None:
            self.clear()
        self._entries.append((stamp_ns, image))
        self._intrinsics = intrinsics
        return reason

    def _judge(self, stamp_ns: int, intrinsics: CameraIntrinsics) -> Reason | None:
        newest = self.newest_stamp_ns
        if newest is None:
            return None
        if stamp_ns == newest:
            return Reason.DUPLICATE_STAMP
        if stamp_ns < newest:
            return Reason.TIME_REVERSED
        if intrinsics is not self._intrinsics:
            return Reason.CALIBRATION_CHANGED
        if stamp_ns - newest > self._max_gap_ns:
            return Reason.GAP
        return None

    def window(self) -> Window | None:
        """The full window, or None while frames are missing."""
        if len(self._entries) < self._length or self._intrinsics is None:
            return None
        return Window(
            images=tuple(image for _, image in self._entries),
            stamps_ns=tuple(stamp for stamp, _ in self._entries),
            intrinsics=self._intrinsics,
        )
