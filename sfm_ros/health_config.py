"""Limits of usable images and plausible outputs: a part of ``sfm_ros.config``."""

from __future__ import annotations

from dataclasses import dataclass

from sfm_ros.options import live_option

_MOST = 1e6


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """Limits of usable images and plausible outputs; a motion that fails is not integrated."""

    min_depth_spread: float = live_option(
        0.05,
        "Standard deviation over mean of the inverse depth below which depth is reported as flat.",
        minimum=0.0,
    )
    max_speed: float = live_option(
        70.0,
        "Fastest plausible motion, published units per second; 0 disables the check.",
        minimum=0.0,
        maximum=_MOST,
    )
    max_rotation_deg_per_s: float = live_option(
        200.0, "Fastest plausible rotation; 0 disables the check.", minimum=0.0, maximum=_MOST
    )
    min_contrast: float = live_option(
        3.0,
        "Standard deviation in gray levels of the means of 8x8 pixels below which an image shows "
        "nothing (covered lens, glare); 0 disables the check.",
        minimum=0.0,
        maximum=128.0,
    )
    min_structure: float = live_option(
        0.25,
        "Fraction of the contrast that means of 8x8 pixels must keep: noise keeps 0.12, a scene "
        "0.8; 0 disables the check.",
        minimum=0.0,
        maximum=1.0,
    )
    max_exposure_jump: float = live_option(
        40.0,
        "A larger change of the mean brightness between two images, in gray levels, starts a new "
        "segment; 0 disables the check.",
        minimum=0.0,
        maximum=255.0,
    )
    min_brightness: float = live_option(
        12.0,
        "Mean brightness in gray levels below which an image is reported as dark; 0 disables the "
        "check.",
        minimum=0.0,
        maximum=255.0,
    )
    max_overexposed: float = live_option(
        0.4,
        "Fraction of saturated pixels above which an image is reported as overexposed; 1 disables "
        "the check.",
        minimum=0.0,
        maximum=1.0,
    )
    min_sharpness: float = live_option(
        0.5,
        "Sharpness over that of the last frames below which an image is reported as blurred; 0 "
        "disables the check.",
        minimum=0.0,
        maximum=1.0,
    )
    reject_frozen: bool = live_option(
        True,
        "Reject an image identical to the one before: the camera hangs. Disable it for simulated "
        "cameras without noise, which may stand still.",
    )
