"""Rigid motion, pinhole camera and warp against closed forms, OpenCV and finite differences."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from single_warp import warp

from training.geometry.camera import inverse_intrinsics, pixel_grid, scale_intrinsics
from training.geometry.se3 import (
    rigid_inverse,
    rotation_from_axis_angle,
    transform_from_pose_vector,
    transform_from_symmetric_vector,
)
from training.geometry.warp import project_target


def intrinsics(width: int, height: int) -> torch.Tensor:
    """(1, 3, 3), off-center on purpose."""
    K = [[0.8 * width, 0.0, 0.47 * width], [0.0, 0.9 * width, 0.55 * height], [0.0, 0.0, 1.0]]
    return torch.tensor([K], dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def back_project(depth: torch.Tensor, K: torch.Tensor) -> torch.Tensor:
    """Camera points (b, 3, h * w) of every pixel: ``D(p) K^-1 p``."""
    height, width = depth.shape[-2:]
    grid = pixel_grid(height, width, device=depth.device, dtype=depth.dtype)
    return (torch.linalg.inv(K) @ grid) * depth.flatten(2)


def identity(batch: int = 1, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.eye(4, dtype=dtype).expand(batch, 4, 4)


# --- se3 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0.0, 1e-7, 1e-4, 9e-4, 1.1e-3, 0.3, 3.1])
def test_rotation_matches_opencv(length: float) -> None:
    axis = np.array([0.48, -0.6, 0.64])
    expected, _ = cv2.Rodrigues(length * axis)
    found = rotation_from_axis_angle(torch.tensor(length * axis, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_rotation_is_accurate_in_float32() -> None:
    for length in (1e-5, 5e-4, 2e-3, 0.05):
        axis_angle = length * np.array([0.48, -0.6, 0.64])
        expected, _ = cv2.Rodrigues(axis_angle)
        found = rotation_from_axis_angle(torch.tensor(axis_angle, dtype=torch.float32))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


@pytest.mark.parametrize("length", [0.0, 1e-5, 0.4])
def test_rotation_gradient(length: float) -> None:
    axis_angle = torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64) * length
    assert torch.autograd.gradcheck(rotation_from_axis_angle, (axis_angle.requires_grad_(),))


def test_pose_vector_is_translation_first() -> None:
    T = transform_from_pose_vector(torch.tensor([[[1.0, 2.0, 3.0, 0.0, 0.0, np.pi / 2]]]))
    expected = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]
    np.testing.assert_allclose(T[0, 0].numpy(), expected, atol=1e-6)


def test_rigid_inverse_matches_general_inverse() -> None:
    T = transform_from_pose_vector(torch.randn(2, 3, 6, dtype=torch.float64))
    torch.testing.assert_close(rigid_inverse(T), torch.linalg.inv(T))


def test_negative_symmetric_vector_is_inverse() -> None:
    vector = torch.randn(4, 6, dtype=torch.float64)
    T, opposite = (transform_from_symmetric_vector(v) for v in (vector, -vector))
    torch.testing.assert_close(T @ opposite, identity(4, torch.float64).contiguous())
    straight = torch.tensor([[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(
        transform_from_symmetric_vector(straight), transform_from_pose_vector(straight)
    )


# --- camera --------------------------------------------------------------------------------------


def test_inverse_intrinsics_matches_general_inverse() -> None:
    K = torch.tensor([[[240.0, 1.5, 204.0], [0.0, 245.0, 58.0], [0.0, 0.0, 1.0]]]).double()
    torch.testing.assert_close(inverse_intrinsics(K), torch.linalg.inv(K))


def test_scaled_intrinsics_keep_rays() -> None:
    """The ray of the center of a 2x2 block is that of the coarse pixel with the scaled K."""
    K = intrinsics(8, 6)
    coarse = scale_intrinsics(K, 0.5, 0.5)
    block_center = torch.tensor([2 * 3 + 0.5, 2 * 1 + 0.5, 1.0], dtype=torch.float64)
    coarse_pixel = torch.tensor([3.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        torch.linalg.inv(K[0]) @ block_center, torch.linalg.inv(coarse[0]) @ coarse_pixel
    )


# --- warp ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(128, 416), (37, 53), (64, 64), (1, 2)])
def test_no_motion_returns_same_image_exactly(height: int, width: int) -> None:
    image = torch.rand(2, 3, height, width)
    K = torch.tensor([[241.7, 0.0, 204.1], [0.0, 246.3, 59.0], [0.0, 0.0, 1.0]]).expand(2, 3, 3)
    depth = torch.rand(2, 1, height, width) * 50 + 0.1
    warped, valid = warp(image, depth, identity(2), K)
    assert torch.equal(warped, image)
    assert valid.all()
    assert valid.dtype == torch.bool
    assert valid.shape == (2, 1, height, width)


def test_no_motion_returns_same_image_under_autocast() -> None:
    image = torch.rand(1, 3, 32, 48)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        warped, _ = warp(image, torch.full((1, 1, 32, 48), 3.0), identity(), intrinsics(48, 32))
    assert warped.dtype == torch.float32
    assert torch.equal(warped, image)


def test_sideways_motion_shifts_by_fx_t_over_d() -> None:
    fx, depth, shift = 100.0, 8.0, 3
    K = torch.tensor([[[fx, 0.0, 15.0], [0.0, 90.0, 10.0], [0.0, 0.0, 1.0]]])
    image = torch.rand(1, 3, 20, 32)
    T = identity().clone()
    # Target points are further right in the source camera, which is to the left of the target.
    T[:, 0, 3] = shift * depth / fx
    warped, valid = warp(image, torch.full((1, 1, 20, 32), depth), T, K)
    torch.testing.assert_close(warped[..., :-shift], image[..., shift:], atol=1e-5, rtol=0)
    assert valid[..., : -shift - 1].all()
    assert not valid[..., -shift + 1 :].any()


def test_half_pixel_motion_averages_neighbors() -> None:
    K = torch.tensor([[[10.0, 0.0, 4.0], [0.0, 10.0, 3.0], [0.0, 0.0, 1.0]]])
    image = torch.rand(1, 1, 6, 9)
    T = identity().clone()
    T[:, 1, 3] = 0.5 * 2.0 / 10.0
    warped, _ = warp(image, torch.full((1, 1, 6, 9), 2.0), T, K)
    expected = (image[:, :, :-1] + image[:, :, 1:]) / 2
    torch.testing.assert_close(warped[:, :, :-1], expected, atol=1e-5, rtol=0)


def test_points_behind_source_camera_are_invalid() -> None:
    T = identity().clone()
    T[:, 2, 3] = -4.0
    depth = torch.full((1, 1, 8, 8), 3.0)
    depth[..., 4:] = 400.0
    warped, valid = warp(torch.rand(1, 3, 8, 8), depth, T, intrinsics(8, 8).float())
    assert not valid[..., :4].any()
    assert valid[..., 1:7, 4:7].all()
    assert torch.isfinite(warped).all()


def test_warp_gradient() -> None:
    height, width = 5, 6
    K = intrinsics(width, height)
    image = torch.rand(1, 2, height, width, dtype=torch.float64)
    depth = torch.rand(1, 1, height, width, dtype=torch.float64) + 2
    vector = torch.tensor([[0.11, -0.07, 0.2, 0.03, -0.02, 0.05]], dtype=torch.float64)

    def warped(
        image: torch.Tensor, depth: torch.Tensor, vector: torch.Tensor, K: torch.Tensor
    ) -> torch.Tensor:
        return warp(image, depth, transform_from_pose_vector(vector), K)[0]

    inputs = [tensor.requires_grad_() for tensor in (image, depth, vector, K)]
    assert torch.autograd.gradcheck(warped, inputs, eps=1e-7, atol=1e-5)

    def source_inv_depth(depth: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        return project_target(depth, transform_from_pose_vector(vector), K).inv_depth_bhw

    assert torch.autograd.gradcheck(source_inv_depth, inputs[1:3])


def test_projected_points_have_depth_of_source_camera() -> None:
    K = intrinsics(7, 5)
    depth = torch.rand(2, 1, 5, 7, dtype=torch.float64) + 2
    T = transform_from_pose_vector(0.3 * torch.randn(2, 6, dtype=torch.float64))
    points = back_project(depth, K.expand(2, 3, 3))
    moved = T[:, :3, :3] @ points + T[:, :3, 3:]
    found = project_target(depth, T, K.expand(2, 3, 3))
    torch.testing.assert_close(1 / found.inv_depth_bhw.flatten(1), moved[:, 2])
    image = K @ moved
    u, v = (image[:, :2] / image[:, 2:]).unbind(1)
    torch.testing.assert_close(found.u_bhw.flatten(1), u)
    torch.testing.assert_close(found.v_bhw.flatten(1), v)


def test_only_warp_samples_grids(repository: Path) -> None:
    users = [
        path.relative_to(repository).as_posix()
        for folder in ("training", "sfm_ros")
        for path in (repository / folder).rglob("*.py")
        if "grid_sample(" in path.read_text(encoding="utf-8")
    ]
    assert users == ["training/geometry/warp.py"]
