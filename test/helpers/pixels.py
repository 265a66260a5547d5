"""Colors of drawn figures in images read by OpenCV."""

from __future__ import annotations


def bgr(color: str) -> tuple[int, int, int]:
    """``#rrggbb`` as OpenCV orders it."""
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return blue, green, red
