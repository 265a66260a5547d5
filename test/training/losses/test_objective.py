"""The objective as a whole: the terms it reports, and what must not change them.

All frames are noise, so that no result is right by accident.
"""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
import torch.nn.functional as F
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Batch, ModelOutput
from training.config import ObjectiveConfig
from training.geometry.se3 import transform_from_pose_vector
from training.losses.objective import Objective
from training.losses.regularizers import edge_aware, second_order
from training.losses.supervision import velocity_loss


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def motions(batch: int) -> Tensor:
    return transform_from_pose_vector(0.2 * torch.randn(batch, 2, 6))


def random_case(scales: int = 3, masks: bool = True) -> tuple[Batch, ModelOutput]:
    frames = torch.rand(2, 3, 3, 16, 24)
    K = torch.tensor([[[20.0, 0, 11], [0, 20.0, 8], [0, 0, 1]]]).expand(2, 3, 3)
    depths = [torch.rand(2, 1, 16 >> k, 24 >> k) + 2 for k in range(scales)]
    batch = Batch(
        rgb_bn3hw=frames,
        rgb_clean_bn3hw=frames,
        K_b33=K,
        depth_target_b1hw=torch.rand(2, 1, 16, 24) + 2,
        T_source_target_bs44=motions(2),
        has_depth_b=torch.ones(2),
        has_motion_b=torch.ones(2),
        distance_bs=torch.tensor([[0.3, float("nan")], [0.0, 0.7]]),
    )
    output = ModelOutput(
        depths_b1hw=depths,
        disparities_b1hw=[1 / d for d in depths],
        T_source_target_bs44=motions(2),
        mask_logits_bshw=[torch.randn(2, 2, 16 >> k, 24 >> k) for k in range(scales * masks)],
        source_depths_bs1hw=torch.rand(2, 2, 1, 16, 24) + 2,
    )
    return batch, output


EVERYTHING = ObjectiveConfig(
    ssim_weight=0.5,
    mask_weight=0.2,
    depth_supervision_weight=0.3,
    pose_supervision_weight=0.4,
    consistency_weight=0.6,
    consistency_mask=True,
    velocity_weight=0.7,
)
TERMS = {
    "photometric",
    "smoothness",
    "mask",
    "consistency",
    "depth_supervision",
    "pose_supervision",
    "velocity",
}
DIAGNOSTICS = {"disparity_spread", "translation_norm", "translation_spread"}


def test_total_is_sum_of_reported_terms() -> None:
    total, parts = Objective(EVERYTHING)(*random_case())
    assert parts.keys() == TERMS | DIAGNOSTICS | {"total"}
    assert total.item() == pytest.approx(sum(parts[name].item() for name in TERMS), rel=1e-6)
    assert parts["total"].item() == total.item()
    assert not any(value.requires_grad for value in parts.values())


def test_only_active_terms_are_reported() -> None:
    batch, output = random_case(masks=False)
    _, parts = Objective(ObjectiveConfig(smoothness_weight=0.0))(batch, output)
    assert parts.keys() - DIAGNOSTICS == {"total", "photometric"}
    unknown = dataclasses.replace(
        batch, depth_target_b1hw=None, T_source_target_bs44=None, distance_bs=None
    )
    _, parts = Objective(EVERYTHING)(unknown, output)
    assert parts.keys() - DIAGNOSTICS == {"total", "photometric", "smoothness", "consistency"}


def test_smoothness_weight_decreases_with_scale() -> None:
    batch, output = random_case()
    config = ObjectiveConfig(smoothness_weight=0.5, smoothness_scale_divisor=3.0)
    _, parts = Objective(config)(batch, output)
    expected = sum(0.5 / 3**k * second_order(d) for k, d in enumerate(output.disparities_b1hw))
    assert parts["smoothness"].item() == pytest.approx(float(expected), rel=1e-6)


def test_clean_images_are_compared() -> None:
    batch, output = random_case()
    recolored = dataclasses.replace(batch, rgb_bn3hw=torch.rand_like(batch.rgb_bn3hw))
    loss, _ = Objective(EVERYTHING)(batch, output)
    assert Objective(EVERYTHING)(recolored, output)[0].item() == loss.item()


def test_mask_lowers_photometric_term_and_adds_regularizer() -> None:
    batch, output = random_case()
    masked_output = dataclasses.replace(
        output, mask_logits_bshw=[logits - 3 for logits in output.mask_logits_bshw]
    )
    _, plain = Objective(EVERYTHING)(batch, output)
    _, masked = Objective(EVERYTHING)(batch, masked_output)
    assert masked["photometric"] < 0.5 * plain["photometric"]
    assert masked["mask"] > 2 * plain["mask"]


