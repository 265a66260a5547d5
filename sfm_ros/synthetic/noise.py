"""Noise and painting primitives of the procedural textures."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.floating]
Color = npt.NDArray[np.floating]
"""(H, W) and (H, W, 3), or a single (3,) color; RGB from 0 to 255."""


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], octaves: int = 3
) -> Gray:
    """(height, width) noise of unit standard deviation that is periodic in both directions.

    Args:
        rng: of the noise.
        height, width: pixels.
        cells: rows and columns of the coarsest lattice.
        octaves: each doubles the lattice and halves the amplitude.
    """
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        rows = min(cells[0] << octave, height)
        cols = min(cells[1] << octave, width)
        lattice = rng.standard_normal((rows, cols), dtype=np.float32)
        border = min(2, rows, cols)
        padded = np.pad(lattice, border, mode="wrap")
        scale_y, scale_x = height / rows, width / cols
        grown = cv2.resize(
            padded,
            (int(round(padded.shape[1] * scale_x)), int(round(padded.shape[0] * scale_y))),
            interpolation=cv2.INTER_CUBIC,
        )
        y, x = int(round(border * scale_y)), int(round(border * scale_x))
        total += grown[y : y + height, x : x + width] * 0.5**octave
    return total / max(float(total.std()), 1e-6)


def flat(height: int, width: int, color: Color) -> Color:
    """(height, width, 3) float32 of one color."""
    return np.tile(np.asarray(color, dtype=np.float32), (height, width, 1))


def grainy(
    rng: np.random.Generator, height: int, width: int, color: Color, grain: float, stain: float
) -> Color:
    """(height, width, 3) of one color, with fine grain and soft stains of relative amplitude."""
    fine = rng.standard_normal((height, width), dtype=np.float32)
    soft = fractal_noise(rng, height, width, (3, 3), 4)
    return flat(height, width, color) * (1.0 + grain * fine + stain * soft)[..., None]


def pick_color(
    rng: np.random.Generator, palette: list[tuple[int, int, int]], jitter: float = 12.0
) -> Color:
    """(3,) a random color of a palette, with jitter of the brightness and of each channel."""
    base = np.array(palette[rng.integers(len(palette))], dtype=np.float32)
    shift = rng.normal(0.0, jitter) + rng.normal(0.0, jitter / 3.0, size=3)
    return np.clip(base + shift, 5.0, 250.0).astype(np.float32)


def courses(height: int, width: int, row_px: int, col_px: int, dark: float) -> Gray:
    """(height, width) factors of masonry: ``dark`` at the joints of staggered stones, else 1."""
    factor = np.ones((height, width), dtype=np.float32)
    factor[::row_px] *= dark
    for number, top in enumerate(range(0, height, row_px)):
        factor[top : top + row_px, (number % 2) * col_px // 2 :: col_px] *= dark
    return factor


def blobs(
    rng: np.random.Generator,
    rgb: Color,
    alpha: Gray | None,
    centers: Color,
    radius_px: float,
    color: Color,
    spread: float,
) -> None:
    """Paint leaf clusters in place, the lower (darker) ones first.

    Args:
        rng: of size, angle and brightness.
        rgb: (H, W, 3) receives the clusters.
        alpha: (H, W) set to 255 where they are, if given.
        centers: (N, 2) x and y, pixels.
        radius_px: mean radius.
        color: of the leaves.
        spread: standard deviation of the relative brightness.
    """
    order = np.argsort(-centers[:, 1])
    low, high = float(centers[:, 1].min()), float(centers[:, 1].max())
    count = len(centers)
    light = 1.15 - 0.6 * (centers[order, 1] - low) / max(high - low, 1.0)
    light += spread * rng.standard_normal(count)
    tones = np.clip(light[:, None] * color, 0, 255).tolist()
    widths = np.maximum(radius_px * rng.uniform(0.4, 1.3, count), 1).astype(int).tolist()
    angles = rng.uniform(0, 180, count).tolist()
    tall = max(int(radius_px * 0.7), 1)
    pixels = centers[order].astype(int).tolist()
    for center, wide, angle, tone in zip(pixels, widths, angles, tones, strict=True):
        cv2.ellipse(rgb, center, (wide, tall), angle, 0, 360, tone, -1, cv2.LINE_AA)
        if alpha is not None:
            cv2.ellipse(alpha, center, (wide, tall), angle, 0, 360, 255.0, -1, cv2.LINE_AA)
