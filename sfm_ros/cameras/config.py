"""How images are read and prepared: a block of the run-time configuration."""

from __future__ import annotations

from dataclasses import dataclass

from sfm_ros.errors import ConfigError
from sfm_ros.options import option
from sfm_ros.safety import limits

INPUTS = ("auto", "rectified", "raw")


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How a camera image becomes the network's input."""

    input: str = option(
        "auto",
        "Whether the images are rectified already: auto decides by the calibration and the topics "
        "and logs why; rectified uses P and does not undistort, raw undistorts.",
        choices=INPUTS,
    )
    bits: int = option(
        0,
        "Significant bits of 16-bit images (8 to 16), such as 12; 0 finds the range of brightness "
        "in the images and follows it slowly.",
        minimum=0,
        maximum=16,
    )
    max_megapixels: float = option(
        float(limits.IMAGE_MEGAPIXELS),
        "A compressed image or image file of more million pixels is refused before it is decoded.",
        minimum=0.001,
        maximum=1000.0,
    )

    def __post_init__(self) -> None:
        if 0 < self.bits < 8:
            raise ConfigError(
                f"'preprocess.bits' is {self.bits}, expected 8 to 16, or 0 to find the range"
            )
