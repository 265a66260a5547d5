"""The parts of the fusion: sources, plane of the road, spreading, the choice by time."""

from __future__ import annotations

import numpy as np
import pytest

from sfm_ros.depth.choice import StepBudget
from sfm_ros.depth.edge_fill import _REACH, _along, _feedback
from sfm_ros.depth.ground_plane import GroundPlane
from sfm_ros.depth.propagation import PixelRays
from sfm_ros.depth.scale_check import ScaleCheck
from sfm_ros.depth.sources import SourceViews
from sfm_ros.geometry import make_transform

K = np.array([[60.0, 0, 47.5], [0, 60.0, 20.0], [0, 0, 1]])
RAYS = PixelRays(K, (48, 96))
GRAY = np.zeros((48, 96), dtype=np.uint8)


def drive(step: float, frames: int, inv_depth: float = 0.1) -> SourceViews:
    views, T = SourceViews(), make_transform(np.eye(3), [0, 0, step])
    for _ in range(frames):
        views.move(T)
        views.add(GRAY, inv_depth)
    views.move(T)
    return views


@pytest.mark.parametrize("step", [0.1, 0.5, 1.0])
def test_sources_are_chosen_by_their_baseline(step: float) -> None:
    near, far = drive(step, frames=60).choose(0.1)
    assert 0.03 <= near.baseline * 0.1 <= 0.12
    assert 0.12 <= far.baseline * 0.1 <= 0.4
    assert near.T_source_target[2, 3] == pytest.approx(near.baseline)


def test_without_a_baseline_there_are_no_sources() -> None:
    assert drive(0.0, frames=20).choose(0.1) == []
    assert drive(0.001, frames=20).choose(0.1) == []
    views = drive(1.0, frames=5)
    views.clear()
    assert views.choose(0.1) == []


def test_the_plane_of_the_road_is_found_among_other_things() -> None:
    n, height = np.array([0.03, 1.0, -0.04]), 1.4
    expected = (n[0] * RAYS.x + n[1] * RAYS.y + n[2]) / height
    rng = np.random.default_rng(1)
    known = rng.random(RAYS.shape) < 0.5
    others = rng.random(RAYS.shape) < 0.3
    scene = expected * rng.normal(1, 0.03, RAYS.shape)
    scene = np.where(others, scene * rng.uniform(1.2, 3, RAYS.shape), scene).astype(np.float32)
    plane = GroundPlane()
    assert plane.inv_depth(RAYS) is None
    for _ in range(10):
        plane.update(RAYS, scene, known)
    found = plane.inv_depth(RAYS)
    assert found is not None
    road = expected > 0.1
    assert np.abs(found / expected - 1)[road].max() < 0.03


def test_a_wall_is_no_road() -> None:
    plane = GroundPlane()
    plane.update(RAYS, np.full(RAYS.shape, 0.1, np.float32), np.ones(RAYS.shape, dtype=bool))
    assert plane.inv_depth(RAYS) is None


def test_sums_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(2)
    image = rng.uniform(0, 255, (12, 1)).astype(np.float32)
    values = rng.uniform(0, 1, (12, 1)).astype(np.float32)
    feedback = _feedback(image)
    # Every pair of pixels: the product of what is handed on between them.
    distance = np.concatenate([[0.0], np.cumsum(np.log(feedback[:, 0]))])
    weights = np.exp(-np.abs(distance[:, None] - distance))
    expected = np.einsum("ij,jk->ik", weights, values)
    assert _along(values, feedback) == pytest.approx(expected, rel=1e-4)
    flat = _feedback(np.zeros((3, 1), np.float32))
    assert flat[0, 0] == pytest.approx(np.exp(-np.sqrt(2) / _REACH))


@pytest.mark.parametrize("step_ms, exceeded", [(40, False), (69, False), (71, True), (300, True)])
def test_the_time_of_the_first_steps_decides(step_ms: int, exceeded: bool) -> None:
    budget = StepBudget()
    for index in range(29):
        slow = 1000 if index % 5 == 0 else step_ms  # a few slow ones do not matter
        budget.add(slow * 1_000_000, 100_000_000)
    assert not budget.is_exceeded
    for _ in range(100):
        budget.add(step_ms * 1_000_000, 100_000_000)
    assert budget.is_exceeded is exceeded


def test_lengths_that_suddenly_differ_are_doubted_until_they_are_as_before() -> None:
    check = ScaleCheck()
    assert not any(check.is_wrong(0.05 * (-1) ** i, 0.01) for i in range(30))
    assert check.is_wrong(-0.2, -0.3)
    # Nothing is left to compare with but the network, which is off as never before.
    assert all(check.is_wrong(-0.25, 0.0) for _ in range(20))
    assert not check.is_wrong(0.02, 0.0)


def test_lengths_that_contradict_the_network_are_doubted_from_the_start() -> None:
    for off, expected in ((0.2, False), (-0.2, False), (0.5, True), (-0.4, True)):
        check = ScaleCheck()
        assert {check.is_wrong(off, 0.0) for _ in range(50)} == {expected}


def test_no_doubt_lasts_for_ever() -> None:
    check = ScaleCheck()
    assert not check.is_wrong(0.0, 0.0)
    assert check.is_wrong(0.2, 0.2)
    assert sum(check.is_wrong(0.2, 0.0) for _ in range(300)) < 100
