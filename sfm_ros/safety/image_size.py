"""The size of an image, from the header of its file, before anything is decoded.

An image of one color compresses a thousandfold: a decoder would take the memory that the header
asks for. Only the formats below are decoded.

References: PNG (ISO 15948) 11.2.2, JPEG (ITU-T T.81) B.2.2, BMP (BITMAPINFOHEADER), TIFF 6.0
section 2 and WebP's container (RFC 9649) section 2.
"""

from __future__ import annotations

import struct

from sfm_ros.errors import ImageError
from sfm_ros.safety import limits

_SOF = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame header."""
_NO_LENGTH = {0x01, *range(0xD0, 0xDA)}
"""JPEG's markers without a segment."""
_MOST_SEGMENTS, _MOST_FILLING = 10_000, 65_536
_TIFF_TYPES = {3: "H", 4: "I"}
_WIDTHS, _HEIGHTS = (256, 322), (257, 323)
"""TIFF's tags of the size of the image, and of its tiles."""


def check_image_size(data: bytes | memoryview, max_megapixels: float | None = None) -> None:
    """Make sure that an image file has a size that may be decoded.

    Args:
        data: the file.
        max_megapixels: largest size; by default `limits.IMAGE_MEGAPIXELS`.

    Raises:
        ImageError: it is no PNG, JPEG, BMP, TIFF or WebP image, its header is damaged, or it is
            larger.
    """
    limit = limits.IMAGE_MEGAPIXELS if max_megapixels is None else max_megapixels
    width, height = image_size(data)
    check_size(width, height, limit)


def check_size(width: float, height: float, max_megapixels: float) -> None:
    """Raise ImageError if an image of this size has more than so many million pixels."""
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            f"the image is {width:g}x{height:g} pixels, expected at most {max_megapixels:g} "
            "million (preprocess.max_megapixels)"
        )


def image_size(data: bytes | memoryview) -> tuple[int, int]:
    """Width and height in the header of an image file.

    Raises:
        ImageError: it is of another format, or the header is damaged.
    """
    view = memoryview(data).cast("B")
    head = bytes(view[:12])
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(view)
        if head.startswith(b"\xff\xd8"):
            return _jpeg(view)
        if head.startswith(b"BM"):
            return _bmp(view)
        if head[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(view)
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return _webp(view)
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise ImageError(f"the header of the image is damaged: {error}") from error
    raise ImageError("the file is no JPEG, PNG, WebP, BMP or TIFF image, or a damaged one")


def _png(view: memoryview) -> tuple[int, int]:
    length, kind, width, height = struct.unpack_from(">I4sII", view, 8)
    if kind != b"IHDR" or length != 13:
        raise ImageError("the PNG image does not start with its header")
    return width, height


def _jpeg(view: memoryview) -> tuple[int, int]:
    at = 2
    for _ in range(_MOST_SEGMENTS):
        # Decoders skip what is between segments.
        at += bytes(view[at : at + _MOST_FILLING]).index(b"\xff")
        while view[at] == 0xFF:
            at += 1
        marker = view[at]
        at += 1
        if marker in _SOF:
            height, width = struct.unpack_from(">HH", view, at + 3)
            return width, height
        if marker in (0xD9, 0xDA):
            break
        if marker not in _NO_LENGTH:
            at += max(struct.unpack_from(">H", view, at)[0], 2)
    raise ImageError("the JPEG image has no size in front of its pixels")


def _bmp(view: memoryview) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", view, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", view, 18)
    return abs(width), abs(height)  # a negative height means rows from the top


def _tiff(view: memoryview) -> tuple[int, int]:
    order = "<" if view[0] == 0x49 else ">"
    (directory,) = struct.unpack_from(f"{order}I", view, 4)
    (count,) = struct.unpack_from(f"{order}H", view, directory)
    sizes = dict.fromkeys((*_WIDTHS, *_HEIGHTS), 0)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", view, entry)
        if tag in sizes:
            (value,) = struct.unpack_from(f"{order}{_TIFF_TYPES[kind]}", view, entry + 8)
            sizes[tag] = max(sizes[tag], value)
    if not (sizes[_WIDTHS[0]] and sizes[_HEIGHTS[0]]):
        raise ImageError("the TIFF image has no size")
    width, height = (max(sizes[tag] for tag in tags) for tags in (_WIDTHS, _HEIGHTS))
    return width, height


def _webp(view: memoryview) -> tuple[int, int]:
    kind = bytes(view[12:16])
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", view, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", view, 21)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if kind == b"VP8X":
        low = [int.from_bytes(view[at : at + 3], "little") + 1 for at in (24, 27)]
        return low[0], low[1]
    raise ImageError("the WebP image has an unknown kind of pixels")
