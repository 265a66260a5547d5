"""The road ahead is filled by its plane where nothing can be measured, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics
from training.preparation.teacher.road import fill_road
from training.preparation.teacher.view import Gray, Map, View

WIDTH, HEIGHT, HEIGHT_M = 416, 128, 1.5
NO_VEHICLE = np.zeros((HEIGHT, WIDTH), bool)


@pytest.fixture
def road_view() -> View:
    camera = CameraIntrinsics(width=WIDTH, height=HEIGHT, fx=300.0, fy=300.0, cx=207.5, cy=40.0)
    return View(camera, HEIGHT_M, np.array([0.0, 1.0, 0.0]))


@pytest.fixture
def gray() -> Gray:
    """Smooth asphalt with noise of a camera."""
    noise = np.random.default_rng(2).normal(90.0, 1.5, (HEIGHT, WIDTH))
    return np.clip(noise, 0, 255).astype(np.uint8)


def depth_of_road(view: View) -> Map:
    inv_depth = view.road_inv_depth()
    return np.where(inv_depth > 0, 1 / np.maximum(inv_depth, 1e-6), 0).astype(np.float32)


def across(view: View) -> Map:
    """Meters to the side of the camera, on the road."""
    return np.abs(view.x) * depth_of_road(view)


@pytest.fixture
def beside(road_view: View) -> Map:
    """The depth of the road, measured 2 to 4 m to either side only, and 5 % too large."""
    road, side = depth_of_road(road_view), across(road_view)
    return np.where((side > 2) & (side < 4), 1.05 * road, 0).astype(np.float32)


def own_lane(view: View) -> np.ndarray:
    road = depth_of_road(view)
    return (road > 0) & (road < 24) & (across(view) < 1.4)


def test_smooth_lane_gets_the_plane_of_what_is_measured(
    road_view: View, gray: Gray, beside: Map
) -> None:
    filled = fill_road(road_view, gray, beside, NO_VEHICLE)
    lane = own_lane(road_view)
    assert lane.sum() > 2000
    np.testing.assert_allclose(filled[lane], 1.05 * depth_of_road(road_view)[lane], rtol=1e-4)
    changed = filled != beside
    assert not changed[:45].any() and 4.9 < across(road_view)[changed].max() <= 5.0
    assert (filled[beside > 0] == beside[beside > 0]).all()


def test_what_stands_on_the_lane_ends_the_road(road_view: View, gray: Gray, beside: Map) -> None:
    gray[70:90, 190:226] = np.random.default_rng(3).integers(0, 255, (20, 36))
    filled = fill_road(road_view, gray, beside, NO_VEHICLE)
    new = (filled > 0) & (beside == 0)
    assert new[95:].any() and not new[:90].any()


def test_a_smooth_vehicle_beside_is_no_road(road_view: View, gray: Gray, beside: Map) -> None:
    """A bright flank in the next lane has no texture: it is not filled, nor is what it hides."""
    side = np.where(road_view.x > 0, across(road_view), 0.0)
    near = (depth_of_road(road_view) < 12) & (side > 2.0) & (side < 4.5)
    gray[near] = 200
    beside[near] = 0.0
    filled = fill_road(road_view, gray, beside, NO_VEHICLE)
    new = (filled > 0) & (beside == 0)
    assert not new[side > 1.5].any()
    assert new[own_lane(road_view)].all()
    left = np.where(road_view.x < 0, across(road_view), 0.0)
    assert new[left > 1.5].any()


def test_a_mover_ends_the_road(road_view: View, gray: Gray, beside: Map) -> None:
    beside[70:90, 190:226] = -1.0
    filled = fill_road(road_view, gray, beside, NO_VEHICLE)
    assert (filled[70:90, 190:226] == -1.0).all()
    assert not ((filled > 0) & (beside == 0))[:90].any()


def test_own_vehicle_is_left_out(road_view: View, gray: Gray, beside: Map) -> None:
    own = NO_VEHICLE.copy()
    own[110:] = True
    new = fill_road(road_view, gray, beside, own) != beside
    assert new.any() and not new[110:].any()


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_another_plane_is_no_evidence(
    road_view: View, gray: Gray, beside: Map, factor: float
) -> None:
    assert (fill_road(road_view, gray, factor * beside, NO_VEHICLE) == factor * beside).all()


def test_too_little_or_scattered_depth_is_no_evidence(
    road_view: View, gray: Gray, beside: Map
) -> None:
    few = np.where(np.random.default_rng(4).random(beside.shape) < 0.01, beside, 0)
    assert (fill_road(road_view, gray, few, NO_VEHICLE) == few).all()
    scattered = beside * np.random.default_rng(5).uniform(0.5, 1.5, beside.shape)
    assert (fill_road(road_view, gray, scattered, NO_VEHICLE) == scattered).all()
