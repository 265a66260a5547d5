"""Difference of consecutive depth maps, of a plane and of rendered streets."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from streets import ground_truth, ground_truth_motion, shared_street

from sfm_ros.datatypes import (
    CameraIntrinsics,
    DepthMap,
    FloatArray,
    OdometryEstimate,
    TrackingStatus,
)
from sfm_ros.evaluation.depth.flicker import DepthFlicker, depth_changes
from sfm_ros.geometry import make_transform

CAMERA = CameraIntrinsics(width=64, height=32, fx=40.0, fy=40.0, cx=31.5, cy=15.5)
STEP = make_transform(np.eye(3), [0.1, 0.0, 2.0])
PERIOD_NS = 100_000_000


def wall(distance: float) -> DepthMap:
    return np.full((32, 64), distance, np.float32)


def flicker(
    depth: DepthMap, before: DepthMap, K: FloatArray, T_prev_curr: FloatArray
) -> float | None:
    changes = depth_changes(depth, before, K, T_prev_curr)
    return None if changes is None else float(changes.mean())


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_wall_that_is_approached(factor: float) -> None:
    found = flicker(wall(8.0 * factor), wall(10.0 * factor), CAMERA.K, STEP)
    expected = abs(math.log((8.0 * factor + 2.0) / (10.0 * factor)))
    assert found == pytest.approx(expected, abs=1e-5)


def test_unknown_depth_is_left_out() -> None:
    before, now = wall(10.0), wall(8.0)
    before[:8], now[-8:], now[:, :5] = np.nan, 0.0, np.inf
    assert flicker(now, before, CAMERA.K, STEP) == pytest.approx(0.0, abs=1e-6)
    assert flicker(wall(np.nan), before, CAMERA.K, STEP) is None


def test_pixels_that_the_frame_before_did_not_see_are_left_out() -> None:
    away = make_transform(np.eye(3), [500.0, 0.0, 0.0])
    assert flicker(wall(8.0), wall(8.0), CAMERA.K, away) is None


def test_exact_depth_of_a_street_hardly_flickers() -> None:
    before, now = (shared_street().render(index) for index in (11, 12))
    depths = [ground_truth(item)[0] for item in (now, before)]
    T = ground_truth_motion(before, now)
    exact = flicker(*depths, now.frame.intrinsics.K, T)
    assert exact is not None and exact < 0.03
    jumped = flicker(depths[0] * np.float32(1.2), depths[1], now.frame.intrinsics.K, T)
    assert jumped is not None and jumped > 0.1


def estimate(index: int, depth: DepthMap | None, dt: int = 1) -> OdometryEstimate:
    return OdometryEstimate(
        stamp_ns=index * PERIOD_NS,
        frame_id="eye",
        status=TrackingStatus.TRACKING,
        T_prev_curr=np.eye(4),
        dt_ns=dt * PERIOD_NS,
        depth=depth,
        depth_intrinsics=CAMERA,
    )


def test_mean_is_over_consecutive_frames() -> None:
    measured = DepthFlicker()
    assert measured.mean is None
    for index in range(40):
        measured.add(estimate(index, wall(10.0 * 1.1 ** (index % 2))))
    assert measured.mean == pytest.approx(math.log(1.1), abs=1e-5)


@pytest.mark.parametrize("lacks", ["depth", "motion", "frame before"])
def test_frames_that_cannot_be_compared_are_skipped(lacks: str) -> None:
    measured = DepthFlicker()
    for index in range(40):
        given = estimate(index, None if lacks == "depth" else wall(10.0 + index % 2))
        if lacks == "motion":
            given = replace(given, T_prev_curr=None)
        if lacks == "frame before":
            given = replace(given, dt_ns=2 * PERIOD_NS)
        measured.add(given)
    assert measured.mean is None
