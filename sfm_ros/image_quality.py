"""Checks of the images themselves, on the network's small input, each with its reason code.

If a lens is covered, a sensor broken or a driver repeats its last image, the networks still output
a motion. These checks cost a few hundredths of a millisecond.
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
class ImageStats:
    """Statistics of one image.

    Attributes:
        rgb: (h, w, 3) the image.
        blocks: (h / 8, w / 8) uint8, green averaged over blocks of 8x8 pixels.
        brightness: mean of the green channel, gray levels.
        contrast: its standard deviation.
        block_contrast: standard deviation of ``blocks``.
    """

    rgb: RgbImage
    blocks: npt.NDArray[np.uint8]
    brightness: float
    contrast: float
    block_contrast: float


def image_stats(rgb: RgbImage) -> ImageStats:
    """Statistics of an (h, w, 3) uint8 image."""
    green = cv2.extractChannel(rgb, 1)
    height, width = green.shape
    size = (max(1, width // _BLOCK), max(1, height // _BLOCK))
    blocks = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
    mean, deviation = cv2.meanStdDev(green)
    _, block_deviation = cv2.meanStdDev(blocks)
    return ImageStats(
        rgb=rgb,
        blocks=np.asarray(blocks, dtype=np.uint8),
        brightness=float(mean[0, 0]),
        contrast=float(deviation[0, 0]),
        block_contrast=float(block_deviation[0, 0]),
    )


def check_image(stats: ImageStats, config: HealthConfig) -> Reason | None:
    """Why an image shows no scene, or None if it shows one.

    Averaging n independent values divides their deviation by sqrt(n): white noise keeps an eighth
    of its contrast over blocks of 8x8, whereas the contrast of a scene is in its large shapes.
    """
    # Noise first: averaged over blocks it has little contrast either.
    is_plain = stats.contrast < config.min_contrast
    if not is_plain and stats.block_contrast < config.min_structure * stats.contrast:
        return Reason.IMAGE_NOISE
    return Reason.NO_TEXTURE if stats.block_contrast < config.min_contrast else None


def is_repeated(stats: ImageStats, before: ImageStats, config: HealthConfig) -> bool:
    """Whether an image equals the one before bit by bit, which no working sensor delivers."""
    if not config.reject_frozen:
        return False
    same_blocks = np.array_equal(stats.blocks, before.blocks)  # settles it for all but a few
    return same_blocks and np.array_equal(stats.rgb, before.rgb)


def is_exposure_jump(stats: ImageStats, before: ImageStats, config: HealthConfig) -> bool:
    """Whether the light changed too much for the two images to be compared."""
    change = abs(stats.brightness - before.brightness)
    return 0 < config.max_exposure_jump < change
