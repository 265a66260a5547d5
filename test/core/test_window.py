"""The rules of the frame window."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sfm_ros.config import WindowConfig
from sfm_ros.datatypes import CameraIntrinsics, Reason
from sfm_ros.window import IGNORED, FrameWindow

CAMERA = CameraIntrinsics(width=4, height=4, fx=4, fy=4, cx=2, cy=2)
OTHER = CameraIntrinsics(width=4, height=4, fx=5, fy=4, cx=2, cy=2)
IMAGE = np.zeros((4, 4, 3), dtype=np.uint8)
STEP = 100_000_000


def _push(window: FrameWindow, *stamps: int) -> list[Reason | None]:
    return [window.push(stamp, IMAGE, CAMERA) for stamp in stamps]


def test_window_fills_in_order() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    assert _push(window, 0, STEP) == [None, None]
    assert window.window() is None
    _push(window, 2 * STEP, 3 * STEP)
    full = window.window()
    assert full is not None and full.stamps_ns == (STEP, 2 * STEP, 3 * STEP)


def test_duplicate_is_ignored() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    assert _push(window, 0, STEP, STEP) == [None, None, Reason.DUPLICATE_STAMP]
    assert len(window) == 2


def test_time_is_reversed_after_two_frames() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    rules = _push(window, 18 * STEP, 19 * STEP, STEP, 2 * STEP)
    assert rules[2:] == [Reason.OUT_OF_ORDER, Reason.TIME_REVERSED]
    _push(window, 3 * STEP)
    full = window.window()
    assert full is not None and full.stamps_ns == (STEP, 2 * STEP, 3 * STEP)


def test_slightly_late_frames_are_ignored() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    rules = _push(window, 18 * STEP, 19 * STEP, 15 * STEP, 16 * STEP, 20 * STEP)
    assert rules[2:] == [Reason.OUT_OF_ORDER, Reason.OUT_OF_ORDER, None]
    assert len(window) == 3


def test_two_clocks_on_one_topic() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    rules = _push(window, 100 * STEP, STEP, 101 * STEP, 2 * STEP, 102 * STEP)
    assert rules == [None, Reason.OUT_OF_ORDER] * 2 + [None]


def test_zero_stamp_is_valid_only_at_the_start() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    assert _push(window, 0, 0, STEP, 0) == [None, Reason.NO_STAMP, None, Reason.NO_STAMP]


def test_frame_after_a_future_stamp_starts_new_segment() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    rules = _push(window, STEP, 1000 * STEP, 2 * STEP, 3 * STEP)
    assert rules == [None, Reason.GAP, Reason.GAP, None]


def test_gap_starts_new_segment() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    assert _push(window, 0, 5 * STEP) == [None, None]
    assert _push(window, 10 * STEP + 1) == [Reason.GAP]
    assert len(window) == 1


def test_changed_camera_starts_new_segment() -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.5))
    _push(window, 0, STEP)
    assert window.push(2 * STEP, IMAGE, OTHER) is Reason.CALIBRATION_CHANGED
    assert len(window) == 1


@given(st.lists(st.integers(0, 20), max_size=60))
def test_window_always_holds_neighbors_in_order(ticks: list[int]) -> None:
    window = FrameWindow(3, WindowConfig(max_gap_s=0.3))
    for tick in ticks:
        rule = window.push(tick * STEP, IMAGE, CAMERA)
        full = window.window()
        if full is not None:
            gaps = np.diff(full.stamps_ns)
            assert (gaps > 0).all() and (gaps <= 3 * STEP).all()
            assert (full.stamps_ns[-1] == tick * STEP) or rule in IGNORED
