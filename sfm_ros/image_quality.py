"""Checks of the pictures themselves, on the network's small input, each with its reason code.

A covered lens, a broken sensor or a driver that repeats its last picture gives the networks
nothing to see, and they answer all the same. These checks cost a few hundredths of a millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.config import HealthConfig
from sfm_ros.datatypes import Reason, RgbImage

_BLOCK = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Look:
    """What one picture looks like at a glance.

    Attributes:
        rgb: (h, w, 3) the picture.
        blocks: (h / 8, w / 8) uint8, green averaged over blocks of 8x8 pixels.
        brightness: mean of the green channel, grey levels.
        contrast: its standard deviation.
        block_contrast: standard deviation of ``blocks``.
    """

    rgb: RgbImage
    blocks: npt.NDArray[np.uint8]
    brightness: float
    contrast: float
    block_contrast: float


def look_at(rgb: RgbImage) -> Look:
    """The glance at a picture of (h, w, 3) uint8."""
    green = cv2.extractChannel(rgb, 1)
    height, width = green.shape
    size = (max(1, width // _BLOCK), max(1, height // _BLOCK))
    blocks = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
    mean, deviation = cv2.meanStdDev(green)
    _, block_deviation = cv2.meanStdDev(blocks)
    return Look(
        rgb=rgb,
        blocks=np.asarray(blocks, dtype=np.uint8),
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        block_contrast=float(block_deviation[0, 0]),
    )


def judge_picture(look: Look, config: HealthConfig) -> Reason | None:
    """Why a picture shows no scene, or None where it does.

    Averaging n independent values divides their deviation by sqrt(n): white noise keeps an eighth
    of its contrast over blocks of 8x8, whereas the contrast of a scene is in its large shapes.
    """
    # Noise first: averaged over blocks it has little contrast either.
    is_plain = look.contrast < config.min_contrast
    if not is_plain and look.block_contrast < config.min_structure * look.contrast:
        return Reason.IMAGE_NOISE
    return Reason.NO_TEXTURE if look.block_contrast < config.min_contrast else None


def is_repeated(look: Look, before: Look) -> bool:
    """Whether a picture is the one before to the last bit, which no living sensor delivers."""
    same_blocks = np.array_equal(look.blocks, before.blocks)  # settles it for all but a few
    return same_blocks and np.array_equal(look.rgb, before.rgb)


def is_exposure_jump(look: Look, before: Look, config: HealthConfig) -> bool:
    """Whether the light changed too much for the two pictures to be compared."""
    change = abs(look.brightness - before.brightness)
    return 0 < config.max_exposure_jump < change
