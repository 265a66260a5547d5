"""Decodes raw and compressed images to RGB, for the node and the bag reader alike.

The encodings are those of `sensor_msgs/Image`. No message type is imported. If only the order of
the bytes differs from RGB, the result is a view of the message's own bytes, which must not change
then: the image is about to be scaled down to a network's small input, so a copy of all of it would
be wasted.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import RgbImage
from sfm_ros.errors import ImageError
from sfm_ros.formats.gray_range import Deep, GrayLevels, GrayRange
from sfm_ros.safety.image_size import check_image_size

_Bytes = npt.NDArray[np.uint8]

# Encoding -> (bytes per pixel, OpenCV's conversion to RGB; None changes only the order of bytes).
# OpenCV names a Bayer pattern by its second row: ROS's RGGB is OpenCV's BayerBG.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "mono16": (2, cv2.COLOR_GRAY2RGB),
    "16UC1": (2, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": (2, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (2, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (2, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (2, cv2.COLOR_BayerGB2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
}

SUPPORTED_ENCODINGS: tuple[str, ...] = tuple(_ENCODINGS)
"""Values of ``encoding`` that `decode_raw` accepts."""
_DEEP = tuple(name for name in _ENCODINGS if name.endswith("16") or name == "16UC1")
_TIFF_MARKS = (b"II*\x00", b"MM\x00*")
DEEP_HEADER = 25
"""Bytes of an image file that `may_be_deep` reads."""


def levels_of(
    message: Any, gray: GrayRange, max_megapixels: float | None = None
) -> GrayLevels | None:
    """The levels of a 16-bit image message; None if it has 8 bits or cannot be decoded.

    Messages come in order: ``gray`` follows their range. The decoding itself may be done later, by
    `decode_message`, in any thread. Levels that are fixed are returned whatever the message holds.

    Args:
        message: the message.
        gray: of the camera.
        max_megapixels: the limit of the later decoding; an image beyond it has no levels.
    """
    if gray.fixed is not None:
        return gray.fixed
    try:
        if hasattr(message, "format"):
            return levels_of_file(message.data, gray, max_megapixels)
        if message.encoding not in _DEEP:
            return None
        layout = (message.width, message.height, message.step, message.encoding)
        return gray.observe(_deep(_pixels(message.data, *layout), bool(message.is_bigendian)))
    except ImageError:
        return None


def levels_of_file(
    data: Any, gray: GrayRange, max_megapixels: float | None = None
) -> GrayLevels | None:
    """The same of an image file that was read into memory."""
    if gray.fixed is not None:
        return gray.fixed
    buffer = _as_bytes(data)
    if not may_be_deep(buffer):
        return None
    try:
        flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
        image = decode_pixels(buffer, flags, max_megapixels)
    except ImageError:
        return None
    return gray.observe(image) if image.dtype == np.uint16 else None


def may_be_deep(data: Any) -> bool:
    """Whether the start of a file may be that of 16-bit pixels; `DEEP_HEADER` bytes suffice.

    PNG states the bits at a fixed place, TIFF anywhere.
    """
    head = bytes(memoryview(data)[:DEEP_HEADER])
    if head.startswith(b"\x89PNG"):
        return head[24:25] == b"\x10"
    return head.startswith(_TIFF_MARKS)


def decode_message(
    message: Any, max_megapixels: float | None = None, levels: GrayLevels | None = None
) -> RgbImage:
    """(H, W, 3) uint8 RGB of a sensor_msgs Image or CompressedImage, of ROS 1 or 2.

    Args:
        message: the message.
        max_megapixels: of a compressed image, see `decode_pixels`.
        levels: of 16-bit images, from `levels_of`; by default those of this image alone.

    Raises:
        ImageError: see `decode_raw` and `decode_compressed`.
    """
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format, max_megapixels, levels)
    layout = (message.width, message.height, message.step, message.encoding)
    return decode_raw(message.data, *layout, bool(message.is_bigendian), levels)


def decode_raw(
    data: Any,
    width: int,
    height: int,
    step: int,
    encoding: str,
    is_bigendian: bool = False,
    levels: GrayLevels | None = None,
) -> RgbImage:
    """Decode a raw image message.

    Args:
        data: the message's bytes: any contiguous buffer (bytes, memoryview, array, ndarray).
        width, height: size in pixels.
        step: bytes from the start of one row to the start of the next; padding is skipped.
        encoding: one of `SUPPORTED_ENCODINGS`; ``8UC3`` is BGR, as OpenCV writes it.
        is_bigendian: byte order of 16-bit pixels.
        levels: of 16-bit pixels, see `decode_message`.

    Returns:
        (height, width, 3) uint8 RGB; a new array, or a view of ``data`` (``rgb8``, ``bgr8``).

    Raises:
        ImageError: unknown encoding, no pixels, or inconsistent size, step and data length.
    """
    pixels = _pixels(data, width, height, step, encoding)
    try:
        return _to_rgb(pixels, encoding, is_bigendian, levels)
    except (cv2.error, MemoryError) as error:
        reason = _reason(error)
        raise ImageError(
            f"cannot convert a {width}x{height} {encoding} image: {reason}"
        ) from error


def _pixels(data: Any, width: int, height: int, step: int, encoding: str) -> _Bytes:
    """(H, W) or (H, W, bytes per pixel): a view of a message's bytes, without padding."""
    try:
        bytes_per_pixel, _ = _ENCODINGS[encoding]
    except (KeyError, TypeError):
        raise ImageError(
            f"the image encoding is {encoding!r}, expected one of "
            f"{', '.join(SUPPORTED_ENCODINGS)}; convert the image before publishing it"
        ) from None
    buffer = _as_bytes(data)
    _check_layout(buffer.size, width, height, step, bytes_per_pixel, encoding)
    rows = buffer[: step * height].reshape(height, step)[:, : width * bytes_per_pixel]
    return rows if bytes_per_pixel == 1 else rows.reshape(height, width, bytes_per_pixel)


