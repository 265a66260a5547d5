"""Sky, movers and the own vehicle in images where it is known what is what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import make_transform
from training.data.sequence import MOVING, SKY_DEPTH_M
from training.preparation.teacher.consensus import Consensus
from training.preparation.teacher.depth import reduced
from training.preparation.teacher.movers import find_movers
from training.preparation.teacher.own_vehicle import OwnVehicle
from training.preparation.teacher.sky import find_sky
from training.preparation.teacher.view import View

AHEAD = make_transform(np.eye(3), np.array([0.0, 0.0, -1.0]))
SHAPE = (64, 160)


def scene() -> np.ndarray:
    """A street in the shade: textured, with the sky in the middle of the upper part."""
    noise = np.random.default_rng(1).integers(20, 90, SHAPE).astype(np.uint8)
    noise[:24, 50:110] = 230
    return noise


def test_the_sky_is_bright_smooth_and_open_to_the_top(view: View) -> None:
    found = find_sky(view, scene(), np.zeros(SHAPE, np.float32))
    assert found.certain[3:20, 54:106].all()
    assert not found.certain[:, :48].any()
    assert not found.certain[28:].any()


def test_a_bright_wall_beside_the_street_is_not_labeled(view: View) -> None:
    gray = scene()
    gray[:24, 50:110] = 60
    gray[:24, :40] = 230
    found = find_sky(view, gray, np.zeros(SHAPE, np.float32))
    assert not found.certain.any()
    assert found.possible[3:20, 3:36].all()


@pytest.mark.parametrize(
    "change",
    [
        lambda gray, depth: gray.__setitem__((slice(0, 60), slice(50, 110)), 230),  # a wall
        lambda gray, depth: depth.__setitem__((slice(0, 24), slice(50, 110)), 8.0),  # it is near
        lambda gray, depth: gray.__setitem__((slice(0, 12), slice(0, 160)), 40),  # under a bridge
        lambda gray, depth: gray.__setitem__((slice(0, 30), slice(50, 110)), 60),  # dark
    ],
)
def test_what_only_looks_like_the_sky_is_not_labeled(
    view: View, change: Callable[[np.ndarray, np.ndarray], None]
) -> None:
    gray, depth = scene(), np.zeros(SHAPE, np.float32)
    change(gray, depth)
    assert not find_sky(view, gray, depth).certain.any()


def consensus(inv_depth: FloatArray) -> Consensus:
    nothing = np.zeros(SHAPE, bool)
    depth = (1 / inv_depth).astype(np.float32)
    return Consensus(depth, nothing, nothing)


def test_a_vehicle_ahead_is_marked_up_to_its_roof(view: View, inv_depth: FloatArray) -> None:
    found = consensus(inv_depth)
    foot, usable = 52, np.ones(SHAPE, bool)
    distance = 1.5 / ((foot - view.camera.cy) / view.camera.fy)
    is_below = np.zeros(SHAPE, bool)
    is_below[32 : foot + 1, 70:90] = True
    moves = find_movers(view, replace(found, is_below=is_below), usable)
    assert moves[32 : foot + 1, 70:90].all()
    assert moves[10:32, 72:88].all()  # it stands before the wall 20 m ahead
    assert not moves[:, :60].any()
    near = found.depth_m.copy()
    near[5:25, 70:90] = distance  # a sign right above it
    kept = find_movers(view, replace(found, is_below=is_below, depth_m=near), usable)
    assert not kept[8:22, 75:85].any()


def test_a_spot_on_the_road_marks_nothing_above_it(view: View, inv_depth: FloatArray) -> None:
    is_below = np.zeros(SHAPE, bool)
    is_below[52:60, 70:90] = True
    found = replace(consensus(inv_depth), is_below=is_below)
    assert not find_movers(view, found, np.ones(SHAPE, bool))[:45].any()
    assert not find_movers(view, found, np.zeros(SHAPE, bool)).any()


def test_what_crosses_is_marked_where_it_is(view: View, inv_depth: FloatArray) -> None:
    contradicted = np.zeros(SHAPE, bool)
    contradicted[15:40, 20:40] = True
    found = replace(consensus(inv_depth), is_contradicted=contradicted)
    moves = find_movers(view, found, np.ones(SHAPE, bool))
    assert moves[contradicted].all()
    assert moves.sum() < 2 * contradicted.sum()


def test_the_own_vehicle_stands_still_in_the_image(view: View) -> None:
    own, rng = OwnVehicle(view), np.random.default_rng(2)
    expected = view.expected_flow(AHEAD)
    for _ in range(6):
        first, second = rng.integers(0, 255, (2, *SHAPE)).astype(np.uint8)
        second[56:] = first[56:]
        own.add(first, second, expected)
    mask = own.mask()
    assert mask[59:, 20:140].all()
    assert not mask[:50].any()


def test_a_plain_road_is_not_the_own_vehicle(view: View) -> None:
    own, expected = OwnVehicle(view), view.expected_flow(AHEAD)
    plain = np.full(SHAPE, 90, np.uint8)
    # A lane marking along the motion seems to stand still, but shows no motion.
    cv2.line(plain, (78, 30), (20, 63), 220, 2, cv2.LINE_AA)
    for _ in range(6):
        own.add(plain, plain, expected)
    assert own.mask().mean() < 0.05


def test_reducing_keeps_labels_and_drops_silhouettes() -> None:
    depth = np.full((8, 8), 10.0, np.float32)
    depth[:2], depth[2:4], depth[4:6, ::2] = SKY_DEPTH_M, MOVING, 40.0
    depth[6:, :2] = 0.0
    depth[6:, 2:4] = [[0, 10], [0, 10]]
    small = reduced(depth, 2)
    assert (small[0] == SKY_DEPTH_M).all()
    assert (small[1] == MOVING).all()
    assert not small[2].any()  # a silhouette in each pixel
    assert small[3] == pytest.approx([0.0, 10.0, 10.0, 10.0])
