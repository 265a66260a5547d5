"""The brightness of 16-bit images is found, whatever bits they use, and does not jump."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sfm_ros.errors import ConfigError, ImageError
from sfm_ros.formats import image_codec
from sfm_ros.formats.gray_range import GrayLevels, GrayRange
from sfm_ros.formats.image_codec import (
    decode_compressed,
    decode_message,
    decode_raw,
    levels_of,
    levels_of_file,
)
from sfm_ros.safety import limits


def scene(seed: int = 0, low: float = 0.05, high: float = 0.9) -> np.ndarray:
    """(96, 128) brightness between two shares of white."""
    noise = np.random.default_rng(seed).uniform(low, high, (12, 16))
    return cv2.resize(noise, (128, 96), interpolation=cv2.INTER_LINEAR)


def deep(bits: int, **options: float) -> np.ndarray:
    return (scene(**options) * ((1 << bits) - 1)).astype(np.uint16)


def message(pixels: np.ndarray, encoding: str = "mono16", bigendian: bool = False):
    data = pixels.astype(">u2" if bigendian else "<u2").tobytes()
    height, width = pixels.shape
    return SimpleNamespace(
        width=width, height=height, step=2 * width, encoding=encoding, data=data,
        is_bigendian=bigendian,
    )  # fmt: skip


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("bigendian", [False, True])
def test_every_number_of_bits_shows_the_scene(bits: int, bigendian: bool) -> None:
    pixels = deep(bits)
    for encoding in ("mono16", "16UC1"):
        rgb = decode_message(message(pixels, encoding, bigendian))
        shown = rgb[:, :, 0].astype(float)
        assert np.percentile(shown, 99) - np.percentile(shown, 1) > 110
        assert np.corrcoef(shown.ravel(), scene().ravel())[0, 1] > 0.999


def test_all_bits_are_shown_as_the_high_byte() -> None:
    pixels = deep(16)
    np.testing.assert_array_equal(decode_message(message(pixels))[:, :, 1], pixels >> 8)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_that_are_stated_scale_by_a_power_of_two(bits: int) -> None:
    pixels, gray = deep(bits, low=0.3, high=0.4), GrayRange(bits)
    rgb = decode_message(message(pixels), levels=levels_of(message(pixels), gray))
    np.testing.assert_array_equal(rgb[:, :, 0], pixels >> (bits - 8))


@pytest.mark.parametrize(("start", "span"), [(29_000, 600), (7_000, 2_500), (200, 150)])
def test_the_narrow_band_of_a_thermal_camera(start: int, span: int) -> None:
    pixels = (start + scene(low=0, high=1) * span).astype(np.uint16)
    shown = decode_message(message(pixels, "16UC1"))[:, :, 0]
    assert np.percentile(shown, 99) - np.percentile(shown, 1) > 110


def test_a_few_hot_or_dead_pixels_do_not_matter() -> None:
    pixels = deep(12)
    damaged = pixels.copy()
    damaged[::13, ::17] = 65535
    damaged[5::29, 3::31] = 0
    assert GrayRange().observe(damaged).white < 1.2 * GrayRange().observe(pixels).white


def test_noise_in_the_dark_stays_dark() -> None:
    noise = np.random.default_rng(0).normal(240, 3, (96, 128)).astype(np.uint16)
    assert decode_message(message(noise))[:, :, 0].std() < 10


# ---- over time -------------------------------------------------------------------------------


def test_the_range_stays_while_the_scene_fits() -> None:
    gray = GrayRange()
    first = gray.observe(deep(12, seed=0))
    for seed in range(1, 30):
        assert gray.observe(deep(12, seed=seed)) == first


@pytest.mark.parametrize("target", [0.45, 1.3])
def test_the_range_follows_slowly(target: float) -> None:
    """A tunnel, and its end: no image is shown more than a tenth brighter than the one before."""
    gray = GrayRange()
    pixels = deep(12, low=0.1, high=0.7)
    before = gray.observe(pixels)
    for index in range(120):
        factor = 1 + (target - 1) * min(index / 40, 1)
        now = gray.observe((pixels * factor).astype(np.uint16))
        shown = [levels.to_8bit(pixels).astype(float).mean() for levels in (before, now)]
        assert abs(shown[1] / shown[0] - 1) < 0.1
        before = now
    last = before.to_8bit((pixels * target).astype(np.uint16)).astype(float)
    assert np.mean(last == 255) < 0.02 and np.ptp(last) > 70


def test_a_change_of_gain_is_followed_at_once() -> None:
    gray = GrayRange()
    gray.observe(deep(10))
    shown = gray.observe(deep(14)).to_8bit(deep(14))
    assert 0.0 == np.mean(shown == 255) and np.ptp(shown) > 110


def test_a_covered_lens_does_not_change_the_range() -> None:
    gray = GrayRange()
    first = gray.observe(deep(12))
    dark = np.full((96, 128), int(first.black) + 300, np.uint16)
    for _ in range(50):
        assert gray.observe(dark) == first


def test_the_order_decides_and_not_the_time_of_decoding() -> None:
    """Levels are found in order, images decoded by any thread, in any order, afterwards."""
    images = [deep(12, seed=seed, high=0.2 + 0.02 * seed) for seed in range(12)]
    messages = [message(pixels) for pixels in images]
    gray = GrayRange()
    found = [levels_of(m, gray) for m in messages]
    again = GrayRange()
    in_order = [decode_message(m, levels=levels_of(m, again)) for m in messages]
    for index in (7, 2, 11, 0):
        shown = decode_message(messages[index], levels=found[index])
        np.testing.assert_array_equal(shown, in_order[index])


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("bits", [12, 14])
def test_compressed_images_of_16_bits(suffix: str, bits: int) -> None:
    data = cv2.imencode(suffix, deep(bits))[1].tobytes()
    shown = decode_compressed(data, "mono16; png compressed ")[:, :, 0]
    assert np.percentile(shown, 99) - np.percentile(shown, 1) > 110
    stated = GrayLevels(black=0.0, white=float(1 << bits))
    rgb = decode_compressed(data, levels=stated)
    np.testing.assert_array_equal(rgb[:, :, 2], deep(bits) >> (bits - 8))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_an_image_beyond_the_limit_does_not_move_the_range(suffix: str) -> None:
    small, large = (
        SimpleNamespace(format=suffix, data=cv2.imencode(suffix, pixels)[1])
        for pixels in (deep(10), np.tile(deep(14), (2, 2)))
    )
    gray = GrayRange()
    before = levels_of(small, gray, 0.02)
    assert before is not None
    assert levels_of(large, gray, 0.02) is None
    assert levels_of(small, gray, 0.02) == before


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_a_larger_limit_holds_for_the_range_too(
    suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "IMAGE_MEGAPIXELS", 0.001)
    data = cv2.imencode(suffix, deep(12))[1]
    assert levels_of_file(data, GrayRange(), 0.02) == GrayRange().observe(deep(12))
    assert levels_of_file(data, GrayRange()) is None


def test_a_range_that_is_stated_needs_no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_codec, "decode_pixels", lambda *_: pytest.fail("it was decoded"))
    png = SimpleNamespace(format="png", data=cv2.imencode(".png", deep(12))[1])
    stated = GrayLevels(black=0.0, white=4096.0)
    assert levels_of(png, GrayRange(12)) == levels_of_file(png.data, GrayRange(12)) == stated


def test_color_of_16_bits_keeps_its_order() -> None:
    bgr = np.dstack([deep(12, seed=1), deep(12, seed=2), deep(12, seed=3)])
    rgb = decode_compressed(cv2.imencode(".png", bgr)[1])
    for channel in range(3):
        shown = rgb[:, :, channel].astype(float).ravel()
        assert np.corrcoef(shown, bgr[:, :, 2 - channel].astype(float).ravel())[0, 1] > 0.999


def test_images_of_8_bits_have_no_levels() -> None:
    gray = GrayRange()
    png = SimpleNamespace(format="png", data=cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1])
    jpeg = SimpleNamespace(format="jpeg", data=cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1])
    damaged = SimpleNamespace(format="png", data=png.data[:30])
    for entry in (png, jpeg, damaged):
        assert levels_of(entry, gray) is None
    short = message(deep(12))
    short.data = short.data[:10]
    assert levels_of(short, gray) is None


def test_the_option_takes_no_other_bits() -> None:
    from sfm_ros.config import config_from_dict

    assert config_from_dict({"preprocess": {"bits": 12}}).preprocess.bits == 12
    for bits in (1, 7, 17, -1):
        with pytest.raises(ConfigError, match="bits"):
            config_from_dict({"preprocess": {"bits": bits}})


# ---- mosaics ---------------------------------------------------------------------------------

PATTERNS = {"rggb": (0, 1, 1, 2), "bggr": (2, 1, 1, 0), "gbrg": (1, 2, 0, 1), "grbg": (1, 0, 2, 1)}
COLOR = (200, 120, 40)


def mosaic(pattern: str) -> np.ndarray:
    """(96, 128) uint8 of one color, as the sensor sees it."""
    image = np.zeros((96, 128), np.uint8)
    for index, channel in enumerate(PATTERNS[pattern]):
        image[index // 2 :: 2, index % 2 :: 2] = COLOR[channel]
    return image


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_mosaic_in_a_file_becomes_color(pattern: str, suffix: str) -> None:
    data = cv2.imencode(suffix, mosaic(pattern))[1]
    rgb = decode_compressed(data, f"bayer_{pattern}8; {suffix[1:]} compressed ")
    np.testing.assert_array_equal(rgb[4:-4, 4:-4], np.broadcast_to(COLOR, (88, 120, 3)))


def test_a_mosaic_in_a_jpeg_becomes_color_nearly() -> None:
    data = cv2.imencode(".jpg", mosaic("rggb"), [cv2.IMWRITE_JPEG_QUALITY, 100])[1]
    rgb = decode_compressed(data, "bayer_rggb8; jpeg compressed ")
    assert np.abs(rgb[8:-8, 8:-8].reshape(-1, 3).mean(0) - COLOR).max() < 3


def test_a_mosaic_that_was_converted_before_is_left_as_it_is() -> None:
    bgr = np.full((16, 16, 3), COLOR[::-1], np.uint8)
    data = cv2.imencode(".png", bgr)[1]
    rgb = decode_compressed(data, "bayer_rggb8; png compressed bgr8")
    np.testing.assert_array_equal(rgb[3, 3], COLOR)


def test_an_unknown_mosaic_is_refused() -> None:
    data = cv2.imencode(".png", mosaic("rggb"))[1]
    with pytest.raises(ImageError, match="'bayer_xyzw8', expected bayer_rggb8"):
        decode_compressed(data, "bayer_xyzw8; png compressed ")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_of_12_bits(pattern: str) -> None:
    pixels = mosaic(pattern).astype("<u2") << 4
    levels = GrayRange(12).observe(pixels)
    rgb = decode_raw(pixels.tobytes(), 128, 96, 256, f"bayer_{pattern}16", levels=levels)
    np.testing.assert_array_equal(rgb[4:-4, 4:-4], np.broadcast_to(COLOR, (88, 120, 3)))
