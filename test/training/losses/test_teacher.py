"""What a semi-dense teacher teaches, against closed forms."""

from __future__ import annotations

import dataclasses
import math

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Batch, ModelOutput
from training.config import ObjectiveConfig, load_config
from training.geometry.se3 import transform_from_pose_vector
from training.losses.objective import Objective
from training.losses.supervision import FAR_M, teacher_error

HAS_DEPTH = torch.ones(1)
KNOWN_MOTION = ObjectiveConfig(
    ssim_weight=0.85, l1_weight=0.15, smoothness_weight=0.0, known_motion=True
)


TWICE_TOO_FAR = (math.log(2) + 1) / 2 - 0.025


def constant(value: float) -> Tensor:
    return torch.full((1, 1, 8, 8), value)


@pytest.mark.parametrize(
    ("predicted", "known", "expected"),
    [
        (10.0, 10.0, 0.0),
        (10.2, 10.0, (math.log(1.02) ** 2 + 0.02**2) / 0.2),  # quadratic near zero
        (13.0, 10.0, (math.log(1.3) + 0.3) / 2 - 0.025),
        (7.0, 10.0, (-math.log(0.7) + 0.3) / 2 - 0.025),  # relatively as much, by ratio more
        (10.0 * math.exp(4.0), 10.0, (1.5 + math.e - 1) / 2 - 0.025 + 0.3 * 2.5),  # an outlier
        (10.0 * math.exp(-4.0), 10.0, (1.5 + 1 - math.exp(-4)) / 2 - 0.025 + 0.3 * 2.5),
        (200.0, 1000.0, 0.0),  # sky predicted far, if not as far
        (100.0 * math.exp(-3.0), 1000.0, 0.5 * (3.0 - 0.025)),  # near sky is no outlier
        (90.0 * math.exp(0.5), 90.0, 0.0),
    ],
)
def test_robust_error_of_one_scale(predicted: float, known: float, expected: float) -> None:
    error = teacher_error([constant(predicted)], constant(known), HAS_DEPTH)
    assert error.item() == pytest.approx(expected, abs=1e-5)


def test_between_two_surfaces_the_nearer_costs_least() -> None:
    """Both are as probable."""
    known = torch.tensor([8.0, 16.0]).view(1, 1, 1, 2)
    costs = {
        d: teacher_error([torch.full((1, 1, 1, 2), d)], known, HAS_DEPTH).item()
        for d in (7.0, 8.0, 9.0, 11.3, 14.0, 16.0)
    }
    assert min(costs, key=costs.__getitem__) == 8.0


def test_unknown_pixels_teach_nothing_and_do_not_dilute() -> None:
    predicted = constant(20.0).requires_grad_()
    known = constant(10.0)
    known[..., :4] = 0.0
    error = teacher_error([predicted], known, HAS_DEPTH)
    assert error.item() == pytest.approx(TWICE_TOO_FAR, abs=1e-5)
    (gradient,) = torch.autograd.grad(error, predicted)
    assert (gradient[..., :4] == 0).all() and (gradient[..., 4:] > 0).all()


def test_outlier_counts_little_and_far_on_its_near_side_only() -> None:
    predicted = torch.tensor([1.0, 40.0, 200.0, 30.0]).view(1, 1, 1, 4).requires_grad_()
    known = torch.tensor([50.0, 50.0, FAR_M + 1, FAR_M + 1]).view(1, 1, 1, 4)
    (gradient,) = torch.autograd.grad(teacher_error([predicted], known, HAS_DEPTH), predicted)
    # By the logarithm of the depth; what is near and taken for the sky must be pulled back.
    pull = (-4 * gradient * predicted).flatten().tolist()
    assert pull == pytest.approx([0.3 + 0.5 / 50, 0.5 + 0.5 * 0.8, 0.0, 0.5], abs=1e-5)


def test_windows_without_depth_are_left_out() -> None:
    predicted, known = (
        torch.cat([constant(20.0), constant(900.0)]),
        constant(10.0).repeat(2, 1, 1, 1),
    )
    error = teacher_error([predicted], known, torch.tensor([1.0, 0.0]))
    assert error.item() == pytest.approx(TWICE_TOO_FAR, abs=1e-5)
    assert teacher_error([predicted], known, torch.zeros(2)).item() == 0.0


