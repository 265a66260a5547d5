"""The loss terms one by one, against closed forms and independent implementations."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor

from training.config import ObjectiveConfig
from training.geometry.se3 import transform_from_pose_vector
from training.losses.photometric import (
    LocalMoments,
    box_mean,
    mean_over_sources,
    minimum_over_sources,
    photometric_error,
    ssim,
)
from training.losses.regularizers import (
    consistency_mask,
    depth_inconsistency,
    edge_aware,
    mask_cross_entropy,
    second_order,
)
from training.losses.supervision import log_depth_error, motion_error, velocity_loss


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# --- photometric ---------------------------------------------------------------------------------


def ssim_by_opencv(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Wang et al. with a uniform 3x3 window, one channel, in float64."""

    def mean(image: np.ndarray) -> np.ndarray:
        return cv2.blur(image, (3, 3), borderType=cv2.BORDER_REFLECT_101)

    mx, my = mean(x), mean(y)
    vx, vy = mean(x * x) - mx**2, mean(y * y) - my**2
    cov = mean(x * y) - mx * my
    luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
    return luminance * (2 * cov + 0.03**2) / (vx + vy + 0.03**2)


def test_ssim_matches_opencv() -> None:
    x, y = torch.rand(2, 2, 3, 9, 13, dtype=torch.float64)
    found = ssim(LocalMoments(x), LocalMoments(y))
    for b in range(2):
        for c in range(3):
            expected = ssim_by_opencv(x[b, c].numpy(), y[b, c].numpy())
            np.testing.assert_allclose(found[b, c].numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("kind", ["texture", "flat", "black"])
def test_ssim_of_image_with_itself_is_one(kind: str) -> None:
    image = {
        "texture": torch.rand(1, 3, 12, 16),
        "flat": torch.full((1, 3, 12, 16), 0.7),
        "black": torch.zeros(1, 3, 12, 16),
    }[kind]
    found = ssim(LocalMoments(image), LocalMoments(image))
    torch.testing.assert_close(found, torch.ones_like(found), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (3, 3), (6, 7)])