def _deep(pixels: _Bytes, is_bigendian: bool) -> Deep:
    """(H, W) of (H, W, 2) bytes."""
    return np.ascontiguousarray(pixels).view(">u2" if is_bigendian else "<u2")[:, :, 0]


def _to_rgb(
    pixels: _Bytes, encoding: str, is_bigendian: bool, levels: GrayLevels | None
) -> npt.NDArray:
    """(H, W, 3) RGB of (H, W) or (H, W, bytes per pixel)."""
    bytes_per_pixel, code = _ENCODINGS[encoding]
    if code is None:
        return pixels if encoding == "rgb8" else pixels[:, :, ::-1]
    if encoding in _DEEP:
        deep = _deep(pixels, is_bigendian)
        pixels = (levels or GrayRange().observe(deep)).to_8bit(deep)
    elif bytes_per_pixel == 2 and pixels.shape[1] % 2:
        raise ImageError(f"the 4:2:2 image is {pixels.shape[1]} pixels wide, expected even")
    if encoding.startswith("bayer"):
        _check_mosaic(pixels)
    return cv2.cvtColor(pixels, code)


def _check_mosaic(pixels: _Bytes) -> None:
    height, width = pixels.shape[:2]
    if min(height, width) < 4:
        raise ImageError(f"the Bayer image is {width}x{height}, expected at least 4x4 pixels")


