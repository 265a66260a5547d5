"""What the figures of a prepared set mean, and what to do about them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from training.preparation.set_statistics import Camera, Examination

FEW_FRAMES = 2000
"""Below this a network that begins with nothing learns the streets by heart."""
MAX_STATIC = 0.1
MAX_DUPLICATES = 0.01
FLOW_PX = (1.0, 0.08)
"""Median flow between neighbors: at least so many px, at most this share of the width."""
MAX_DARK, MAX_BRIGHT = 0.3, 0.1
"""Mean shares of pixels without texture."""
MAX_FLICKER = 0.05
MAX_UNEVEN = 0.05
"""Share of neighbors more than 1.5 usual intervals apart."""
CENTER = (0.1, 0.3)
"""How far the principal point may be from the center, as shares of width and height; a crop to the
aspect of the networks moves it upright."""
ASPECT = 0.05
FIELD_OF_VIEW_DEG = (25.0, 130.0)
WRONG_CALIBRATION = (
    "Most likely the calibration is of another camera or size of image: calibrate again"
)
LISTED = 5
"""Wrong calibrations named one by one."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line of the report."""

    subject: str
    is_ok: bool
    text: str

    def line(self) -> str:
        """``OK       motion: ...`` or ``WARNING  motion: ...``."""
        return f"{'OK' if self.is_ok else 'WARNING':8} {self.subject}: {self.text}"


def check(found: Examination) -> list[CheckResult]:
    """All results, in the order of the report."""
    return [
        _amount(found),
        _motion(found),
        _static(found),
        _duplicates(found),
        _exposure(found),
        _flicker(found),
        _time(found),
        *_calibrations(found),
    ]


def _amount(found: Examination) -> CheckResult:
    frames, short = len(found.prepared.frames), found.short_frames
    length = f"{found.hours:.1f} hours" if found.hours >= 1 else f"{60 * found.hours:.1f} minutes"
    text = f"{frames} frames, {length}"
    if short > 0.1 * frames:
        return CheckResult(
            "amount",
            False,
            f"{text}; {short} of them lie in sequences of one or two frames and are lost: raise "
            "--max-gap, or take more frames (--every, --min-change)",
        )
    if frames < FEW_FRAMES:
        return CheckResult(
            "amount",
            False,
            f"{text}: few. Begin with a trained network (train.py --init), or add recordings",
        )
    return CheckResult("amount", True, text)


def _motion(found: Examination) -> CheckResult:
    if not len(found.flow_px):
        return CheckResult("motion", False, "there are no two neighbors: record longer")
    flow, width = float(np.median(found.flow_px)), found.prepared.width
    text = f"the image moves by {flow:.1f} px between neighbors (median)"
    if flow < FLOW_PX[0]:
        every = min(10, math.ceil(2 * FLOW_PX[0] / max(flow, 0.1)))
        return CheckResult(
            "motion",
            False,
            f"{text}: too little to see depth from; prepare with --every {every} --interleave",
        )
    if flow > FLOW_PX[1] * width:
        return CheckResult(
            "motion",
            False,
            f"{text}: too far to be found again; take more frames (a smaller --every), or record "
            "at a higher rate",
        )
    return CheckResult("motion", True, text)


def _static(found: Examination) -> CheckResult:
    text = f"nothing moves in {found.static_share:.1%} of the pairs of neighbors"
    if found.static_share > MAX_STATIC:
        text += ": prepare with --min-change 2, or train with objective.auto_mask"
        return CheckResult("standing still", False, text)
    return CheckResult("standing still", True, text)


def _duplicates(found: Examination) -> CheckResult:
    text = f"{found.duplicate_share:.1%} of the neighbors are one image twice"
    if found.duplicate_share > MAX_DUPLICATES:
        text += ": the recorder filled gaps; prepare with --min-change 0.5"
        return CheckResult("duplicates", False, text)
    return CheckResult("duplicates", True, text)


