"""Matches of features against known depth and motion."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Matches
from training.config import load_config
from training.losses.matching import matching_error
from training.reproduction.plan import RECIPES

ROWS, COLUMNS, CELL = 4, 9, 8
REACH = ACROSS, DOWN = 5, 2
FOCAL, DEPTH = 80.0, 5.0
K = torch.tensor([[[FOCAL, 0, 35.5], [0, FOCAL, 15.5], [0, 0, 1]]])
WALL = torch.full((1, 1, ROWS * CELL, COLUMNS * CELL), DEPTH)


def moved_by(columns: float, rows: float) -> Tensor:
    """(1, 2, 4, 4): the wall moves by so many cells in the second source, not in the first."""
    T = torch.eye(4).repeat(1, 2, 1, 1)
    T[:, 1, :2, 3] = torch.tensor([columns, rows]) * CELL * DEPTH / FOCAL
    return T


def matches_at(columns: float, rows: float) -> Matches:
    """Everything is found there, between four places, in the second source."""
    likely = torch.zeros(2 * DOWN + 1, 2 * ACROSS + 1)
    x, y = math.floor(columns), math.floor(rows)
    for right, down in itertools.product((0, 1), repeat=2):
        weight = abs(1 - right - (columns - x)) * abs(1 - down - (rows - y))
        if weight:
            likely[DOWN + y + down, ACROSS + x + right] = weight
    flow = torch.tensor([columns, rows]).view(1, 1, 2, 1, 1).expand(-1, -1, -1, ROWS, COLUMNS)
    return Matches(
        sources=[1],
        flow_bk2hw=flow,
        likely_bkhwm=likely.flatten().expand(1, 1, ROWS, COLUMNS, -1),
        reach=REACH,
    )


def error(matches: Matches, T_bs44: Tensor, depth: Tensor = WALL, counts: float = 1.0) -> float:
    return float(matching_error(matches, depth, T_bs44, K, torch.tensor([counts])))


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.0, 0.0), (-1.0, 2.0), (3.25, -0.75)])
def test_where_a_wall_went_costs_nothing(shift: tuple[float, float]) -> None:
    assert error(matches_at(*shift), moved_by(*shift)) == pytest.approx(0.0, abs=1e-5)
    assert error(matches_at(0.0, 1.0), moved_by(*shift)) > 1.0


def test_a_flow_that_is_exactly_right_has_a_gradient() -> None:
    """Of a standing car it often is; the gradient of a plain norm would be NaN there."""
    matches = matches_at(0.0, 0.0)
    flow = matches.flow_bk2hw.clone().requires_grad_()
    still = dataclasses.replace(matches, flow_bk2hw=flow)
    half = WALL.clone()
    half[..., : 4 * CELL] = 0.0  # nor do cells that do not count spoil it
    matching_error(still, half, moved_by(0.0, 0.0), K, torch.ones(1)).backward()
    assert flow.grad is not None and torch.equal(flow.grad, torch.zeros_like(flow))


def test_a_flow_that_is_wrong_costs_its_logarithm() -> None:
    right = matches_at(2.0, 0.0)
    off = dataclasses.replace(right, flow_bk2hw=right.flow_bk2hw + 3.0)
    expected = torch.tensor(1 + 18**0.5).log().item()
    assert error(off, moved_by(2.0, 0.0)) == pytest.approx(expected, rel=1e-5)


def test_a_place_that_is_worth_nothing_is_taught() -> None:
    """Even where the mean over all places hardly depends on it."""
    matches = matches_at(0.0, 0.0)
    logits = (matches.likely_bkhwm * 8).requires_grad_()
    taught = dataclasses.replace(matches, likely_bkhwm=logits.softmax(dim=-1))
    matching_error(taught, WALL, moved_by(4.0, 0.0), K, torch.ones(1)).backward()
    assert logits.grad is not None
    right = logits.grad.unflatten(-1, (-1, 2 * ACROSS + 1))[0, 0, :, 0, DOWN, ACROSS + 4]
    assert (right < -0.01).all()


def test_only_what_is_known_and_seen_and_within_reach_counts() -> None:
    wrong, still = matches_at(-1.0, 0.0), moved_by(0.0, 0.0)
    half = WALL.clone()
    half[..., : 4 * CELL] = 0.0
    assert error(wrong, still, half) == pytest.approx(math.log(2) + 0.7 * math.log(1e12))
    assert error(wrong, still, torch.zeros_like(WALL)) == 0.0
    assert error(wrong, still, counts=0.0) == 0.0
    assert error(wrong, moved_by(0.0, 3.0)) == 0.0  # farther than it is searched for
    assert error(wrong, moved_by(-6.0, 0.0)) == 0.0
    assert error(wrong, moved_by(20.0, 0.0)) == 0.0  # outside of the image


def test_matching_needs_a_network_that_matches() -> None:
    recipe = RECIPES / "geometry_pose.yaml"
    with pytest.raises(ConfigError, match=r"objective.matching_weight.*network.pose"):
        load_config(recipe, ["network.pose=pair"])