def test_objective_is_float32_under_autocast() -> None:
    batch, output = random_case()
    exact, _ = Objective(EVERYTHING)(batch, output)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = Objective(EVERYTHING)(batch, output)
    assert found.dtype == torch.float32
    assert found.item() == exact.item()


def test_disparity_spread_shows_collapsed_depth() -> None:
    batch, output = random_case()
    flat = dataclasses.replace(
        output, disparities_b1hw=[torch.full_like(d, 0.4) for d in output.disparities_b1hw]
    )
    assert Objective(EVERYTHING)(batch, flat)[1]["disparity_spread"].item() < 1e-5
    assert Objective(EVERYTHING)(batch, output)[1]["disparity_spread"].item() > 0.05


@pytest.mark.parametrize("option", [{"consistency_weight": 0.5}, {"consistency_mask": True}])
def test_missing_source_depths_are_refused(option: dict) -> None:
    batch, output = random_case()
    objective = Objective(ObjectiveConfig(**option))
    assert objective.needs_source_depths
    assert not Objective(ROAD).needs_source_depths
    with pytest.raises(ConfigError, match="depth of every frame"):
        objective(batch, dataclasses.replace(output, source_depths_bs1hw=None))


def test_supervision_alone() -> None:
    batch, output = random_case()
    config = ObjectiveConfig(
        l1_weight=0.0, smoothness_weight=0.0, depth_supervision_weight=1.0, auto_mask=False
    )
    _, parts = Objective(config)(batch, output)
    assert parts.keys() - DIAGNOSTICS == {"total", "depth_supervision"}


# --- options -------------------------------------------------------------------------------------

ROAD = ObjectiveConfig(
    l1_weight=0.15,
    ssim_weight=0.85,
    minimum_reprojection=True,
    auto_mask=True,
    smoothness="edge_aware",
    smoothness_weight=1e-3,
)
CONFIGS = {
    "l1": ObjectiveConfig(),
    "l1 and mask": ObjectiveConfig(mask_weight=0.2),
    "ssim variant A alone": ObjectiveConfig(
        l1_weight=0.15, ssim_weight=0.85, smoothness_weight=0.0
    ),
    "ssim variant B": ObjectiveConfig(l1_weight=0.85, ssim_weight=0.15, mask_weight=0.2),
    "smooth depth": ObjectiveConfig(smoothness_of="depth"),
    "edges of depth": ObjectiveConfig(smoothness_of="depth", smoothness="edge_aware"),
    "road": ROAD,
    "road in full": dataclasses.replace(ROAD, full_resolution=True),
    "consistent": dataclasses.replace(ROAD, consistency_weight=0.5, consistency_mask=True),
    "everything": EVERYTHING,
    "everything in full": dataclasses.replace(EVERYTHING, full_resolution=True),
}


def mirrored(batch: Batch, output: ModelOutput) -> tuple[Batch, ModelOutput]:
    """The same windows and the same prediction, mirrored left to right."""
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))

    def flipped(values: list[Tensor]) -> list[Tensor]:
        return [value.flip(-1) for value in values]

    def camera(K: Tensor) -> Tensor:
        K = K.clone()
        K[:, 0, 2] = batch.rgb_bn3hw.shape[-1] - 1 - K[:, 0, 2]
        return K

    frames = batch.rgb_clean_bn3hw.flip(-1)
    mirrored_batch = dataclasses.replace(
        batch,
        rgb_bn3hw=frames,
        rgb_clean_bn3hw=frames,
        K_b33=camera(batch.K_b33),
        depth_target_b1hw=batch.depth_target_b1hw.flip(-1),
        T_source_target_bs44=mirror @ batch.T_source_target_bs44 @ mirror,
    )
    mirrored_output = dataclasses.replace(
        output,
        depths_b1hw=flipped(output.depths_b1hw),
        disparities_b1hw=flipped(output.disparities_b1hw),
        mask_logits_bshw=flipped(output.mask_logits_bshw),
        source_depths_bs1hw=output.source_depths_bs1hw.flip(-1),
        T_source_target_bs44=mirror @ output.T_source_target_bs44 @ mirror,
        K_b33=None if output.K_b33 is None else camera(output.K_b33),
    )
    return mirrored_batch, mirrored_output


