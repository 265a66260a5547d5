"""What cameras, lenses and transmission do to images; only the networks' input is degraded.

Images are RGB in [0, 1], (n, 3, h, w): all frames of a window are degraded alike.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

_LEAST_SIZE = 0.5
_GAIN = 2.5
_NOISE = 0.04
_QUALITY = (20, 80)
_DARKEST = 0.35
_SOFT_EDGE = 0.03
"""Width of the edge of a shadow, fraction of the image's width."""


def overexpose(rgb_n3hw: Tensor, strength: float, _: np.random.Generator) -> Tensor:
    """Let what is bright become white, as a wall or a truck in the sun: not all white is sky."""
    return (rgb_n3hw * (1 + (_GAIN - 1) * strength)).clamp(0, 1)


def blur(rgb_n3hw: Tensor, strength: float, _: np.random.Generator) -> Tensor:
    """Lose up to half of the resolution: out of focus, or a smaller image enlarged."""
    height, width = rgb_n3hw.shape[-2:]
    factor = 1 - (1 - _LEAST_SIZE) * strength
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    small = interpolate(rgb_n3hw, size=size, mode="area")
    return interpolate(small, size=(height, width), mode="bilinear", align_corners=False)


def add_noise(rgb_n3hw: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Normal noise of every pixel and color."""
    noise = rng.standard_normal(rgb_n3hw.shape, dtype=np.float32)
    return rgb_n3hw + _NOISE * strength * torch.from_numpy(noise).to(rgb_n3hw)


def compress(rgb_n3hw: Tensor, strength: float, _: np.random.Generator) -> Tensor:
    """Through a JPEG."""
    quality = round(_QUALITY[1] - (_QUALITY[1] - _QUALITY[0]) * strength)
    images = (rgb_n3hw.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.stack([_through_jpeg(image, quality) for image in images])
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(rgb_n3hw) / 255


def _through_jpeg(image: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def cast_shadow(rgb_n3hw: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Darken one side of a line across the image."""
    height, width = rgb_n3hw.shape[-2:]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x0, y0 = rng.uniform(0, width), rng.uniform(0, height)
    distance = ((x - x0) * np.cos(angle) + (y - y0) * np.sin(angle)) / (_SOFT_EDGE * width)
    dark = np.clip(distance + 0.5, 0, 1).astype(np.float32)
    light = torch.from_numpy(1 - (1 - _DARKEST) * strength * dark)
    return rgb_n3hw * light.to(rgb_n3hw)


DEGRADATIONS: tuple[Callable[[Tensor, float, np.random.Generator], Tensor], ...] = (
    cast_shadow,
    overexpose,
    blur,
    add_noise,
    compress,
)
"""In the order in which they happen to an image; strengths are in 0 to 1."""
