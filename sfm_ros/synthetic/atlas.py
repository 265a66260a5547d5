"""A texture atlas: one image with all textures of a synthetic street, at all resolutions.

The resolutions form a rip map: width and height are halved independently, because a wall at a
grazing angle shrinks along the street only, and an isotropic mip map would blur it away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import RgbImage

LEVELS = 6
"""Reductions by 1, 2, 4, ... 32 along each axis; pages are aligned to the largest one."""
ALIGN = 1 << (LEVELS - 1)
WIDTH = 2048

Page = tuple[int, int, int, int]
"""x, y, width, height of a texture at full resolution, pixels."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Textures packed side by side.

    Attributes:
        rgb: (2 H, 2 W, 3) uint8, the rip map.
        alpha: (2 H, 2 W) uint8, 255 for opaque texels.
        height: H, rows at full resolution; the columns are W = ``WIDTH``.
        pages: name of a kind of texture -> its variants.
    """

    rgb: RgbImage
    alpha: npt.NDArray[np.uint8]
    height: int
    pages: dict[str, tuple[Page, ...]]


Scale = TypeVar("Scale", float, npt.NDArray[np.float32])


def level_start(scale: Scale) -> Scale:
    """Where the level of a scale (1, 1/2, 1/4, ...) starts in the rip map, relative to scale 1."""
    return 2.0 - 2.0 * scale


class AtlasBuilder:
    """Collects textures and packs them on shelves."""

    def __init__(self) -> None:
        self._items: list[tuple[str, npt.NDArray[np.uint8]]] = []

    def add(self, kind: str, rgb: npt.NDArray, alpha: npt.NDArray | None = None) -> None:
        """Add a variant of a kind; its sides are multiples of ``ALIGN`` pixels."""
        height, width = rgb.shape[:2]
        if height % ALIGN or width % ALIGN or width > WIDTH:
            raise ValueError(f"texture '{kind}' is {width}x{height}, not a multiple of {ALIGN}")
        opaque = np.full((height, width), 255.0) if alpha is None else alpha
        rgba = np.dstack([rgb, opaque])
        self._items.append((kind, np.clip(rgba, 0, 255).astype(np.uint8)))

    def build(self) -> Atlas:
        """Pack the textures and compute their rip map."""
        order = sorted(range(len(self._items)), key=lambda i: -self._items[i][1].shape[0])
        corners: dict[int, tuple[int, int]] = {}
        x = y = shelf = 0
        for i in order:
            height, width = self._items[i][1].shape[:2]
            if x + width > WIDTH:
                x, y = 0, y + shelf
                shelf = 0
            corners[i] = (x, y)
            x, shelf = x + width, max(shelf, height)
        total = y + shelf
        base = np.zeros((total, WIDTH, 4), dtype=np.uint8)
        pages: dict[str, list[Page]] = {}
        for i, (kind, rgba) in enumerate(self._items):
            px, py = corners[i]
            base[py : py + rgba.shape[0], px : px + rgba.shape[1]] = rgba
            pages.setdefault(kind, []).append((px, py, rgba.shape[1], rgba.shape[0]))
        return Atlas(
            rgb=_rip_map(base[..., :3].copy()),
            alpha=_rip_map(base[..., 3].copy()),
            height=total,
            pages={kind: tuple(variants) for kind, variants in pages.items()},
        )


def _rip_map(base: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """All reductions of an image (H, W) or (H, W, 3), each starting at `level_start`."""
    height, width = base.shape[:2]
    out = np.zeros((2 * height, 2 * width, *base.shape[2:]), dtype=np.uint8)
    row: npt.NDArray = base
    y = 0
    for ky in range(LEVELS):
        if ky:
            row = cv2.resize(row, (width, height >> ky), interpolation=cv2.INTER_AREA)
        cell, x = row, 0
        for kx in range(LEVELS):
            if kx:
                cell = cv2.resize(cell, (width >> kx, height >> ky), interpolation=cv2.INTER_AREA)
            out[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
            x += cell.shape[1]
        y += row.shape[0]
    return out
