"""Colors of depth, and their limits over time."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.colormap import (
    DEFAULT_LIMITS,
    UNKNOWN_GRAY,
    SteadyLimits,
    captioned,
    color_of_depth,
    limits_of,
)


def test_near_is_bright_and_unknown_is_gray() -> None:
    depth = np.array([[2.0, 10.0, 50.0, np.nan, -1.0, np.inf]], dtype=np.float32)
    colors = color_of_depth(depth, (2.0, 50.0))
    assert colors.shape == (1, 6, 3) and colors.dtype == np.uint8
    brightness = colors[0, :3].sum(axis=1).astype(int)
    assert brightness[0] > brightness[1] > brightness[2]
    assert (colors[0, 3:] == UNKNOWN_GRAY).all()
    assert colors[0, 0].argmin() == 2  # magma ends in light yellow, little blue: not swapped


def test_a_car_stands_out_from_the_road_at_every_distance() -> None:
    """A car is half as far as what is seen beside it: the same step of the palette everywhere."""
    depth = np.array([[4, 8, 20, 40, 39, 78]], dtype=np.float32)
    levels = color_of_depth(depth, (4.0, 80.0)).sum(axis=2, dtype=int)[0]
    assert all(levels[i] - levels[i + 1] > 80 for i in (0, 2, 4))


def test_limits_are_percentiles_and_noise_is_not_stretched() -> None:
    values = np.linspace(2, 52, 1001).astype(np.float32)
    values[[3, 700]] = 0.01, 9000  # single wrong pixels do not matter
    assert limits_of(values) == pytest.approx((3, 51), abs=0.1)
    near, far = limits_of(np.array([9.99, 10.0, 10.01], np.float32))
    assert far / near == pytest.approx(1.5) and near * far == pytest.approx(100, rel=1e-3)


def test_the_sky_leaves_colors_to_the_street() -> None:
    street = np.linspace(4, 40, 700).astype(np.float32)
    sky = np.full(300, 900.0, np.float32)
    near, far = limits_of(np.concatenate([street, sky]))
    assert near < 6 and far == pytest.approx(25 * near)


def test_a_caption_fits_into_the_width() -> None:
    image = np.full((10, 60, 3), 90, np.uint8)
    for text in ("depth", "a caption that is far too long for an image of this width"):
        shown = captioned(image, text)
        assert (shown[-10:] == image).all()
        columns = np.flatnonzero((shown[:-10] > 60).any(axis=(0, 2)))
        assert columns.size and columns[-1] < 60 - 2


def test_limits_follow_slowly_in_inverse_depth() -> None:
    limits = SteadyLimits()
    assert limits.follow(np.full((8, 8), np.nan, np.float32)) == DEFAULT_LIMITS
    half = np.sqrt(1.5)
    assert limits.follow(np.full((8, 8), 10, np.float32)) == pytest.approx((10 / half, 10 * half))
    near, far = limits.follow(np.full((8, 8), 20, np.float32))
    assert 1 / near == pytest.approx(half * (0.9 / 10 + 0.1 / 20))
    assert 1 / far == pytest.approx((0.9 / 10 + 0.1 / 20) / half)
    assert limits.follow(np.full((8, 8), np.nan, np.float32)) == (near, far)
