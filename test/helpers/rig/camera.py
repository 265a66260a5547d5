"""Messages of a small camera."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.ros.conversions import stamp_from_ns

WIDTH, HEIGHT = 128, 64
FOCAL = 80.0
FRAME = "camera_optical"
PERIOD_NS = 100_000_000


def image(level: int, seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """(h, w, 3) uint8 of this mean brightness: a ramp with the noise of a sensor."""
    ramp = np.linspace(-50, 50, width)[None, :, None] + level
    noise = np.random.default_rng(seed).integers(-3, 4, (height, width, 3))
    return np.clip(np.rint(ramp + noise), 0, 255).astype(np.uint8)


def image_message(level: int, stamp_ns: int, frame_id: str = FRAME) -> Image:
    """An image of one mean brightness with a stamp."""
    message = Image(width=WIDTH, height=HEIGHT, encoding="rgb8", step=3 * WIDTH)
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = frame_id
    message.data = image(level, stamp_ns).tobytes()
    return message


def info_message(focal: float = FOCAL, width: int = WIDTH, height: int = HEIGHT) -> CameraInfo:
    """A calibration without distortion, principal point in the middle."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return CameraInfo(
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
