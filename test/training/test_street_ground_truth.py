"""The objective on rendered streets must prefer the ground truth."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch

from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training.batch import Batch, ModelOutput
from training.config import ObjectiveConfig
from training.geometry.se3 import rigid_inverse
from training.geometry.warp import project_target
from training.losses.objective import Objective
from training.losses.regularizers import depth_inconsistency
from training.networks.intrinsics import SharedIntrinsics

WIDTH, HEIGHT, FOCAL = 160, 80, 120.0
WINDOWS = 3
SKY_DEPTH_M = 1000.0

L1 = ObjectiveConfig(smoothness_weight=0.0)
ROAD = ObjectiveConfig(
    l1_weight=0.15, ssim_weight=0.85, minimum_reprojection=True, smoothness_weight=0.0
)
CONSISTENT = dataclasses.replace(L1, consistency_weight=1.0)


def camera_poses() -> np.ndarray:
    """T_world_camera of windows of three frames: driving forward while turning the camera."""
    poses = []
    for index in range(3 * WINDOWS):
        yaw = np.deg2rad((-4.0, 0.0, 5.0)[index % 3])
        pitch = np.deg2rad((1.5, 0.0, -1.5)[index % 3])
        about_y = np.array(
            [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        )
        about_x = np.array(
            [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
        )
        T = np.eye(4)
        T[:3, :3] = about_y @ about_x
        T[:3, 3] = [0.1 * (index % 3), 0.0, 6.0 * (index // 3) + 0.5 * (index % 3)]
        poses.append(T)
    return np.array(poses)


@pytest.fixture(scope="module")
def street() -> tuple[Batch, ModelOutput]:
    """Rendered windows, and the output of a perfect model."""
    config = SyntheticConfig(seed=5, width=WIDTH, height=HEIGHT, fx=FOCAL, kind="city")
    items = list(SyntheticStreet(config, T_world_camera=camera_poses()))
    rgb = np.stack([item.frame.rgb for item in items]).astype(np.float32) / 255
    frames = torch.from_numpy(rgb).permute(0, 3, 1, 2).unflatten(0, (WINDOWS, 3))
    depth = torch.from_numpy(np.stack([item.depth_m for item in items]))
    depth = torch.where(depth > 0, depth, SKY_DEPTH_M).view(WINDOWS, 3, 1, HEIGHT, WIDTH)
    T_world = torch.from_numpy(camera_poses()).view(WINDOWS, 3, 4, 4)
    T_source_target = rigid_inverse(T_world[:, [0, 2]]) @ T_world[:, 1:2]
    camera = items[0].frame.intrinsics
    K = torch.tensor([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    batch = Batch(rgb_bn3hw=frames, rgb_clean_bn3hw=frames, K_b33=K.float().expand(WINDOWS, 3, 3))
    output = ModelOutput(
        depths_b1hw=[depth[:, 1]],
        disparities_b1hw=[1 / depth[:, 1]],
        T_source_target_bs44=T_source_target.float(),
        mask_logits_bshw=[],
        source_depths_bs1hw=depth[:, [0, 2]],
    )
    return batch, output


def term(name: str, config: ObjectiveConfig, batch: Batch, output: ModelOutput) -> float:
    return Objective(config)(batch, output)[1][name].item()


@pytest.mark.parametrize("config", [L1, ROAD], ids=["l1", "road"])
def test_inverted_motion_costs_more_than_none(
    config: ObjectiveConfig, street: tuple[Batch, ModelOutput]
) -> None:
    batch, output = street
    T = output.T_source_target_bs44
    still = dataclasses.replace(output, T_source_target_bs44=torch.eye(4).expand_as(T))
    inverted = dataclasses.replace(output, T_source_target_bs44=rigid_inverse(T))
    right, none, wrong = (term("total", config, batch, o) for o in (output, still, inverted))
    assert right < 0.3 * none
    assert wrong > 1.1 * none


def test_ground_truth_depths_are_consistent(street: tuple[Batch, ModelOutput]) -> None:
    """Up to points that are visible in one of the frames only, and silhouettes."""
    batch, output = street
    assert output.source_depths_bs1hw is not None

    def inconsistency(scale: float) -> float:
        sources = output.source_depths_bs1hw * torch.tensor([1.0, scale]).view(1, 2, 1, 1, 1)
        scaled = dataclasses.replace(output, source_depths_bs1hw=sources)
        return term("consistency", CONSISTENT, batch, scaled)

    right = inconsistency(1.0)
    assert right < 0.05
    # Half of |1 - k| / (1 + k), because one of two frames has another scale.
    assert inconsistency(0.7) > right + 0.7 * 0.5 * 0.3 / 1.7
    assert inconsistency(1.3) > right + 0.7 * 0.5 * 0.3 / 2.3


def test_most_ground_truth_pixels_are_consistent(
    street: tuple[Batch, ModelOutput],
) -> None:
    batch, output = street
    assert output.source_depths_bs1hw is not None
    points = project_target(output.depths_b1hw[0], output.T_source_target_bs44[:, 0], batch.K_b33)
    predicted = points.sample(output.source_depths_bs1hw[:, 0].reciprocal())
    found = depth_inconsistency(points.inv_depth_bhw.unsqueeze(1), predicted)[points.valid()]
    assert found.median() < 2e-3
    assert (found < 0.02).float().mean() > 0.8


def test_consistency_mask_finds_occlusions(
    street: tuple[Batch, ModelOutput],
) -> None:
    """The residual error at the ground truth is concentrated at inconsistent depths."""
    batch, output = street
    masked = dataclasses.replace(L1, consistency_mask=True)
    plain, weighted = (term("photometric", config, batch, output) for config in (L1, masked))
    mean_inconsistency = term("consistency", CONSISTENT, batch, output)
    assert 1 - weighted / plain > 2 * mean_inconsistency


@pytest.mark.parametrize("off", [0.9, 1.1])
def test_focal_length_recovers_from_10_percent_error(
    off: float, street: tuple[Batch, ModelOutput]
) -> None:
    """With ground-truth depth and motion, the images alone determine the intrinsics.

    The learned camera starts at the center of the image; all four numbers are free.
    """
    batch, output = street
    unknown = dataclasses.replace(batch, K_b33=torch.full_like(batch.K_b33, math.nan))
    camera = SharedIntrinsics(start_focal=off * FOCAL / WIDTH)
    optimizer = torch.optim.Adam(camera.parameters(), lr=0.01)
    before = None
    for _ in range(60):
        K = camera(torch.zeros(WINDOWS, 1), WIDTH, HEIGHT)
        total, _ = Objective(L1)(unknown, dataclasses.replace(output, K_b33=K))
        before = total.item() if before is None else before
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert K[0, 0, 0].item() == pytest.approx(FOCAL, rel=0.02)
    assert K[0, 1, 1].item() == pytest.approx(FOCAL, rel=0.02)
    assert K[0, 0, 2].item() == pytest.approx((WIDTH - 1) / 2, abs=0.02 * WIDTH)
    assert K[0, 1, 2].item() == pytest.approx((HEIGHT - 1) / 2, abs=0.02 * HEIGHT)
    assert before is not None
    assert total.item() < 0.8 * before
