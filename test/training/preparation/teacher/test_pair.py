"""Depth of one pair of images, and what several of them agree on, against exact flow."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import make_transform, so3_exp
from training.preparation.teacher.consensus import combine
from training.preparation.teacher.pair import Flow, PairDepth, triangulate
from training.preparation.teacher.view import View

ExactFlow = Callable[[FloatArray], Flow]
TURN = so3_exp(np.array([0.004, -0.01, 0.003]))
INNER = (slice(10, -14), slice(20, -20))
"""Pixels that stay in view."""


def step(z: float, x: float = 0.05) -> FloatArray:
    """T_source_target of a source that is ``z`` meters ahead of the target."""
    return make_transform(TURN, np.array([x, 0.02, -z]))


def backward_of(forward: Flow) -> Flow:
    """The flow from the source, at the pixels where the target's pixels arrive."""
    height, width = forward.shape[:2]
    v, u = np.mgrid[:height, :width].astype(np.float32)
    back = np.zeros_like(forward)
    for _ in range(20):  # back(q) = -forward(q + back(q))
        back = -cv2.remap(forward, u + back[..., 0], v + back[..., 1], cv2.INTER_LINEAR)
    return back


def pair_of(view: View, exact_flow: ExactFlow, T: FloatArray) -> PairDepth:
    forward = exact_flow(T)
    return triangulate(view, forward, backward_of(forward), T)


def test_exact_flow_gives_exact_depth(
    view: View, exact_flow: ExactFlow, inv_depth: FloatArray
) -> None:
    pair = pair_of(view, exact_flow, step(0.8))
    ratio = pair.inv_depth / inv_depth
    assert pair.is_static[INNER].mean() > 0.97
    assert np.abs(ratio - 1)[INNER][pair.is_static[INNER]].max() < 2e-3


def test_sigma_is_what_errors_of_the_flow_make(
    view: View, exact_flow: ExactFlow, inv_depth: FloatArray
) -> None:
    T = step(0.8)
    forward, noise = exact_flow(T), np.random.default_rng(0).normal(0, 0.3, (64, 160, 2))
    noisy = triangulate(view, (forward + noise).astype(np.float32), backward_of(forward), T)
    error = (noisy.inv_depth - inv_depth) / noisy.sigma
    # The tolerance, one hundredth of the flow, is part of sigma: slightly too wide is right.
    assert 0.6 < error[INNER].std() < 1.05


def test_flow_that_does_not_return_is_not_found(view: View, exact_flow: ExactFlow) -> None:
    T = step(0.8)
    forward = exact_flow(T)
    backward = backward_of(forward)
    backward[:, 80:] += 3.0
    pair = triangulate(view, forward, backward, T)
    assert pair.is_found[INNER][:, :30].mean() > 0.95
    assert not pair.is_found[INNER][:, 75:].any()


def test_what_moves_across_its_epipolar_line_is_found_but_not_static(
    view: View, exact_flow: ExactFlow
) -> None:
    T = make_transform(np.eye(3), np.array([0.0, 0.0, -0.8]))
    forward = exact_flow(T)
    forward[20:40, 100:130, 1] += 4.0  # right of the center flow runs to the right
    pair = triangulate(view, forward, backward_of(forward), T)
    moving = (slice(27, 33), slice(108, 122))
    assert pair.is_found[moving].all()
    assert not pair.is_static[moving].any()


def constant(inv_depth: float, sigma: float = 0.002) -> PairDepth:
    full = np.ones((64, 160), bool)
    return PairDepth(
        np.full(full.shape, inv_depth, np.float32),
        np.full(full.shape, sigma, np.float32),
        full,
        full,
    )


def test_consensus_weighs_what_agrees(view: View) -> None:
    found = combine(view, [constant(0.10, 0.001), constant(0.102, 0.002), constant(0.2, 0.01)])
    weights = 1 / (np.array([0.001, 0.002]) ** 2 + (0.02 * 0.1) ** 2)
    expected = weights @ [0.10, 0.102] / weights.sum()
    assert found.depth_m[5, 5] == pytest.approx(1 / expected, rel=0.002)
    assert not found.is_contradicted.any()


def test_pairs_that_contradict_each_other_give_no_depth(view: View) -> None:
    found = combine(view, [constant(0.10), constant(0.15), constant(0.2), constant(0.25)])
    assert not found.depth_m.any()
    assert found.is_contradicted.all()


def test_one_pair_is_enough_only_if_near_and_precise(view: View) -> None:
    above = 5  # a row above the horizon
    assert combine(view, [constant(0.1)]).depth_m[above, 5] == pytest.approx(10.0)
    assert combine(view, [constant(0.02)]).depth_m[above, 5] == 0
    assert combine(view, [constant(0.1, 0.02)]).depth_m[above, 5] == 0


def test_what_lies_under_the_road_has_no_depth(view: View) -> None:
    found = combine(view, [constant(0.1), constant(0.1)])  # 10 m ahead
    drop = (np.arange(64) - view.camera.cy) / view.camera.fy * 10.0
    assert found.depth_m[drop < 1.5].all()
    assert not found.depth_m[drop > 2.5].any()
    assert found.is_below[drop > 2.5].all()


def test_the_expected_street_is_a_road_between_walls(view: View) -> None:
    v, u = 55, 78
    road = (v - view.camera.cy) / view.camera.fy / 1.5
    assert view.expected_inv_depth[v, u] == pytest.approx(road, rel=1e-5)
    assert view.expected_inv_depth[30, 158] == pytest.approx(80 / 120 / 9.0, rel=1e-5)
    T = step(0.8)
    point = T[:3, :3] @ np.array([0.0, 25 / 110, 1.0]) / road + T[:3, 3]
    seen = view.camera.K @ point
    flow = view.expected_flow(T)[v, u]
    assert flow == pytest.approx(seen[:2] / seen[2] - [u, v], abs=1e-3)