def test_coarser_scales_count_less_and_see_single_pixels() -> None:
    columns = torch.tensor([5.0, 60.0] * 4).expand(1, 1, 8, 8)
    coarse = [torch.full((1, 1, 4, 4), 60.0), torch.full((1, 1, 2, 2), 5.0)]
    fine = teacher_error([columns], columns, HAS_DEPTH).item()
    both = teacher_error([columns, *coarse], columns, HAS_DEPTH).item()
    # A mean over the edge would fit neither: one of the two surfaces is met exactly at each scale.
    by_log = 1.5 / 2 - 0.025 + 0.3 * (math.log(12) - 1.5)
    too_far, too_near = by_log + (math.e - 1) / 2, by_log + (1 - 1 / 12) / 2
    assert fine == 0.0
    assert any(
        both == pytest.approx(a + b) for a in (0, 0.5 * too_far) for b in (0, 0.25 * too_near)
    )


# --- poses that are known ------------------------------------------------------------------------


def case() -> tuple[Batch, ModelOutput]:
    torch.manual_seed(0)
    frames = torch.rand(2, 3, 3, 16, 24)
    K = torch.tensor([[[20.0, 0, 11], [0, 20.0, 8], [0, 0, 1]]]).expand(2, 3, 3)
    T = transform_from_pose_vector(0.1 * torch.randn(2, 2, 6))
    depth = torch.rand(2, 1, 16, 24) + 2
    batch = Batch(
        rgb_bn3hw=frames,
        rgb_clean_bn3hw=frames,
        K_b33=K,
        T_source_target_bs44=T,
        has_motion_b=torch.ones(2),
    )
    none = ModelOutput(
        depths_b1hw=[depth],
        disparities_b1hw=[1 / depth],
        T_source_target_bs44=torch.empty(2, 0, 4, 4),
        mask_logits_bshw=[],
    )
    return batch, none


def test_known_motion_replaces_the_predicted_one() -> None:
    batch, output = case()
    assert batch.T_source_target_bs44 is not None
    predicted = dataclasses.replace(output, T_source_target_bs44=batch.T_source_target_bs44)
    expected, _ = Objective(dataclasses.replace(KNOWN_MOTION, known_motion=False))(
        batch, predicted
    )
    found, parts = Objective(KNOWN_MOTION)(batch, output)
    assert found.item() == expected.item()
    assert "translation_norm" not in parts


def test_windows_of_unknown_motion_are_left_out() -> None:
    batch, output = case()
    half = dataclasses.replace(batch, has_motion_b=torch.tensor([1.0, 0.0]))
    first = dataclasses.replace(
        batch,
        **{
            name: getattr(batch, name)[:1]
            for name in ("rgb_bn3hw", "rgb_clean_bn3hw", "K_b33", "T_source_target_bs44")
        },
        has_motion_b=torch.ones(1),
    )
    of_first = dataclasses.replace(
        output,
        depths_b1hw=[output.depths_b1hw[0][:1]],
        disparities_b1hw=[output.disparities_b1hw[0][:1]],
        T_source_target_bs44=torch.empty(1, 0, 4, 4),
    )
    objective = Objective(KNOWN_MOTION)
    expected, found = objective(first, of_first)[0], objective(half, output)[0]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_known_motion_needs_poses() -> None:
    batch, output = case()
    unknown = dataclasses.replace(batch, T_source_target_bs44=None, has_motion_b=None)
    with pytest.raises(ConfigError, match="no prepared set has poses"):
        Objective(KNOWN_MOTION)(unknown, output)


@pytest.mark.parametrize(
    ("network", "objective", "text"),
    [
        ({"sequence_length": 1}, {}, "compares frames"),
        ({"pose": "none"}, {}, "known_motion"),
        ({"pose": "none", "sequence_length": 1}, {"known_motion": True}, "set it to 3"),
        ({"pose": "none", "learned_intrinsics": "per_window"}, {}, "predicted by the pose"),
        (
            {"pose": "none"},
            {"known_motion": True, "pose_supervision_weight": 1.0},
            "'objective.pose_supervision_weight' compares the predicted motion, and "
            "'network.pose' is none; set it to 0",
        ),
        (
            {"pose": "none", "sequence_length": 2},
            {"known_motion": True, "velocity_weight": 0.1},
            "'objective.velocity_weight' compares the predicted motion",
        ),
        ({"canonical_focal": 0.6, "learned_intrinsics": "per_window"}, {}, "calibration"),
    ],
)
def test_contradictions_are_refused(network: dict, objective: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_config({"network": network, "objective": objective})
