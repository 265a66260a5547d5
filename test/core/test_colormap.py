"""Colors of depth, and their limits over time."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.colormap import DEFAULT_LIMITS, UNKNOWN_GRAY, SteadyLimits, color_of_depth


def test_near_is_bright_and_unknown_is_gray() -> None:
    depth = np.array([[2.0, 10.0, 50.0, np.nan, -1.0, np.inf]], dtype=np.float32)
    colors = color_of_depth(depth, (2.0, 50.0))
    assert colors.shape == (1, 6, 3) and colors.dtype == np.uint8
    brightness = colors[0, :3].sum(axis=1).astype(int)
    assert brightness[0] > brightness[1] > brightness[2]
    assert (colors[0, 3:] == UNKNOWN_GRAY).all()
    assert colors[0, 0].argmin() == 2  # magma ends in light yellow, little blue: not swapped


def test_limits_follow_slowly_in_inverse_depth() -> None:
    limits = SteadyLimits()
    assert limits.follow(np.full((8, 8), np.nan, np.float32)) == DEFAULT_LIMITS
    assert limits.follow(np.full((8, 8), 10, np.float32)) == pytest.approx((9.9, 10.1))
    near, far = limits.follow(np.full((8, 8), 20, np.float32))
    assert 1 / near == pytest.approx(0.9 / 9.9 + 0.1 / 19.8)
    assert 1 / far == pytest.approx(0.9 / 10.1 + 0.1 / 20.2)
    assert limits.follow(np.full((8, 8), np.nan, np.float32)) == (near, far)
