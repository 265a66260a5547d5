"""Image files whose headers ask for far more memory than the files take."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np


def png_bomb(width: int = 30_000, height: int = 30_000) -> bytes:
    """A valid gray PNG image of zeros, a thousandth of its pixels in size."""
    packer, row = zlib.compressobj(9), bytes(width + 1)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, chunks))


def _chunk(chunk: tuple[bytes, bytes]) -> bytes:
    kind, data = chunk
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_size(kind: str, width: int, height: int) -> bytes:
    """A small image of a kind with another size in its header."""
    data = bytearray(encoded(kind))
    if kind == "png":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "jpg":
        at = next(data.find(bytes((0xFF, m))) for m in (0xC0, 0xC2) if bytes((0xFF, m)) in data)
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif kind == "bmp":
        data[18:26] = struct.pack("<ii", width, height)
    elif kind == "webp":  # lossless
        data[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    elif kind == "tiff":
        start = struct.unpack_from("<I", data, 4)[0] + 2
        for at in range(start, start + 24, 12):
            value = {256: width, 257: height}.get(struct.unpack_from("<H", data, at)[0])
            if value is not None:
                data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    return bytes(data)


def encoded(kind: str, width: int = 51, height: int = 37) -> bytes:
    """A real image file of OpenCV."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    ok, data = cv2.imencode(f".{kind}", pixels)
    assert ok
    return data.tobytes()
