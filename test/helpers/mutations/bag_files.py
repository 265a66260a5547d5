"""A small recording in every storage: the bytes of its files, of a camera with eight images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bag_recorder import CAMERA, START, Recorder

IMAGES = 8
PERIOD_NS = 100_000_000
TOPIC, POSES = "/camera/image_raw", "/odom"
METADATA = "metadata.yaml"
KINDS = {"ros1": ".bag", "mcap": ".mcap", "sqlite3": ".db3"}
"""Storage -> the suffix of its file."""


def small_bag(folder: Path, kind: str) -> Path:
    """A bag of a camera and its poses."""
    recorder = Recorder(folder / kind, kind)
    rng = np.random.default_rng(7)
    for index in range(IMAGES):
        stamp = START + index * PERIOD_NS
        recorder.info("/camera/camera_info", stamp, CAMERA)
        pixels = rng.integers(0, 256, (CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
        recorder.image(TOPIC, pixels, "rgb8", stamp)
        T = np.eye(4)
        T[0, 3] = index
        recorder.pose(POSES, T, stamp)
    return Path(recorder.done())


def storage_file(bag: Path) -> Path:
    """The file with the messages of a bag of one file."""
    (found,) = [bag] if bag.is_file() else (f for f in bag.iterdir() if f.suffix != ".yaml")
    return found