def test_box_mean_gradient(size: tuple[int, int]) -> None:
    """The reflected border included."""
    image = torch.rand(2, 1, *size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(box_mean, (image,))


def test_photometric_error_weights_its_terms() -> None:
    target, views = torch.rand(2, 1, 3, 8, 8), torch.rand(2, 2, 3, 8, 8)
    moments = LocalMoments(target)
    both = photometric_error(moments, views, ObjectiveConfig(l1_weight=0.15, ssim_weight=0.85))
    l1 = (target - views).abs().mean(dim=2)
    similarity = ssim(moments, LocalMoments(views)).mean(dim=2)
    torch.testing.assert_close(both, 0.15 * l1 + 0.85 * (1 - similarity) / 2)
    only_l1 = photometric_error(moments, views, ObjectiveConfig(l1_weight=1.0, ssim_weight=0.0))
    torch.testing.assert_close(only_l1, l1)


def test_mean_over_sources_counts_valid_pixels() -> None:
    error = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(1, 2, 1, 2)
    valid = torch.tensor([True, True, True, False]).view(1, 2, 1, 2)
    assert mean_over_sources(error, valid).item() == pytest.approx(7 / 3)
    assert mean_over_sources(error, torch.zeros_like(valid)).item() == 0


def test_minimum_takes_best_valid_source() -> None:
    error = torch.tensor([[5.0, 1.0, 3.0, 9.0], [2.0, 4.0, 1.0, 9.0]]).view(1, 2, 1, 4)
    valid = torch.tensor([[True, True, True, False], [True, True, False, False]]).view(1, 2, 1, 4)
    # Best errors of the pixels: 2; 1; 3, valid in the first source only; none valid.
    assert minimum_over_sources(error, valid, None).item() == pytest.approx((2 + 1 + 3) / 3)
    still = torch.tensor([[9.0, 9.0, 9.0, 6.0], [9.0, 0.5, 9.0, 7.0]]).view(1, 2, 1, 4)
    expected = (2 + 0.5 + 3 + 6) / 4
    assert minimum_over_sources(error, valid, still).item() == pytest.approx(expected)


# --- smoothness and mask -------------------------------------------------------------------------


def test_second_order_by_hand() -> None:
    v, u = torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")
    plane = (3 * u - 2 * v + 1).view(1, 1, 5, 6)
    assert second_order(plane).item() == 0
    assert second_order((u * u).view(1, 1, 5, 6)).item() == pytest.approx(2)
    assert second_order((v * v).view(1, 1, 5, 6)).item() == pytest.approx(2)
    assert second_order((u * v).view(1, 1, 5, 6)).item() == pytest.approx(2 * 1)


def test_edge_aware_by_hand() -> None:
    disparity = torch.tensor([1.0, 1.0, 4.0, 4.0]).expand(1, 1, 3, 4)
    flat = torch.zeros(1, 3, 3, 4)
    # Mean 2.5; one step of 3 among three differences per row; none between the rows.
    assert edge_aware(disparity, flat).item() == pytest.approx(3 / 2.5 / 3)
    edge = flat.clone()
    edge[..., 2:] = 0.5
    assert edge_aware(disparity, edge).item() == pytest.approx(3 / 2.5 / 3 * math.exp(-0.5))
    assert edge_aware(7 * disparity, edge).item() == pytest.approx(
        edge_aware(disparity, edge).item()
    )


def test_confidence_scales_error_and_mask_tends_to_one() -> None:
    logits = torch.tensor([-1.5, 0.0, 2.0]).view(1, 1, 1, 3)
    mask = 1 / (1 + (-logits).exp())
    everywhere = torch.ones_like(logits, dtype=torch.bool)
    error = mean_over_sources(torch.full_like(logits, 3.0), everywhere, mask)
    assert error.item() == pytest.approx(3 * mask.mean().item())
    assert mask_cross_entropy(logits).item() == pytest.approx(-mask.log().mean().item())


def test_confidence_does_not_affect_choice_of_source() -> None:
    error = torch.tensor([[1.0, 6.0], [2.0, 3.0]]).view(1, 2, 1, 2)
    confidence = torch.tensor([[0.5, 0.01], [0.1, 0.25]]).view(1, 2, 1, 2)
    valid = torch.ones_like(error, dtype=torch.bool)
    found = minimum_over_sources(error, valid, None, confidence)
    assert found.item() == pytest.approx((1 * 0.5 + 3 * 0.25) / 2)
    still = torch.tensor([[9.0, 2.5], [9.0, 9.0]]).view(1, 2, 1, 2)
    found = minimum_over_sources(error, valid, still, confidence)
    assert found.item() == pytest.approx((1 * 0.5 + 2.5) / 2)


# --- supervision ---------------------------------------------------------------------------------


def motions(batch: int) -> Tensor:
    return transform_from_pose_vector(0.2 * torch.randn(batch, 2, 6))


def test_supervision_is_zero_at_ground_truth() -> None:
    T = motions(3).requires_grad_()
    error = motion_error(T, T.detach(), torch.ones(3))
    error.backward()
    assert error.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(T.grad).all()
    depth = torch.rand(3, 1, 8, 8) + 1
    assert log_depth_error([depth], depth, torch.ones(3)).item() == pytest.approx(0, abs=1e-6)


def test_log_depth_error_counts_known_pixels() -> None:
    ground_truth = torch.rand(2, 1, 8, 8) * 40 + 2
    ground_truth[:, :, :3] = 0
    doubled = torch.where(ground_truth > 0, 2 * ground_truth, 999.0)
    half = torch.nn.functional.avg_pool2d(ground_truth.clamp(min=1e-3).log(), 2).exp() * 2
    half[:, :, :2] = 999.0
    has_ground_truth = torch.tensor([1.0, 1.0])
    assert log_depth_error([doubled], ground_truth, has_ground_truth).item() == pytest.approx(
        math.log(2)
    )
    # Rows 2 and 3 form one coarse row, of which only the known half counts; exclude it here.
    ground_truth[:, :, 3] = 0
    assert log_depth_error([half], ground_truth, has_ground_truth).item() == pytest.approx(
        math.log(2), rel=1e-5
    )


def test_windows_without_ground_truth_do_not_count() -> None:
    ground_truth = torch.full((2, 1, 4, 4), 10.0)
    depth = ground_truth.clone()
    depth[0] = 123.0
    has_ground_truth = torch.tensor([0.0, 1.0])
    assert log_depth_error([depth], ground_truth, has_ground_truth).item() == pytest.approx(
        0, abs=1e-6
    )
    assert log_depth_error([depth], ground_truth, torch.zeros(2)).item() == 0
    T_gt = motions(2)
    T = T_gt.clone()
    T[0, :, :3, 3] += 5
    assert motion_error(T, T_gt, has_ground_truth).item() == pytest.approx(0, abs=1e-6)


def test_near_sky_is_an_error() -> None:
    ground_truth = torch.full((1, 1, 8, 8), 10.0)
    ground_truth[..., :4, :] = 0  # the upper half is sky
    for sky, error in ((10.0, math.log(10) / 2), (100.0, 0.0), (500.0, 0.0)):
        depth = torch.where(ground_truth > 0, ground_truth, sky)
        scales = [depth, depth[..., ::2, ::2]]
        found = log_depth_error(scales, ground_truth, torch.ones(1), sky_depth=100.0).item()
        assert found == pytest.approx(error, abs=1e-5)
    near = torch.full((1, 1, 8, 8), 10.0)
    assert log_depth_error([near], ground_truth, torch.zeros(1), sky_depth=100.0).item() == 0


def test_motion_error_by_hand() -> None:
    T_gt = torch.eye(4).expand(1, 1, 4, 4).clone()
    T_gt[..., 2, 3] = -0.9
    T = T_gt.clone()
    T[..., 0, 3] = 0.2
    assert motion_error(T, T_gt, torch.ones(1)).item() == pytest.approx(0.2 / 1.0, rel=1e-4)
    yaw = transform_from_pose_vector(torch.tensor([[[0, 0, -0.9, 0, 0.01, 0]]]))
    assert motion_error(yaw, T_gt, torch.ones(1)).item() == pytest.approx(20 * 0.01, rel=1e-3)


def test_velocity_loss_by_hand() -> None:
    T = torch.eye(4).expand(2, 2, 4, 4).clone()
    T[0, 0, :3, 3] = torch.tensor([0.3, 0.0, -0.4])
    T[1, 0, 2, 3] = 2.0
    distance = torch.tensor([[0.75, 0.0], [1.5, math.nan]])
    # Errors of 0.25, of zero (a standing car), of 0.5; the fourth distance is unknown.
    assert velocity_loss(T, distance).item() == pytest.approx((0.25 + 0.5) / 3, abs=1e-5)
    assert velocity_loss(T, torch.full_like(distance, math.nan)).item() == 0


def test_velocity_loss_gradient_is_finite() -> None:
    T = torch.eye(4).expand(1, 2, 4, 4).clone().requires_grad_()
    velocity_loss(T, torch.tensor([[0.0, math.nan]])).backward()
    assert T.grad is not None
    assert torch.isfinite(T.grad).all()


# --- geometry consistency ------------------------------------------------------------------------


def test_inconsistency_by_hand() -> None:
    """Bian et al. eq. 5 is 1/5 for depths 2 and 3, and for their inverses."""
    projected, predicted = torch.full((1, 1, 2, 2), 1 / 2), torch.full((1, 1, 2, 2), 1 / 3)
    found = depth_inconsistency(projected, predicted)
    torch.testing.assert_close(found, torch.full_like(found, 0.2))
    torch.testing.assert_close(depth_inconsistency(predicted, projected), found)
    assert depth_inconsistency(predicted, predicted).abs().max() == 0
    valid = torch.tensor([[True, False], [True, True]]).view(1, 1, 2, 2)
    found = torch.where(valid, found, 9.0)
    assert mean_over_sources(found, valid).item() == pytest.approx(0.2)
    assert mean_over_sources(found, torch.zeros_like(valid)).item() == 0


def test_consistency_mask_carries_no_gradient() -> None:
    inconsistency = torch.rand(1, 2, 4, 4, requires_grad=True)
    confidence = consistency_mask(inconsistency)
    torch.testing.assert_close(confidence, 1 - inconsistency.detach())
    assert not confidence.requires_grad
