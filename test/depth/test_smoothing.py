"""Depth drawn toward the last map: less noise, and nothing smeared that changes by itself."""

from __future__ import annotations

import numpy as np
import pytest
from corridor import ahead, depth_map

from sfm_ros.datatypes import CameraIntrinsics, DepthMap
from sfm_ros.depth.smoothing import DepthSmoother, log_change
from sfm_ros.evaluation.depth.flicker import depth_changes
from sfm_ros.geometry import inverse

GRID = CameraIntrinsics(width=208, height=64, fx=112.0, fy=112.0, cx=103.5, cy=31.5)
POSES = ahead([0.5] * 12)
T_PREV_CURR = inverse(POSES[0]) @ POSES[1]


def noisy(index: int) -> DepthMap:
    """The depth of the street, each map off by a factor of its own."""
    factor = np.exp(np.random.default_rng(index).normal(0.0, 0.05))
    return (depth_map(POSES[index], GRID) * factor).astype(np.float32)


def smoothed(weight: float) -> list[DepthMap]:
    smoother = DepthSmoother()
    motions = [None] + [inverse(a) @ b for a, b in zip(POSES, POSES[1:], strict=False)]
    return [smoother.smooth(noisy(i), GRID.K, T, weight) for i, T in enumerate(motions)]


def error(depth: DepthMap, index: int) -> float:
    return float(np.nanmean(np.abs(np.log(depth / depth_map(POSES[index], GRID)))))


def flicker(depth: DepthMap, before: DepthMap) -> float:
    changes = depth_changes(depth, before, GRID.K, T_PREV_CURR)
    assert changes is not None
    return float(changes.mean())


def test_flicker_and_error_shrink() -> None:
    plain, smooth = smoothed(0.0), smoothed(0.7)
    changes = [
        np.mean([flicker(b, a) for a, b in zip(maps, maps[1:], strict=False)])
        for maps in (plain, smooth)
    ]
    errors = [np.mean([error(m, i) for i, m in enumerate(maps)][4:]) for maps in (plain, smooth)]
    print(f"flicker {changes}, error {errors}")
    assert changes[1] < 0.5 * changes[0] and errors[1] < 0.8 * errors[0]


def test_weight_zero_changes_nothing() -> None:
    for index, depth in enumerate(smoothed(0.0)):
        np.testing.assert_array_equal(depth, noisy(index))


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_what_changes_by_itself_is_not_drawn(factor: float) -> None:
    smoother = DepthSmoother()
    before, after = (depth_map(POSES[i], GRID).astype(np.float32) for i in (0, 1))
    after[20:40, 80:120] *= np.float32(factor)
    smoother.smooth(before, GRID.K, None, 0.7)
    found = smoother.smooth(after, GRID.K, T_PREV_CURR, 0.7)
    np.testing.assert_allclose(found[20:40, 80:120], after[20:40, 80:120], rtol=1e-6)


def test_exact_depth_is_its_own_continuation() -> None:
    change = log_change(depth_map(POSES[1], GRID), depth_map(POSES[0], GRID), GRID.K, T_PREV_CURR)
    assert np.nanmedian(np.abs(change)) < 0.01 and np.isfinite(change).mean() > 0.5


def test_unknown_motion_and_another_grid_start_again() -> None:
    smoother = DepthSmoother()
    smoother.smooth(noisy(0), GRID.K, None, 0.7)
    np.testing.assert_array_equal(smoother.smooth(noisy(1), GRID.K, None, 0.7), noisy(1))
    small = noisy(2)[::2, ::2]
    np.testing.assert_array_equal(smoother.smooth(small, GRID.K, T_PREV_CURR, 0.7), small)
