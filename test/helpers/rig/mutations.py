"""Random damage to valid Image and CameraInfo messages, reproducible by its seed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, Image

from rig.camera import FOCAL, FRAME, HEIGHT, PERIOD_NS, WIDTH, image, image_message, info_message
from rig.fake_node import FORWARD, STAND
from sfm_ros.formats.image_codec import SUPPORTED_ENCODINGS
from sfm_ros.ros.conversions import stamp_from_ns

Rng = np.random.Generator

FLOATS = (
    0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, sys.float_info.max, -sys.float_info.max,
    5e-324, 1e-300, 1e-12, 1e12, 1e150, 1e-150, 1e300, 3.5e38, -3.5e38,
)  # fmt: skip
WHOLE = (0, 1, 2, 3, 7, 255, 256, 2**15 - 1, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
WORDS = ("", "/", "//", "camera", FRAME + "x", "Ω", "a" * 5000, "rgb8", "a\nb", " ")
MODELS = ("", "plumb_bob", "rational_polynomial", "equidistant", "fisheye", "thin_prism", "Ω")
MOST_PIXELS = 1 << 17
"""Of an image that is made to match a damaged calibration."""


def damaged_number(rng: Rng, value: float) -> float:
    """Another number: an extreme one, or a distorted copy."""
    near = (value * 1.1, value * 0.9, -value, value + 1e-9, value * 1e6, rng.normal(0, 1e3))
    return float(rng.choice([*FLOATS, *near]))


def damaged_count(rng: Rng, value: int, most: int = 2**32 - 1) -> int:
    """Another whole number from 0 to ``most``."""
    near = (value + 1, value - 1, value * 2, value // 2, value * 3, int(rng.integers(most)))
    chosen = (*WHOLE, *near)[rng.integers(len(WHOLE) + len(near))]
    return min(max(int(chosen), 0), most)


def damaged_list(rng: Rng, values: Any) -> list[float]:
    """One to all of the numbers replaced."""
    result = [float(value) for value in values]
    if not result:
        return result
    for index in rng.integers(len(result), size=rng.integers(1, 4)):
        result[index] = damaged_number(rng, result[index])
    return result


def damaged_bytes(rng: Rng, data: bytes) -> bytes:
    """Truncated, extended, emptied, or replaced by noise."""
    kind = rng.integers(5)
    if kind == 0:
        return data[: rng.integers(len(data) + 1)]
    if kind == 1:
        return data + rng.bytes(int(rng.integers(1, 5000)))
    if kind == 2:
        return b""
    if kind == 3:
        return rng.bytes(len(data))
    return bytes([int(rng.choice([0, 255]))]) * len(data)


def _stamp(rng: Rng, message: Any) -> None:
    stamp = message.header.stamp
    seconds = (-(2**31), -1, 0, 1, 2**31 - 1, stamp.sec - 1, stamp.sec + 1)
    stamp.sec = int(rng.choice(seconds))
    stamp.nanosec = damaged_count(rng, stamp.nanosec)


def _bits(rng: Rng, message: Any) -> Any:
    """The message with some bytes of its serialized form changed, if it can still be read."""
    sent = bytearray(serialize_message(message))
    for position in rng.integers(4, min(len(sent), 120), size=rng.integers(1, 4)):
        sent[position] = int(rng.integers(256))
    try:
        return deserialize_message(bytes(sent), type(message))
    except Exception:  # what the middleware refuses is never received
        return message


def _set(name: str, value: Callable[[Rng, Any], Any]) -> Callable[[Rng, Any], None]:
    return lambda rng, message: setattr(message, name, value(rng, getattr(message, name)))


def _word(words: tuple[str, ...]) -> Callable[[Rng, Any], str]:
    return lambda rng, _: words[rng.integers(len(words))]


def _frame_id(rng: Rng, message: Any) -> None:
    message.header.frame_id = WORDS[rng.integers(len(WORDS))]


def _region(rng: Rng, info: CameraInfo) -> None:
    for name in ("x_offset", "y_offset", "width", "height"):
        if rng.random() < 0.6:
            setattr(info.roi, name, damaged_count(rng, int(rng.integers(1, WIDTH))))


def _coefficients(rng: Rng, _: Any) -> list[float]:
    count = int(rng.choice([0, 1, 4, 5, 8, 12, 14, 30]))
    return damaged_list(rng, rng.normal(0, float(rng.choice([1e-3, 0.3, 50.0])), count))


_IMAGE_DAMAGE: tuple[Callable[[Rng, Image], None], ...] = (
    _set("width", damaged_count),
    _set("height", damaged_count),
    _set("step", damaged_count),
    _set("encoding", _word(("rgb16", "jpeg", "32FC1", "8UC4", "nv21", "", "Ω", "RGB8"))),
    _set("encoding", _word(SUPPORTED_ENCODINGS)),
    _set("is_bigendian", lambda rng, _: int(rng.integers(256))),
    _set("data", lambda rng, data: damaged_bytes(rng, bytes(data))),
    _stamp,
    _frame_id,
)
_INFO_DAMAGE: tuple[Callable[[Rng, CameraInfo], None], ...] = (
    _set("width", damaged_count),
    _set("height", damaged_count),
    _set("k", damaged_list),
    _set("r", damaged_list),
    _set("p", damaged_list),
    _set("d", _coefficients),
    _set("distortion_model", _word(MODELS)),
    _set("binning_x", damaged_count),
    _set("binning_y", damaged_count),
    _region,
    _frame_id,
)


def _damaged(rng: Rng, message: Any, damage: tuple[Callable[[Rng, Any], None], ...]) -> Any:
    if rng.random() < 0.15:
        return _bits(rng, message)
    for index in rng.integers(len(damage), size=rng.integers(1, 4)):
        damage[index](rng, message)
    return message


def damaged_image(rng: Rng, stamp_ns: int) -> Image:
    """An image with one to three things wrong."""
    return _damaged(rng, image_message(FORWARD, stamp_ns), _IMAGE_DAMAGE)


def damaged_info(rng: Rng) -> CameraInfo:
    """A calibration with one to three things wrong."""
    info = info_message(FOCAL * float(rng.choice([0.5, 1.0, 2.0])))
    if rng.random() < 0.1:  # long and thin, or tiny: any size that a message may have
        size = int(rng.integers(1, 70_000)), int(rng.integers(1, 3))
        info = info_message(FOCAL, *(size if rng.random() < 0.5 else size[::-1]))
    if rng.random() < 0.5:  # else P, if it is given, is used instead of K
        info.p = [0.0] * 12
    return _damaged(rng, info, _INFO_DAMAGE)


def fitting_image(rng: Rng, width: int, height: int, stamp_ns: int) -> Image:
    """A good gray image of this size, or of the usual size if this one is empty or too large."""
    if not 0 < width * height <= MOST_PIXELS:
        width, height = WIDTH, HEIGHT
    gray = image(STAND, int(rng.integers(2**32)), width, height)[:, :, 1]
    message = Image(width=width, height=height, encoding="mono8", step=width)
    message.header.stamp = stamp_from_ns(stamp_ns)
    message.header.frame_id = FRAME
    message.data = gray.tobytes()
    return message


def damaged_stamps(rng: Rng, images: list[Image]) -> list[Image]:
    """Images of a camera whose clock is wrong."""
    shift_ns = int(rng.choice([-(2**31), -1, 0, 1, 2**31 - 2])) * 10**9
    nanosec = damaged_count(rng, 0, 2**31) if rng.random() < 0.3 else 0
    for index, sent in enumerate(images):
        sent.header.stamp = stamp_from_ns(shift_ns + index * PERIOD_NS)
        sent.header.stamp.nanosec += nanosec
    return images


def stamps() -> Iterator[int]:
    """Stamps of a camera, in nanoseconds."""
    stamp_ns = 10**12
    while True:
        stamp_ns += PERIOD_NS
        yield stamp_ns