def _exposure(found: Examination) -> CheckResult:
    dark, bright = (float(np.mean(v)) if len(v) else 0.0 for v in (found.dark, found.bright))
    text = f"{dark:.1%} of the pixels are black, {bright:.1%} saturated"
    if dark > MAX_DARK:
        text += ": too dark to match; leave night rides out, or raise the camera's exposure"
        return CheckResult("exposure", False, text)
    if bright > MAX_BRIGHT:
        text += ": lower the camera's exposure; what is white has no depth"
        return CheckResult("exposure", False, text)
    return CheckResult("exposure", True, text)


def _flicker(found: Examination) -> CheckResult:
    text = f"the brightness jumps in {found.flicker_share:.1%} of the pairs"
    if found.flicker_share > MAX_FLICKER:
        text += ": fix the camera's exposure and gain, or train with objective.ssim_weight 0.85"
        return CheckResult("flicker", False, text)
    return CheckResult("flicker", True, text)


def _time(found: Examination) -> CheckResult:
    if not len(found.interval_s):
        return CheckResult("time", False, "no two frames are in sequence: check the stamps")
    usual = float(np.median(found.interval_s))
    uneven = float((found.interval_s > 1.5 * usual).mean())
    text = (
        f"{1 / usual:.1f} frames per second, {found.cuts} cuts inside sources, {uneven:.1%} of the "
        "neighbors are further apart"
    )
    if uneven > MAX_UNEVEN:
        text += ": frames were lost in recording, or dropped as static; see that no ride is torn"
        return CheckResult("time", False, text)
    return CheckResult("time", True, text)


def _calibrations(found: Examination) -> list[CheckResult]:
    """What is wrong with each calibration, and the others in one line."""
    wrong: list[CheckResult] = []
    angles: list[float] = []
    frames = 0
    for camera in found.cameras:
        problems = _problems(found, camera)
        if not problems:
            angles.append(_angle_deg(found, camera))
            frames += camera.frames
        elif len(wrong) < LISTED:
            text = f"{_described(found, camera)}: {'; '.join(problems)}. {WRONG_CALIBRATION}"
            wrong.append(CheckResult("calibration", False, text))
    if not angles:
        return wrong
    if len(angles) == 1 and len(found.cameras) == 1:
        return [CheckResult("calibration", True, _described(found, found.cameras[0]))]
    text = f"{len(angles)} cameras, {min(angles):.0f} to {max(angles):.0f} degrees wide"
    return [*wrong, CheckResult("calibration", True, f"{text}, {frames} frames")]


def _problems(found: Examination, camera: Camera) -> list[str]:
    prepared = found.prepared
    fx, fy, cx, cy = camera.K
    off_x = abs(cx - (prepared.width - 1) / 2) / prepared.width
    off_y = abs(cy - (prepared.height - 1) / 2) / prepared.height
    problems = []
    if off_x > CENTER[0] or off_y > CENTER[1]:
        problems.append("the principal point is far from the center")
    if abs(fx / fy - 1) > ASPECT:
        problems.append("fx and fy differ (as they must with --fit stretch alone)")
    low, high = FIELD_OF_VIEW_DEG
    if not low <= _angle_deg(found, camera) <= high:
        problems.append("no usual lens sees such an angle")
    return problems


def _angle_deg(found: Examination, camera: Camera) -> float:
    return math.degrees(2 * math.atan(found.prepared.width / (2 * camera.K[0])))


def _described(found: Examination, camera: Camera) -> str:
    fx, fy, cx, cy = camera.K
    return (
        f"fx {fx:.1f} fy {fy:.1f} cx {cx:.1f} cy {cy:.1f} px, "
        f"{_angle_deg(found, camera):.0f} degrees wide, {camera.frames} frames"
    )


def report_text(found: Examination) -> str:
    """The report as plain text."""
    return "\n".join([found.headline(), *(result.line() for result in check(found))])
