#!/usr/bin/env python3
"""Renders the frames that engines are compared on, sfm_ros/engines/parity_frames.npz.

    python scripts/parity_frames.py

Two streets that no training set holds (training draws its seeds below 9000), five neighboring
frames of each, as JPEG within one archive. Run it again only with a reason: the limits of
sfm_ros/engines/parity.py were measured on these frames.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sfm_ros.engines.parity_frames import ARCHIVE  # noqa: E402
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet  # noqa: E402

STREETS = {"city": 9104, "motorway": 9105}
WIDTH, HEIGHT, FX = 640, 192, 371.2
FIRST, COUNT = 10, 5
QUALITY = 85


def rendered(kind: str, seed: int) -> list[np.ndarray]:
    """The frames of one street, each as the bytes of a JPEG image."""
    config = SyntheticConfig(
        seed=seed, kind=kind, width=WIDTH, height=HEIGHT, frames=30, fps=10.0, fx=FX,
        camera_height_m=1.6,
    )  # fmt: skip
    street = SyntheticStreet(config)
    images = [street.render(index).frame.rgb for index in range(FIRST, FIRST + COUNT)]
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    return [np.asarray(cv2.imencode(".jpg", rgb[:, :, ::-1], quality)[1]) for rgb in images]


def main() -> None:
    """Render, write, and print the size."""
    jpegs = {
        f"{kind}_{number}": jpeg
        for kind, seed in STREETS.items()
        for number, jpeg in enumerate(rendered(kind, seed))
    }
    np.savez(ARCHIVE, fx=np.float64(FX), **jpegs)
    print(f"{ARCHIVE}: {len(jpegs)} frames, {ARCHIVE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
