"""Learned intrinsics."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from random_windows import random_windows

from training.config import NetworkConfig
from training.networks.intrinsics import SharedIntrinsics
from training.networks.sfm_model import SfmModel, build_model

WIDTH, HEIGHT = 96, 64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def model_with(kind: str) -> SfmModel:
    config = NetworkConfig(
        depth="lite", pretrained=False, learned_intrinsics=kind, initial_focal=0.5
    )
    return build_model(config, WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["shared", "per_window"])
def test_learned_camera_starts_at_initial_focal(kind: str) -> None:
    model = model_with(kind)
    K = model(random_windows(2)).K_b33
    expected = torch.tensor([[48.0, 0.0, 47.5], [0.0, 48.0, 31.5], [0.0, 0.0, 1.0]])
    assert math.degrees(2 * math.atan(96 / 2 / 48)) == pytest.approx(90)
    torch.testing.assert_close(K, expected.expand(2, 3, 3))
    K[:, 0, 0].sum().backward()
    reached = [p.grad is not None and p.grad.abs().max() > 0 for p in model.camera.parameters()]
    assert all(reached)


def test_windows_get_their_own_cameras() -> None:
    model = model_with("per_window")
    with torch.no_grad():
        model.camera.predict.weight.normal_(std=0.1)
        K = model(random_windows(2)).K_b33
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(random_windows(2)).K_b33
    assert (K[0] - K[1]).abs().max() > 1e-3
    assert rough.dtype == torch.float32


def test_calibration_is_used_by_default() -> None:
    assert model_with("off")(random_windows(2)).K_b33 is None


def test_shared_camera_corrects_ten_percent_in_time() -> None:
    """With the gain on its four numbers, 150 steps of the usual rate suffice."""
    camera = SharedIntrinsics(0.65)
    optimizer = torch.optim.Adam(camera.parameters(), lr=2e-4)
    for _ in range(200):
        K = camera(torch.zeros(1, 8), WIDTH, HEIGHT)
        optimizer.zero_grad()
        (K[0, 0, 0] - 1.1 * 0.65 * WIDTH).abs().backward()
        optimizer.step()
    assert K[0, 0, 0].item() == pytest.approx(1.1 * 0.65 * WIDTH, rel=0.01)
