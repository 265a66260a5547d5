"""Every encoding decodes to the image that was encoded; damaged input is an ImageError."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_ros.errors import ImageError
from sfm_ros.formats.image_codec import SUPPORTED_ENCODINGS, decode_compressed, decode_raw

HEIGHT, WIDTH = 6, 8


def _image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _padded(rows: np.ndarray, step: int) -> bytes:
    """Rows of bytes, each padded to ``step`` with a value that must not be decoded."""
    rows = rows.reshape(len(rows), -1)
    out = np.full((len(rows), step), 0xEE, np.uint8)
    out[:, : rows.shape[1]] = rows
    return out.tobytes()


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "channels"),
    [("rgb8", (0, 1, 2)), ("bgr8", (2, 1, 0)), ("8UC3", (2, 1, 0))],
)
def test_three_channel_encodings_are_exact(encoding, channels, padding):
    rgb = _image()
    step = WIDTH * 3 + padding
    out = decode_raw(_padded(rgb[:, :, channels], step), WIDTH, HEIGHT, step, encoding)
    np.testing.assert_array_equal(out, rgb)


@pytest.mark.parametrize(("encoding", "order"), [("rgba8", (0, 1, 2, 3)), ("bgra8", (2, 1, 0, 3))])
def test_alpha_is_dropped(encoding, order):
    rgb = _image()
    rgba = np.dstack([rgb, np.full((HEIGHT, WIDTH), 77, np.uint8)])
    step = WIDTH * 4 + 3
    out = decode_raw(_padded(rgba[:, :, order], step), WIDTH, HEIGHT, step, encoding)
    np.testing.assert_array_equal(out, rgb)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_gray_becomes_three_equal_channels(encoding):
    gray = _image()[:, :, 0]
    out = decode_raw(_padded(gray, WIDTH + 2), WIDTH, HEIGHT, WIDTH + 2, encoding)
    np.testing.assert_array_equal(out, np.repeat(gray[:, :, None], 3, axis=2))


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize(("order", "is_bigendian"), [("<u2", 0), (">u2", 1)])
def test_mono16_byte_order(encoding, order, is_bigendian):
    values = np.array([[0, 255, 256, 0x1234], [0xFFFF, 0xFF00, 0x00FF, 0x8000]])
    data = values.astype(order).tobytes()
    out = decode_raw(data, 4, 2, 8, encoding, is_bigendian)
    np.testing.assert_array_equal(out[:, :, 1], values >> 8)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_of_one_color(pattern):
    color = {"r": 200, "g": 120, "b": 30}
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    for index, letter in enumerate(pattern):
        mosaic[index // 2 :: 2, index % 2 :: 2] = color[letter]
    out = decode_raw(mosaic.tobytes(), WIDTH, HEIGHT, WIDTH, f"bayer_{pattern}8")
    np.testing.assert_array_equal(out, np.broadcast_to([200, 120, 30], (HEIGHT, WIDTH, 3)))


@pytest.mark.parametrize(
    ("encoding", "luma_at"), [("yuv422", 1), ("uyvy", 1), ("yuv422_yuy2", 0), ("yuyv", 0)]
)
def test_yuv422_separates_luma_and_color(encoding, luma_at):
    packed = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
    packed[:, :, luma_at] = 235
    out = decode_raw(packed.tobytes(), WIDTH, HEIGHT, WIDTH * 2, encoding)
    assert out.min() >= 253  # video-range white, no color
    u_at = (0, 1 - luma_at)
    packed[:, ::2, u_at[1]] = 40  # less blue
    yellow = decode_raw(packed.tobytes(), WIDTH, HEIGHT, WIDTH * 2, encoding)
    assert yellow[0, 0, 2] < 120 < 200 < yellow[0, 0, 0]


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda b: array.array("B", b),
        lambda b: np.frombuffer(b, np.uint8),
    ],
)
def test_any_buffer_is_accepted(wrap):
    rgb = _image()
    out = decode_raw(wrap(rgb.tobytes()), WIDTH, HEIGHT, WIDTH * 3, "rgb8")
    np.testing.assert_array_equal(out, rgb)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((b"x" * 99, 4, 4, 12, "rgb16"), ["rgb16", "bgr8"]),
        ((b"x" * 99, 4, 4, 11, "rgb8"), ["11", "12"]),
        ((b"x" * 47, 4, 4, 12, "rgb8"), ["47", "48"]),
        ((b"", 4, 4, 12, "rgb8"), ["0 bytes", "48"]),
        ((b"x" * 48, 0, 4, 12, "rgb8"), ["0x4"]),
        ((b"x" * 48, 4, 0, 12, "rgb8"), ["4x0"]),
        ((b"x" * 48, 5, 4, 10, "yuv422"), ["even", "5"]),
        ((b"x" * 48, 2, 2, 2, "bayer_rggb8"), ["2x2", "4x4"]),
        (([1, 2, 3], 1, 1, 3, "rgb8"), ["list"]),
    ],
)
def test_errors_name_the_values(arguments, named):
    with pytest.raises(ImageError) as caught:
        decode_raw(*arguments)
    for text in named:
        assert text in str(caught.value)


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    ok, data = cv2.imencode(suffix, image)
    assert ok
    return data.tobytes()


def _smooth_image() -> np.ndarray:
    y, x = np.mgrid[0:48, 0:64]
    return np.dstack([4 * x, 5 * y, 255 - 4 * x]).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_lossless_formats_are_exact(suffix):
    rgb = _smooth_image()
    np.testing.assert_array_equal(decode_compressed(_encoded(suffix, rgb[:, :, ::-1]), "png"), rgb)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_are_close(suffix):
    rgb = _smooth_image()
    out = decode_compressed(_encoded(suffix, rgb[:, :, ::-1]), "rgb8; jpeg compressed bgr8")
    assert np.abs(out.astype(int) - rgb).mean() < 6


def test_png_of_sixteen_bit_gray():
    gray = np.full((5, 7), 0x8000, np.uint16)
    out = decode_compressed(_encoded(".png", gray), "png")
    assert out.shape == (5, 7, 3) and np.all(out == 0x80)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("kept", [0.05, 0.4, 0.9])
def test_truncated_files_are_refused(suffix, kept):
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = _encoded(suffix, noise)
    with pytest.raises(ImageError):
        decode_compressed(data[: int(kept * len(data))], "x")


def test_progressive_jpeg_with_padding():
    ok, data = cv2.imencode(".jpg", _smooth_image(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert ok and decode_compressed(data.tobytes() + b"\0" * 100, "jpeg").shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("data", "format", "named"),
    [
        (b"", "jpeg", "empty"),
        (b"hello world, I am no image", "jpeg", "26 bytes"),
        (b"\xff\xd8\xff\xda\xff\xd9", "jpeg", "decode"),
        (b"abc", "16UC1; compressedDepth png", "compressedDepth"),
    ],
)
def test_undecodable_data_is_refused(data, format, named):
    with pytest.raises(ImageError, match=named):
        decode_compressed(data, format)


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(-2, 40),
    height=st.integers(-2, 40),
    step=st.integers(-3, 180),
    size=st.integers(0, 6000),
    encoding=st.sampled_from([*SUPPORTED_ENCODINGS, "", "32FC1"]),
    is_bigendian=st.booleans(),
)
def test_any_raw_message_gives_image_or_error(width, height, step, size, encoding, is_bigendian):
    data = bytes(size)
    try:
        out = decode_raw(data, width, height, step, encoding, is_bigendian)
    except ImageError:
        return
    assert out.shape == (height, width, 3) and out.dtype == np.uint8
    assert size >= step * height and encoding in SUPPORTED_ENCODINGS


@settings(max_examples=150, deadline=None)
@given(
    suffix=st.sampled_from([".png", ".jpg", ".bmp"]),
    position=st.integers(0, 3000),
    junk=st.binary(min_size=0, max_size=12),
)
def test_damaged_image_gives_image_or_error(suffix, position, junk):
    data = bytearray(_encoded(suffix, _smooth_image()))
    data[position : position + len(junk)] = junk
    try:
        out = decode_compressed(bytes(data), "jpeg")
    except ImageError:
        return
    assert out.ndim == 3 and out.shape[2] == 3 and out.dtype == np.uint8
