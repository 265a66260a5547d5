"""The least-squares motion of a network against motions of points, and scipy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from scipy.optimize import least_squares
from torch import Tensor

from training.geometry.se3 import transform_from_symmetric_vector
from training.networks.feature_matching import Flow
from training.networks.feature_pose_net import FeaturePoseNet
from training.networks.motion_solver import motion_equations, solve_motion, solve_positive

ROWS, COLUMNS = 16, 52
FOCAL = 0.58 * COLUMNS
NO_PRIOR, ANY = torch.zeros(1, 6), torch.full((1, 6), 1e-8)
TURN = [0.01, 0.01, 0.1, 0.0, 0.05, 0.01]
"""3 degrees and 10 % of the unit: the sharpest turn of a car at 10 Hz."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def seen(vector: list[float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Directions before and after a motion, and inverse depths there."""
    across, down = ((torch.arange(size) - (size - 1) / 2) / FOCAL for size in (COLUMNS, ROWS))
    start = torch.stack(torch.meshgrid(across, down, indexing="xy")).unsqueeze(0)
    near = torch.rand(1, 1, ROWS, COLUMNS) * 1.5 + 0.01
    points = torch.cat([start, torch.ones_like(near)], dim=1) / near
    T = transform_from_symmetric_vector(torch.tensor(vector))
    moved = torch.einsum("ij,bjhw->bihw", T[:3, :3], points) + T[:3, 3].view(1, 3, 1, 1)
    return start, moved[:, :2] / moved[:, 2:], near, 1 / moved[:, 2:]


def equal_weights() -> Tensor:
    return torch.full((1, 2, ROWS * COLUMNS), 1 / (2 * ROWS * COLUMNS))


def solved(
    start: Tensor, end: Tensor, near: Tensor, weights: Tensor, prior: Tensor, information: Tensor
) -> Tensor:
    return solve_motion(motion_equations(start, end, near), weights, prior, information)


@pytest.mark.parametrize("vector", [[0.0] * 6, [0.0, 0.0, 0.1, 0.0, 0.0, 0.0], TURN])
def test_half_the_difference_of_both_directions_is_the_motion(vector: list[float]) -> None:
    start, end, near, near_end = seen(vector)
    forward = solved(start, end, near, equal_weights(), NO_PRIOR, ANY)
    backward = solved(end, start, near_end, equal_weights(), NO_PRIOR, ANY)
    torch.testing.assert_close(
        0.5 * (forward - backward), torch.tensor([vector]), atol=1e-4, rtol=2e-3
    )


def test_what_counts_nothing_does_no_harm_and_the_prior_fills_what_is_not_seen() -> None:
    start, end, near, _ = seen(TURN)
    moving = torch.rand(1, 1, ROWS, COLUMNS) < 0.3
    spoilt = torch.where(moving, end + 0.2, end)
    weights = torch.where(moving.flatten(2), 0.0, equal_weights())
    weights = weights / weights.sum()
    clean = solved(start, end, near, weights, NO_PRIOR, ANY)
    torch.testing.assert_close(
        solved(start, spoilt, near, weights, NO_PRIOR, ANY), clean, atol=1e-5, rtol=1e-4
    )
    prior = torch.tensor([[0.1, 0.2, 0.3, 0.01, 0.02, 0.03]])
    torch.testing.assert_close(
        solved(start, spoilt, near, weights, prior, torch.full((1, 6), 1e6)), prior,
        atol=1e-4, rtol=0,
    )  # fmt: skip
    far = solved(start, start, torch.zeros_like(near), weights, prior, ANY)
    torch.testing.assert_close(far[:, :3], prior[:, :3])  # no parallax: nothing moves it
    assert far[:, 3:].abs().max() < 1e-4


def test_least_squares_of_scipy_agrees_where_flow_is_noisy() -> None:
    start, end, near, _ = seen(TURN)
    end = end + 0.01 * torch.randn_like(end)
    weights = torch.rand_like(end).flatten(2)
    weights = weights / weights.sum()
    information = torch.tensor([[0.02, 0.02, 0.05, 0.1, 0.1, 0.3]])
    prior = torch.tensor([[0.0, 0.0, 0.2, 0.0, 0.01, 0.0]])
    found = solved(start, end, near, weights, prior, information)
    p, q = (0.5 * (start + end))[0].double().numpy(), near[0, 0].double().numpy()
    x, y = end[0].double().numpy()
    moved, root = (end - start)[0].double().numpy(), weights[0].sqrt().double().numpy()

    def residuals(motion: np.ndarray) -> np.ndarray:
        turned = np.cross(motion[3:], np.stack([*p, np.ones_like(q)], -1))
        change = turned + q[..., None] * motion[:3]
        along = np.stack(
            [change[..., 0] - x * change[..., 2], change[..., 1] - y * change[..., 2]]
        )
        kept = information[0].sqrt().numpy() * (motion - prior[0].numpy())
        return np.concatenate([(root * (along - moved).reshape(2, -1)).ravel(), kept])

    expected = least_squares(residuals, np.zeros(6)).x
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-5)


def test_systems_are_solved() -> None:
    A = torch.randn(5, 6, 6)
    A = A @ A.transpose(1, 2) + 0.1 * torch.eye(6)
    b = torch.randn(5, 6, 1)
    found = solve_positive(torch.cat([A, b], dim=2))
    torch.testing.assert_close(found, torch.linalg.solve(A, b)[..., 0], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("length", [2, 3])
def test_network_finds_the_motion_of_the_flow_in_spite_of_outliers(length: int) -> None:
    """Nothing is learned: all cells count alike, and one in ten is found a cell off."""
    net = FeaturePoseNet(
        (8, 8, 8), canonical_focal=0.58, translation_factor=0.2, rotation_factor=0.2
    )
    for layer in (net.refine, net.guess):
        torch.nn.init.zeros_(layer.weight)
    # Of two frames the target is the newer one, of three the middle one.
    signs = torch.tensor([1.0, -1.0][: length - 1])
    flows, near = [], []
    for sign in signs.tolist():
        vector = [sign * x for x in TURN]
        start, end, inv_depth, _ = seen(vector)
        off = (torch.rand(1, 1, ROWS, COLUMNS) < 0.1) * torch.randn(1, 2, ROWS, COLUMNS)
        flows.append((end - start) * FOCAL + off)
        near.append(inv_depth)
    flow = torch.cat(flows)
    found = Flow(
        flow,
        torch.full_like(flow, 0.1).repeat(1, 2, 1, 1),
        torch.zeros(len(flow), ROWS, COLUMNS, 1),
    )
    with torch.no_grad():
        motion, _ = net._solved(
            signs, found, torch.cat(near), torch.zeros(len(flow), 5, ROWS, COLUMNS),
            torch.zeros(len(flow), 24, 4, 13),
        )  # fmt: skip
    expected = torch.tensor(TURN) * signs.view(-1, 1)
    torch.testing.assert_close(motion, expected, atol=4e-3, rtol=0.03)
