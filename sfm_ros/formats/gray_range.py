"""The brightness range of 16-bit images, of which cameras use 8, 10, 12, 14 or all bits.

Nothing in a message states how many bits are significant, and a thermal camera fills a narrow band
anywhere in the range. The band is found by percentiles and kept: keypoints are followed from
image to image, so their brightness must not jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Deep = npt.NDArray[np.uint16]

AUTO_BITS = 0
_VALUES = 65536
_PERCENTILES = (1.0, 99.0)
_FULL = 0.25
"""Share of the 16-bit range between the percentiles from which on all of it is shown."""
_MARGIN = 0.25
"""Free range below and above the percentiles, of their distance: for what comes next."""
_SMALLEST = 128.0
"""Width of the range at least, so that noise is not shown as contrast."""
_TOO_WIDE = 0.3
"""Share of the range between the percentiles below which it narrows."""
_STEP = 0.05
"""Share of the way to the range of an image that is gone with each image."""
_CUT_OFF = 0.25
"""Share of pixels outside of the range from which on it follows at once."""
_SAMPLES = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class GrayLevels:
    """What is shown as black and as white; values outside are cut off.

    Attributes:
        black: this value and all below become 0.
        white: this value and all above become 255.
    """

    black: float
    white: float

    def to_8bit(self, pixels: Deep) -> npt.NDArray[np.uint8]:
        """The same pixels as uint8."""
        return np.take(_table(self.black, self.white), pixels)


ALL_LEVELS = GrayLevels(black=0.0, white=float(_VALUES))


@lru_cache(maxsize=8)
def _table(black: float, white: float) -> npt.NDArray[np.uint8]:
    shown = (np.arange(_VALUES) - black) * (256.0 / (white - black))
    return np.clip(np.floor(shown), 0, 255).astype(np.uint8)


class GrayRange:
    """The range of a camera's images, found in the first one and followed slowly.

    Args:
        bits: significant bits, see ``PreprocessConfig.bits``; `AUTO_BITS` finds the range.

    Attributes:
        fixed: the levels of every image if the bits are stated; None if the range is found.
    """

    def __init__(self, bits: int = AUTO_BITS) -> None:
        self.fixed = None if bits == AUTO_BITS else GrayLevels(black=0.0, white=float(1 << bits))
        self._levels: GrayLevels | None = None

    def observe(self, pixels: Deep) -> GrayLevels:
        """The levels for the next image, (H, W) or (H, W, channels); images come in order."""
        if self.fixed is not None:
            return self.fixed
        rows, columns = (max(size // _SAMPLES, 1) for size in pixels.shape[:2])
        sample = np.asarray(pixels[::rows, ::columns], dtype=np.float64)
        low, high = np.percentile(sample, _PERCENTILES)
        if self._levels is None:
            self._levels = _range_of(low, high)
        else:
            self._levels = _followed(self._levels, sample, low, high)
        return self._levels


def _range_of(low: float, high: float) -> GrayLevels:
    """The range for an image with these percentiles."""
    span = high - low
    if span >= _FULL * _VALUES:
        return ALL_LEVELS
    width = max((1 + 2 * _MARGIN) * span, _SMALLEST)
    black = min(max((low + high - width) / 2, 0.0), _VALUES - width)
    return GrayLevels(black=black, white=black + width)


def _followed(
    levels: GrayLevels, sample: npt.NDArray[np.float64], low: float, high: float
) -> GrayLevels:
    """The levels as they are if the image is within them, else nearer to its own."""
    black, white = levels.black, levels.white
    target = _range_of(low, high)
    fits = black <= low and high <= white
    if fits and high - low >= min(_TOO_WIDE * (white - black), target.white - target.black):
        return levels
    if fits and target.white - target.black <= _SMALLEST:  # a covered lens, not another scene
        return levels
    outside = np.mean((sample < black) | (sample > white))
    step = 1.0 if outside > _CUT_OFF else _STEP
    return GrayLevels(
        black=black + step * (target.black - black), white=white + step * (target.white - white)
    )
