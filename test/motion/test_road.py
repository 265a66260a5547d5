"""Height over the road from triangulated points: pitch, noise, and what is not road."""

from __future__ import annotations

import numpy as np
import pytest
from corridor import HEIGHT_M, ahead
from point_scenes import random_points, seen, street_pairs

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import so3_exp
from sfm_ros.motion.road import RoadPlane
from sfm_ros.motion.two_view import estimate_two_view


def heights(road: RoadPlane, poses: FloatArray, seed: int = 0) -> FloatArray:
    """Height in lengths of the step, of every pair; NaN if none was found."""
    found = []
    for view, pair in street_pairs(poses, np.random.default_rng(seed)):
        road.update_pitch(view)
        log_height = road.log_height(view, pair.rays_curr)
        found.append(np.nan if log_height is None else np.exp(log_height))
    return np.array(found)


@pytest.mark.parametrize("pitch_deg", [-2.0, 0.0, 1.0, 4.0])
@pytest.mark.parametrize("step_m", [0.5, 1.2])
def test_height_and_pitch_of_a_level_road(pitch_deg: float, step_m: float) -> None:
    road = RoadPlane()
    found = heights(road, ahead([step_m] * 12, pitch_deg=pitch_deg)) * step_m
    print(f"pitch {pitch_deg}: height {np.round(found[[0, -1]], 3)} m")
    np.testing.assert_allclose(found[-5:], HEIGHT_M, rtol=0.02)
    down = so3_exp([np.radians(pitch_deg), 0.0, 0.0]) @ [0.0, 1.0, 0.0]
    assert np.degrees(np.arccos(min(1.0, road.normal @ down))) < 0.15


def test_pitch_survives_turns_and_is_forgotten_by_reset() -> None:
    road = RoadPlane()
    heights(road, ahead([0.8] * 10, pitch_deg=3.0))
    learned = road.normal
    rng = np.random.default_rng(1)
    sideways = seen(np.eye(3), np.array([1.0, 0.4, 0.2]), random_points(rng), rng, noise_px=0.1)
    view = estimate_two_view(sideways.prev, sideways.curr, 700.0, [(np.eye(3), np.eye(3)[0])])
    road.update_pitch(view)  # not ahead: no vehicle on a road moves like this
    assert np.array_equal(road.normal, learned)
    road.reset()
    np.testing.assert_array_equal(road.normal, [0.0, 1.0, 0.0])


def road_and_board(rng: np.random.Generator, board_m: float) -> FloatArray:
    """(N, 3) points of the road up to an upright board across it, and of the board."""
    road = np.column_stack(
        [rng.uniform(-3, 3, 250), np.full(250, HEIGHT_M), rng.uniform(4, board_m, 250)]
    )
    board = np.column_stack(
        [rng.uniform(-1.5, 1.5, 150), rng.uniform(-1.0, HEIGHT_M, 150), np.full(150, board_m)]
    )
    return np.concatenate([road, board])


@pytest.mark.parametrize("board_m", [8.0, 15.0])
def test_obstacle_ahead_is_not_the_road(board_m: float) -> None:
    rng = np.random.default_rng(2)
    rays = seen(np.eye(3), np.array([0.0, 0.0, 0.7]), road_and_board(rng, board_m), rng, 0.1)
    view = estimate_two_view(rays.prev, rays.curr, 700.0, [(np.eye(3), np.eye(3)[2])])
    found = RoadPlane().log_height(view, rays.curr)
    assert found is not None
    assert np.exp(found) * 0.7 == pytest.approx(HEIGHT_M, rel=0.03)


def test_no_height_without_road() -> None:
    rng = np.random.default_rng(3)
    points = random_points(rng)
    rays = seen(np.eye(3), np.array([0.0, 0.0, 1.0]), points[points[:, 1] < 0], rng, 0.1)
    view = estimate_two_view(rays.prev, rays.curr, 700.0, [(np.eye(3), np.eye(3)[2])])
    assert RoadPlane().log_height(view, rays.curr) is None