@pytest.mark.parametrize("learned", [False, True], ids=["given K", "learned K"])
@pytest.mark.parametrize("name", CONFIGS)
def test_mirrored_batch_has_same_loss(name: str, learned: bool) -> None:
    batch, output = random_case()
    if learned:
        output = dataclasses.replace(output, K_b33=batch.K_b33 * torch.tensor([1.1, 0.9, 1]))
    objective = Objective(CONFIGS[name])
    loss, _ = objective(batch, output)
    flipped_loss, _ = objective(*mirrored(batch, output))
    assert flipped_loss.item() == pytest.approx(loss.item(), abs=1e-5)
    mirrored_batch, mirrored_output = mirrored(batch, output)
    wrong = dataclasses.replace(mirrored_batch, K_b33=batch.K_b33 + torch.tensor([0.0, 0.0, 5.0]))
    if not learned:
        assert objective(wrong, mirrored_output)[0].item() != pytest.approx(loss.item(), abs=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_gradient_reaches_depth_and_motion(name: str) -> None:
    batch, output = random_case()
    depths = [depth.requires_grad_() for depth in output.depths_b1hw]
    T = output.T_source_target_bs44.requires_grad_()
    output = dataclasses.replace(output, disparities_b1hw=[1 / depth for depth in depths])
    loss, _ = Objective(CONFIGS[name])(batch, output)
    loss.backward()
    for tensor in (*depths, T):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().max() > 0


def test_learned_intrinsics_replace_calibration() -> None:
    batch, output = random_case()
    learned = batch.K_b33 * torch.tensor([[1.2], [0.9], [1.0]])
    learning = dataclasses.replace(output, K_b33=learned.requires_grad_())
    calibrated = dataclasses.replace(batch, K_b33=learned.detach())
    loss, _ = Objective(EVERYTHING)(batch, learning)
    assert loss.item() == Objective(EVERYTHING)(calibrated, output)[0].item()
    assert loss.item() != Objective(EVERYTHING)(batch, output)[0].item()
    loss.backward()
    assert learned.grad is not None
    assert learned.grad[:, 0, 0].abs().min() > 0


@pytest.mark.parametrize("name", CONFIGS)
def test_full_resolution_of_single_scale_is_plain_loss(name: str) -> None:
    batch, output = random_case(scales=1)
    plain = dataclasses.replace(CONFIGS[name], full_resolution=False)
    full = dataclasses.replace(plain, full_resolution=True)
    assert Objective(full)(batch, output)[0].item() == Objective(plain)(batch, output)[0].item()


def test_full_resolution_enlarges_disparities() -> None:
    """It equals the plain objective of maps that were enlarged by hand."""
    batch, output = random_case()

    def enlarged(small: Tensor) -> Tensor:
        return F.interpolate(small, size=(16, 24), mode="bilinear", align_corners=False)

    by_hand = dataclasses.replace(
        output,
        depths_b1hw=[1 / enlarged(1 / depth) for depth in output.depths_b1hw],
        mask_logits_bshw=[enlarged(logits) for logits in output.mask_logits_bshw],
    )
    config = dataclasses.replace(EVERYTHING, smoothness_weight=0.0)
    _, expected = Objective(config)(batch, by_hand)
    _, found = Objective(dataclasses.replace(config, full_resolution=True))(batch, output)
    for name in ("photometric", "consistency"):
        assert found[name].item() == pytest.approx(expected[name].item(), rel=1e-5)


def test_full_resolution_keeps_smoothness() -> None:
    batch, output = random_case()
    for config in (ROAD, ObjectiveConfig()):
        full = dataclasses.replace(config, full_resolution=True)
        expected = Objective(config)(batch, output)[1]["smoothness"].item()
        assert Objective(full)(batch, output)[1]["smoothness"].item() == expected


def test_smoothness_of_depth() -> None:
    batch, output = random_case(scales=1)
    depth, target = output.depths_b1hw[0], batch.rgb_clean_bn3hw[:, 1]
    for smoothness, expected in (
        ("second_order", second_order(depth)),
        ("edge_aware", edge_aware(depth, target)),
    ):
        config = ObjectiveConfig(
            smoothness=smoothness, smoothness_of="depth", smoothness_weight=0.5
        )
        found = Objective(config)(batch, output)[1]["smoothness"].item()
        assert found == pytest.approx(0.5 * expected.item(), rel=1e-6)


def test_velocity_term_is_weighted() -> None:
    batch, output = random_case()
    _, parts = Objective(EVERYTHING)(batch, output)
    assert batch.distance_bs is not None
    expected = 0.7 * velocity_loss(output.T_source_target_bs44, batch.distance_bs)
    assert parts["velocity"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_consistency_mask_lowers_inconsistent_pixels() -> None:
    batch, output = random_case(masks=False)
    config = ObjectiveConfig(smoothness_weight=0.0)
    masked = dataclasses.replace(config, consistency_mask=True)
    far = dataclasses.replace(output, source_depths_bs1hw=output.source_depths_bs1hw * 100)
    plain, weighted = (Objective(c)(batch, far)[0].item() for c in (config, masked))
    # The inconsistency is about |1 - 100| / |1 + 100|: the mask is nearly zero.
    assert weighted < 0.05 * plain
    assert Objective(config)(batch, output)[0].item() == plain
    assert weighted < Objective(masked)(batch, output)[0].item() < plain
