"""Checks the statistics of a prepared set; each warning states what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.preparation.set_statistics import Calibration, SetStatistics

FEW_FRAMES = 2000
"""With fewer, a network that is not pretrained memorizes the streets."""
MAX_SHORT = 0.1
"""Fraction of frames in sequences that are too short for a window."""
MAX_STATIC = 0.1
MAX_DUPLICATES = 0.01
FLOW_PX = (1.0, 0.08)
"""Median flow between neighbors: at least this many px, at most this fraction of the width."""
MAX_DARK, MAX_BRIGHT = 0.3, 0.1
"""Mean fractions of pixels without texture."""
MAX_FLICKER = 0.05
MAX_UNEVEN = 0.05
"""Fraction of neighbors more than 1.5 median intervals apart."""
LEAST_DEPTH = 0.15
"""Mean fraction of the pixels whose depth is known; sparse lidar has less, a teacher more."""
CENTER = (0.1, 0.3)
"""Largest offset of the principal point from the center, as fractions of width and height; a crop
to the aspect of the networks moves it vertically."""
ASPECT = 0.05
FIELD_OF_VIEW_DEG = (25.0, 130.0)
LISTED = 5
"""Wrong calibrations that are listed one by one."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the report.

    Attributes:
        found: the figures.
        problem: what is wrong and what to do; "" if nothing is.
    """

    subject: str
    found: str
    problem: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problem

    def line(self) -> str:
        """``OK       motion: ...`` or ``WARNING  motion: ...: ...``."""
        level, separator = ("OK", "") if self.is_ok else ("WARNING", ": ")
        return f"{level:8} {self.subject}: {self.found}{separator}{self.problem}"


def check(statistics: SetStatistics) -> list[CheckResult]:
    """All results, in the order of the report."""
    return [
        _check_amount(statistics),
        _check_motion(statistics),
        _check_ratio(
            "standing still",
            statistics.static_ratio,
            MAX_STATIC,
            "nothing moves in {:.1%} of the pairs of neighbors",
            "prepare with --min-change 2, or train with objective.auto_mask",
        ),
        _check_ratio(
            "duplicates",
            statistics.duplicate_ratio,
            MAX_DUPLICATES,
            "{:.1%} of the neighbors are one image twice",
            "the recorder filled gaps; prepare with --min-change 0.5",
        ),
        _check_exposure(statistics),
        _check_ratio(
            "flicker",
            statistics.flicker_ratio,
            MAX_FLICKER,
            "the brightness jumps in {:.1%} of the pairs",
            "fix the camera's exposure and gain, or train with objective.ssim_weight 0.85",
        ),
        _check_time(statistics),
        *_check_depth(statistics),
        *_check_calibrations(statistics),
    ]


def report_text(statistics: SetStatistics) -> str:
    """The report as plain text."""
    return "\n".join([statistics.headline(), *(r.line() for r in check(statistics))])


def _check_ratio(
    subject: str, ratio: float, limit: float, found: str, problem: str
) -> CheckResult:
    return CheckResult(subject, found.format(ratio), problem if ratio > limit else "")


def _check_amount(statistics: SetStatistics) -> CheckResult:
    frames, short = len(statistics.prepared.frames), statistics.short_frames
    hours = statistics.hours
    length = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    problem = ""
    if short > MAX_SHORT * frames:
        problem = (
            f"{short} of them are in sequences of one or two frames and are lost: raise "
            "--max-gap, or take more frames (--every, --min-change)"
        )
    elif frames < FEW_FRAMES:
        problem = "few. Start from a trained network (train.py --init), or add recordings"
    return CheckResult("amount", f"{frames} frames, {length}", problem)


def _check_motion(statistics: SetStatistics) -> CheckResult:
    if not len(statistics.flow_px):
        return CheckResult("motion", "there are no two neighbors", "record longer")
    flow, problem = float(np.median(statistics.flow_px)), ""
    if flow < FLOW_PX[0]:
        every = min(10, math.ceil(2 * FLOW_PX[0] / max(flow, 0.1)))
        problem = f"too little to see depth from; prepare with --every {every} --interleave"
    elif flow > FLOW_PX[1] * statistics.prepared.width:
        problem = (
            "too far to be matched; take more frames (a smaller --every), or record at a higher "
            "rate"
        )
    found = f"the image moves by {flow:.1f} px between neighbors (median)"
    return CheckResult("motion", found, problem)


def _check_exposure(statistics: SetStatistics) -> CheckResult:
    dark, bright = (
        float(np.mean(ratios)) if len(ratios) else 0.0
        for ratios in (statistics.dark, statistics.bright)
    )
    problem = ""
    if dark > MAX_DARK:
        problem = "too dark to match; leave night recordings out, or raise the camera's exposure"
    elif bright > MAX_BRIGHT:
        problem = "lower the camera's exposure; saturated pixels have no depth"
    found = f"{dark:.1%} of the pixels are black, {bright:.1%} saturated"
    return CheckResult("exposure", found, problem)


def _check_time(statistics: SetStatistics) -> CheckResult:
    if not len(statistics.interval_s):
        return CheckResult("time", "no two frames are in sequence", "check the stamps")
    median = float(np.median(statistics.interval_s))
    uneven = float((statistics.interval_s > 1.5 * median).mean())
    found = (
        f"{1 / median:.1f} frames per second, {statistics.cuts} cuts inside sources, "
        f"{uneven:.1%} of the neighbors are further apart"
    )
    problem = ""
    if uneven > MAX_UNEVEN:
        problem = (
            "frames were lost while recording, or dropped as static; check that no recording is "
            "fragmented"
        )
    return CheckResult("time", found, problem)


def _check_depth(statistics: SetStatistics) -> list[CheckResult]:
    shares = statistics.depth
    if shares is None:
        return []
    found = (
        f"known for {shares.known:.0%} of the pixels, sky {shares.sky:.0%}, moving "
        f"{shares.moving:.1%}; {shares.empty:.0%} of the frames have none"
    )
    problem = ""
    if shares.known < LEAST_DEPTH:
        problem = "little. With a teacher, check calibration, camera height and frame rate"
    return [CheckResult("depth", found, problem)]


def _check_calibrations(statistics: SetStatistics) -> list[CheckResult]:
    """A result for each wrong calibration, and one for all others."""
    height = statistics.prepared.height
    problems = {c: _calibration_problems(c, height) for c in statistics.calibrations}
    good = [calibration for calibration, found in problems.items() if not found]
    wrong = [
        CheckResult(
            "calibration",
            _described(calibration),
            f"{'; '.join(found)}. Most likely the calibration is of another camera or image size: "
            "calibrate again",
        )
        for calibration, found in problems.items()
        if found
    ]
    if not good:
        return wrong[:LISTED]
    angles = [calibration.angle_deg for calibration in good]
    text = (
        f"{len(good)} cameras, {min(angles):.0f} to {max(angles):.0f} degrees wide, "
        f"{sum(calibration.frames for calibration in good)} frames"
    )
    if len(problems) == 1:
        text = _described(good[0])
    return [*wrong[:LISTED], CheckResult("calibration", text)]


def _calibration_problems(calibration: Calibration, height: int) -> list[str]:
    fx, fy, cx, cy = calibration.K
    width = calibration.width
    off_x, off_y = abs(cx - (width - 1) / 2) / width, abs(cy - (height - 1) / 2) / height
    low, high = FIELD_OF_VIEW_DEG
    problems = {
        "the principal point is far from the center": off_x > CENTER[0] or off_y > CENTER[1],
        "fx and fy differ (as they should only with --fit stretch)": abs(fx / fy - 1) > ASPECT,
        "no usual lens has such a field of view": not low <= calibration.angle_deg <= high,
    }
    return [text for text, found in problems.items() if found]


def _described(calibration: Calibration) -> str:
    fx, fy, cx, cy = calibration.K
    return (
        f"fx {fx:.1f} fy {fy:.1f} cx {cx:.1f} cy {cy:.1f} px, "
        f"{calibration.angle_deg:.0f} degrees wide, {calibration.frames} frames"
    )