def _as_bytes(data: Any) -> _Bytes:
    try:
        return np.frombuffer(data, dtype=np.uint8) if len(data) else np.empty(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise ImageError(
            f"the image data is a {type(data).__name__}, expected a contiguous buffer of bytes: "
            f"{error}"
        ) from error


def _check_layout(
    size: int, width: int, height: int, step: int, bytes_per_pixel: int, encoding: str
) -> None:
    if width <= 0 or height <= 0:
        raise ImageError(f"the image is {width}x{height} pixels, expected a positive size")
    if step < width * bytes_per_pixel:
        raise ImageError(
            f"the image's step is {step} bytes, but a row of {width} {encoding} pixels takes "
            f"{width * bytes_per_pixel}"
        )
    if size < step * height:
        raise ImageError(
            f"the image holds {size} bytes, but {height} rows of step {step} take "
            f"{step * height}; the message is truncated or its size is wrong"
        )


def decode_compressed(
    data: Any,
    format: str = "",
    max_megapixels: float | None = None,
    levels: GrayLevels | None = None,
) -> RgbImage:
    """Decode a compressed image message, or an image file that was read into memory.

    The kind (JPEG, PNG, WebP, BMP, TIFF) is recognized from the bytes; gray becomes RGB, and a
    Bayer mosaic that was compressed as it is (``bayer_rggb8; png compressed``) too. A
    truncated image is an error: OpenCV would fill the missing rows of a JPEG or PNG with gray.

    Args:
        data: the file's bytes: any contiguous buffer.
        format: the message's ``format`` field: the encoding before it was compressed, and whether
            it is ``compressedDepth``, which is refused.
        max_megapixels: see `decode_pixels`.
        levels: of 16-bit pixels, see `decode_message`.

    Returns:
        (height, width, 3) uint8 RGB, a new contiguous array.

    Raises:
        ImageError: empty, truncated, too large or undecodable data, or compressed depth.
    """
    if "compressedDepth" in format:
        raise ImageError(
            f"the image format is {format!r}: a depth image; use the color camera's topic"
        )
    buffer = _as_bytes(data)
    kind = f"format {format!r}" if format else "no format given"
    if buffer.size == 0:
        raise ImageError(f"the compressed image ({kind}) is empty")
    if _is_cut_short(buffer):
        raise ImageError(f"the compressed image ({kind}) of {buffer.size} bytes is truncated")
    try:
        # Gray is decoded as gray: OpenCV takes twice as long to decode it to color.
        deep = cv2.IMREAD_ANYDEPTH if may_be_deep(buffer) else 0
        image = decode_pixels(buffer, cv2.IMREAD_ANYCOLOR | deep, max_megapixels)
        if image.dtype == np.uint16:
            image = (levels or GrayRange().observe(image)).to_8bit(image)
        elif image.dtype != np.uint8:  # a TIFF of other numbers
            image = decode_pixels(buffer, cv2.IMREAD_ANYCOLOR, max_megapixels)
        code = _file_conversion(image, format)
        return np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)
    except (ImageError, cv2.error, MemoryError) as error:
        raise ImageError(
            f"cannot decode the compressed image ({kind}) of {buffer.size} bytes: {_reason(error)}"
        ) from error


def _file_conversion(image: _Bytes, format: str) -> int:
    """OpenCV's conversion to RGB of a decoded file, by the encoding it was made from."""
    if image.ndim == 3:
        return cv2.COLOR_BGR2RGB
    encoding = format.partition(";")[0].strip()
    if not encoding.startswith("bayer"):
        return cv2.COLOR_GRAY2RGB
    _, code = _ENCODINGS.get(encoding, (0, None))
    if code is None:
        raise ImageError(f"the Bayer pattern is {encoding!r}, expected bayer_rggb8 or the like")
    _check_mosaic(image)
    return code


def decode_pixels(data: Any, flags: int, max_megapixels: float | None = None) -> npt.NDArray:
    """Decode an image file as OpenCV's ``imdecode`` does, after its header was checked.

    Args:
        data: the file's bytes: any contiguous buffer.
        flags: one of OpenCV's ``IMREAD`` constants.
        max_megapixels: an image of more million pixels is refused; by default
            `sfm_ros.safety.limits.IMAGE_MEGAPIXELS`.

    Returns:
        (H, W) or (H, W, channels), of the file's own type if ``flags`` keep it.

    Raises:
        ImageError: no JPEG, PNG, WebP, BMP or TIFF image, too large, damaged, or larger than the
            memory.
    """
    buffer = _as_bytes(data)
    check_image_size(buffer.data, max_megapixels)
    try:
        image = cv2.imdecode(buffer, flags)
    except (cv2.error, MemoryError) as error:
        raise ImageError(_reason(error)) from error
    if image is None:
        raise ImageError("a damaged image, or one of an unsupported kind")
    return image


def _reason(error: Exception) -> str:
    """One line; OpenCV reports a lack of memory as an error of its own."""
    if isinstance(error, MemoryError) or getattr(error, "code", 0) == cv2.Error.StsNoMem:
        return "the memory does not suffice for it"
    return " ".join(str(error).split())


def _is_cut_short(buffer: _Bytes) -> bool:
    """Whether a JPEG or PNG lacks its end; of the other kinds OpenCV refuses a part itself."""
    head = buffer[:4].tobytes()
    if head.startswith(b"\xff\xd8"):
        content = buffer.tobytes()
        # Coded data escapes 0xff, so an end marker that no start of a scan follows is the image's
        # own and not that of a thumbnail in its header.
        end = content.rfind(b"\xff\xd9")
        return end < 0 or content.find(b"\xff\xda", end) >= 0
    return head == b"\x89PNG" and b"IEND" not in buffer[-64:].tobytes()
