"""Geometry and losses agree with kornia, an independent library."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("torch", reason="torch is not installed")
kornia = pytest.importorskip("kornia", reason="pip install -r requirements/dev.txt")

import torch  # noqa: E402
from single_warp import warp  # noqa: E402
from torch import Tensor  # noqa: E402

from training.geometry.se3 import (  # noqa: E402
    rotation_from_axis_angle,
    transform_from_pose_vector,
)
from training.losses.photometric import LocalMoments, ssim  # noqa: E402
from training.losses.regularizers import edge_aware, second_order  # noqa: E402


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_ssim(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the uniform window of Monodepth instead of kornia's Gaussian one."""

    def uniform(size: int, sigma: float, **kind: object) -> Tensor:
        return torch.full((1, size), 1 / size, **kind)

    monkeypatch.setattr(sys.modules["kornia.metrics.ssim"], "get_gaussian_kernel1d", uniform)
    x, y = torch.rand(2, 2, 3, 17, 23)
    expected = kornia.metrics.ssim(x, y, window_size=3, eps=0.0)
    assert expected.std() > 0.1
    close(ssim(LocalMoments(x), LocalMoments(y)), expected)


@pytest.mark.parametrize("length", [1e-4, 1e-2, 0.5, 3.0])
def test_axis_angle(length: float) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(20, 3), dim=-1) * length
    expected = kornia.geometry.axis_angle_to_rotation_matrix(vectors)
    close(rotation_from_axis_angle(vectors), expected)


def test_edge_aware_smoothness() -> None:
    disparity, image = torch.rand(2, 1, 14, 19) + 0.1, torch.rand(2, 3, 14, 19)
    normalized = disparity / disparity.mean(dim=(2, 3), keepdim=True)
    expected = kornia.losses.inverse_depth_smoothness_loss(normalized, image)
    close(edge_aware(disparity, image), expected)


def test_second_order_smoothness() -> None:
    disparity = torch.rand(2, 1, 14, 19)

    def filtered(kernel: list[list[float]]) -> Tensor:
        return kornia.filters.filter2d(disparity, torch.tensor([kernel])).abs()

    xx = filtered([[0, 0, 0], [1, -2, 1], [0, 0, 0]])[..., :, 1:-1]
    yy = filtered([[0, 1, 0], [0, -2, 0], [0, 1, 0]])[..., 1:-1, :]
    xy = filtered([[0, 0, 0], [0, 1, -1], [0, -1, 1]])[..., :-1, :-1]
    close(second_order(disparity), xx.mean() + 2 * xy.mean() + yy.mean())


def test_warp() -> None:
    image = torch.rand(2, 3, 24, 40)
    depth = torch.rand(2, 1, 24, 40) * 5 + 4
    T = transform_from_pose_vector(torch.randn(2, 6) * torch.tensor([0.3] * 3 + [0.03] * 3))
    K = torch.tensor([[[32.0, 0, 18.8], [0, 35.0, 12.6], [0, 0, 1]]]).expand(2, 3, 3)
    expected = kornia.geometry.warp_frame_depth(image, depth, T, K)
    found, valid = warp(image, depth, T, K)
    assert valid.float().mean() > 0.5
    close(found * valid, expected * valid)
