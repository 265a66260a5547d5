"""Warp and objective on a textured plane that is drawn ray by ray, without their code."""

from __future__ import annotations

import dataclasses
import math

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from single_warp import warp
from torch import Tensor

from training.batch import Batch, ModelOutput
from training.config import ObjectiveConfig
from training.geometry.se3 import rigid_inverse, transform_from_pose_vector
from training.losses.objective import Objective

NORMAL = (0.15, -0.4, 1.0)
OFFSET = 5.0
"""The plane n . X = offset, in the frame of the target camera."""


def intrinsics(width: int, height: int) -> Tensor:
    """(1, 3, 3), off-center on purpose."""
    K = [[0.8 * width, 0.0, 0.47 * width], [0.0, 0.9 * width, 0.55 * height], [0.0, 0.0, 1.0]]
    return torch.tensor([K], dtype=torch.float64)


def draw(T_target_camera: Tensor, K: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Image (1, 3, h, w) in [0, 1] and depth (1, 1, h, w) of a camera at ``T_target_camera``."""
    image = torch.empty(1, 3, height, width, dtype=torch.float64)
    depth = torch.empty(1, 1, height, width, dtype=torch.float64)
    normal = torch.tensor(NORMAL, dtype=torch.float64)
    origin, rotation = T_target_camera[:3, 3], T_target_camera[:3, :3]
    for row in range(height):
        for column in range(width):
            ray = torch.tensor(
                [(column - K[0, 0, 2]) / K[0, 0, 0], (row - K[0, 1, 2]) / K[0, 1, 1], 1.0],
                dtype=torch.float64,
            )
            direction = rotation @ ray
            along = (OFFSET - normal @ origin) / (normal @ direction)
            x, y, _ = (origin + along * direction).tolist()
            depth[0, 0, row, column] = along
            for channel in range(3):
                wave = math.sin(2.1 * x + channel) + math.sin(2.6 * y + 0.4 * x - channel)
                image[0, channel, row, column] = 0.5 + 0.2 * wave
    return image, depth


def moved_camera() -> torch.Tensor:
    vector = torch.tensor([0.12, -0.05, 0.3, 0.01, 0.03, -0.02], dtype=torch.float64)
    return transform_from_pose_vector(vector)


def test_drawn_source_warps_to_drawn_target() -> None:
    height, width = 40, 64
    K, T_source_target = intrinsics(width, height), moved_camera()
    target, depth = draw(torch.eye(4, dtype=torch.float64), K, height, width)
    source, _ = draw(rigid_inverse(T_source_target), K, height, width)
    warped, valid = warp(source, depth, T_source_target[None], K)
    error = (warped - target).abs()[valid.expand_as(target)]
    unmoved = (source - target).abs()[valid.expand_as(target)]
    assert valid.double().mean() > 0.8
    assert error.mean() < 2e-3
    assert unmoved.mean() > 20 * error.mean()
    inverted, still_valid = warp(source, depth, rigid_inverse(T_source_target)[None], K)
    wrong = (inverted - target).abs()[still_valid.expand_as(target)]
    assert wrong.mean() > 1.5 * unmoved.mean()


HEIGHT, WIDTH = 32, 48
OBJECTIVES = {
    "l1": ObjectiveConfig(smoothness_weight=0.0),
    "minimum": ObjectiveConfig(
        l1_weight=0.15,
        ssim_weight=0.85,
        minimum_reprojection=True,
        auto_mask=True,
        smoothness="edge_aware",
        smoothness_weight=1e-3,
    ),
}


@pytest.fixture(scope="module")
def ground_truth() -> tuple[Batch, ModelOutput]:
    """A window of three frames and the output of a perfect model."""
    K = intrinsics(WIDTH, HEIGHT)
    forward = moved_camera()
    T_source_target = torch.stack([forward, rigid_inverse(forward)])
    target, depth = draw(torch.eye(4, dtype=torch.float64), K, HEIGHT, WIDTH)
    sources = [draw(rigid_inverse(T), K, HEIGHT, WIDTH) for T in T_source_target]
    frames = torch.stack([sources[0][0], target, sources[1][0]], dim=1).float()
    batch = Batch(rgb_bn3hw=frames, rgb_clean_bn3hw=frames, K_b33=K.float())
    # Disparity is affine over a plane, so the mean of its 2x2 blocks is the coarse plane.
    disparities = [1 / depth.float()]
    for _ in range(2):
        disparities.append(torch.nn.functional.avg_pool2d(disparities[-1], 2))
    output = ModelOutput(
        depths_b1hw=[1 / disparity for disparity in disparities],
        disparities_b1hw=disparities,
        T_source_target_bs44=T_source_target[None].float(),
        mask_logits_bshw=[],
        source_depths_bs1hw=torch.stack([source[1] for source in sources], dim=1).float(),
    )
    return batch, output


def photometric(config: ObjectiveConfig, batch: Batch, output: ModelOutput) -> float:
    return Objective(config)(batch, output)[1]["photometric"].item()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_true_motion_beats_none_and_inverted(
    name: str, ground_truth: tuple[Batch, ModelOutput]
) -> None:
    batch, output = ground_truth
    # The auto-mask would cap every error at that of standing still.
    config = dataclasses.replace(OBJECTIVES[name], auto_mask=False)
    T = output.T_source_target_bs44
    still = dataclasses.replace(output, T_source_target_bs44=torch.eye(4).expand_as(T))
    inverted = dataclasses.replace(output, T_source_target_bs44=rigid_inverse(T))
    right, none, wrong = (photometric(config, batch, o) for o in (output, still, inverted))
    assert right < 0.25 * none
    assert none < wrong


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_scale_is_explained(name: str, ground_truth: tuple[Batch, ModelOutput]) -> None:
    """Ground-truth depth and motion explain the reduced images too: K scales with them."""
    batch, output = ground_truth
    config = dataclasses.replace(OBJECTIVES[name], auto_mask=False)
    T = output.T_source_target_bs44
    for scale in range(3):
        one = dataclasses.replace(
            output,
            depths_b1hw=output.depths_b1hw[scale : scale + 1],
            disparities_b1hw=output.disparities_b1hw[scale : scale + 1],
        )
        none = dataclasses.replace(one, T_source_target_bs44=torch.eye(4).expand_as(T))
        assert photometric(config, batch, one) < 0.3 * photometric(config, batch, none)


def test_coarse_scales_explain_full_images(ground_truth: tuple[Batch, ModelOutput]) -> None:
    batch, output = ground_truth
    config = dataclasses.replace(OBJECTIVES["l1"], full_resolution=True)
    T = output.T_source_target_bs44
    none = dataclasses.replace(output, T_source_target_bs44=torch.eye(4).expand_as(T))
    assert photometric(config, batch, output) < 0.25 * photometric(config, batch, none)


def test_depths_of_one_plane_are_consistent(ground_truth: tuple[Batch, ModelOutput]) -> None:
    """Without occlusions there is no inconsistency; a scale error of one frame is detected."""
    batch, output = ground_truth
    config = dataclasses.replace(OBJECTIVES["l1"], consistency_weight=1.0)
    at_full = dataclasses.replace(
        output,
        depths_b1hw=output.depths_b1hw[:1],
        disparities_b1hw=output.disparities_b1hw[:1],
    )

    def inconsistency(scale: float) -> float:
        sources = output.source_depths_bs1hw
        assert sources is not None
        sources = sources * torch.tensor([1.0, scale]).view(1, 2, 1, 1, 1)
        scaled = dataclasses.replace(at_full, source_depths_bs1hw=sources)
        return Objective(config)(batch, scaled)[1]["consistency"].item()

    assert inconsistency(1.0) < 1e-5
    # |1 - k| / (1 + k) in one of the two sources, which have about as many valid pixels.
    assert inconsistency(1.1) == pytest.approx(0.5 * 0.1 / 2.1, rel=0.1)
    assert inconsistency(0.5) == pytest.approx(0.5 * 0.5 / 1.5, rel=0.1)


def test_gradient_leads_to_true_motion(ground_truth: tuple[Batch, ModelOutput]) -> None:
    """Descent on the translation alone recovers it from an error of 30 %."""
    batch, output = ground_truth
    true = output.T_source_target_bs44
    shift = torch.tensor(0.7, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.02)
    for _ in range(40):
        T = true.clone()
        T[..., :3, 3] = true[..., :3, 3] * shift
        moved = dataclasses.replace(output, T_source_target_bs44=T)
        loss, _ = Objective(OBJECTIVES["minimum"])(batch, moved)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert shift.item() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_mirrored_world_has_same_loss(name: str, ground_truth: tuple[Batch, ModelOutput]) -> None:
    batch, output = ground_truth
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    K = batch.K_b33.clone()
    K[:, 0, 2] = WIDTH - 1 - K[:, 0, 2]
    frames = batch.rgb_clean_bn3hw.flip(-1)
    mirrored_batch = Batch(rgb_bn3hw=frames, rgb_clean_bn3hw=frames, K_b33=K)
    mirrored = dataclasses.replace(
        output,
        depths_b1hw=[d.flip(-1) for d in output.depths_b1hw],
        disparities_b1hw=[d.flip(-1) for d in output.disparities_b1hw],
        T_source_target_bs44=mirror @ output.T_source_target_bs44 @ mirror,
    )
    loss, _ = Objective(OBJECTIVES[name])(batch, output)
    mirrored_loss, _ = Objective(OBJECTIVES[name])(mirrored_batch, mirrored)
    assert mirrored_loss.item() == pytest.approx(loss.item(), abs=1e-5)


def test_auto_mask_ignores_standing_camera() -> None:
    frames = torch.rand(1, 1, 3, 16, 24).expand(-1, 3, -1, -1, -1)
    batch = Batch(rgb_bn3hw=frames, rgb_clean_bn3hw=frames, K_b33=intrinsics(24, 16).float())
    depth = torch.full((1, 1, 16, 24), 3.0, requires_grad=True)
    vector = torch.full((1, 2, 6), 0.05, requires_grad=True)
    output = ModelOutput(
        depths_b1hw=[depth],
        disparities_b1hw=[1 / depth],
        T_source_target_bs44=transform_from_pose_vector(vector),
        mask_logits_bshw=[],
    )
    config = dataclasses.replace(OBJECTIVES["minimum"], smoothness_weight=0.0)
    loss, _ = Objective(config)(batch, output)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert vector.grad.abs().max() == 0
    assert depth.grad.abs().max() == 0
