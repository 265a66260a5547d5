"""Random changes of a batch. The oracle is a wall whose image has a closed form."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from prepared_sets import make_batcher, make_config, warp_error

from sfm_ros.errors import ConfigError
from training.batch import Batch
from training.config import DataConfig
from training.data.augment import (
    augment,
    draw_plan,
    flip,
    jitter_color,
    reverse,
    scale_crop,
    stand,
    to_gray,
)
from training.data.resample import crop_batched, crop_enlarged
from training.data.sequence import PreparedSet


@pytest.fixture(scope="module")
def batch(wall_set: PreparedSet) -> Batch:
    batcher = make_batcher([wall_set])
    return batcher.batch_of(batcher.training_windows(0))


def test_flip_keeps_the_geometry(batch: Batch) -> None:
    flipped = flip(batch, np.array([True, True, True, True]))
    assert warp_error(flipped) == pytest.approx(warp_error(batch), abs=1e-4)
    assert warp_error(replace(flipped, K_b33=batch.K_b33)) > 0.006
    assert warp_error(replace(flipped, T_source_target_bs44=batch.T_source_target_bs44)) > 0.02


def test_flip_twice_changes_nothing(batch: Batch) -> None:
    chosen = np.array([True, False, True, False])
    once = flip(batch, chosen)
    twice = flip(once, chosen)
    for name in ("rgb_bn3hw", "rgb_clean_bn3hw", "depth_target_b1hw", "T_source_target_bs44"):
        assert torch.equal(getattr(twice, name), getattr(batch, name)), name
        assert torch.equal(getattr(once, name)[1], getattr(batch, name)[1]), name
        assert not torch.equal(getattr(once, name)[0], getattr(batch, name)[0]), name
    torch.testing.assert_close(twice.K_b33, batch.K_b33)


def test_scale_crop_keeps_the_geometry(batch: Batch) -> None:
    scales = np.array([[1.0, 1.0], [1.3, 1.1], [1.25, 1.5], [1.1, 1.4]])
    offsets = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.3], [0.5, 0.5]])
    changed = scale_crop(batch, scales, offsets)
    assert changed.rgb_bn3hw.shape == batch.rgb_bn3hw.shape
    assert torch.equal(changed.rgb_bn3hw[0], batch.rgb_bn3hw[0])
    # Enlarging adds the error of the bilinear image and the nearest depth, not more.
    assert warp_error(changed) < warp_error(batch) + 0.002
    assert warp_error(replace(changed, K_b33=batch.K_b33)) > 2 * warp_error(changed)


def test_scale_crop_follows_the_new_calibration(batch: Batch) -> None:
    """A ramp of x on the wall: its image is fx X/Z + cx, before and after."""
    u = torch.arange(64.0).expand(4, 3, 3, 64, 64).contiguous()
    ramp = replace(batch, rgb_bn3hw=u, rgb_clean_bn3hw=u)
    scales, offsets = np.full((4, 2), 1.5), np.full((4, 2), 0.5)
    changed = scale_crop(ramp, scales, offsets)
    x_before = (u[0, 0, 0, 0] - ramp.K_b33[0, 0, 2]) / ramp.K_b33[0, 0, 0]
    x_after = (u[0, 0, 0, 0] - changed.K_b33[0, 0, 2]) / changed.K_b33[0, 0, 0]
    shown = changed.rgb_clean_bn3hw[0, 0, 0, 32]
    expected = torch.tensor(np.interp(x_after, x_before, u[0, 0, 0, 0]), dtype=torch.float32)
    torch.testing.assert_close(shown, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("nearest", [False, True])
def test_batched_crop_equals_single_crops(nearest: bool) -> None:
    images = torch.rand(3, 2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    sizes = np.array([[30, 20], [37, 20], [45, 29]])
    corners = np.array([[0, 0], [7, 0], [4, 9]])
    expected = crop_enlarged(images, sizes, corners, nearest)
    at_once = crop_batched(images, sizes, corners, nearest)
    torch.testing.assert_close(at_once, expected, atol=2e-6, rtol=0)
    assert torch.equal(at_once[0], images[0])
    assert not torch.equal(at_once[1], images[1])


def test_reverse_keeps_the_geometry(batch: Batch) -> None:
    reversed_batch = reverse(batch, np.array([True] * 4))
    assert torch.equal(reversed_batch.rgb_bn3hw[:, 1], batch.rgb_bn3hw[:, 1])
    assert torch.equal(reversed_batch.rgb_bn3hw[:, 0], batch.rgb_bn3hw[:, 2])
    assert warp_error(reversed_batch) == pytest.approx(warp_error(batch), abs=1e-4)
    old = batch.T_source_target_bs44
    assert warp_error(replace(reversed_batch, T_source_target_bs44=old)) > 0.02


def test_a_camera_that_stands_sees_noise_alone(batch: Batch) -> None:
    unknown = replace(batch, has_motion_b=torch.zeros(4), distance_bs=torch.full((4, 2), 0.5))
    standing = stand(unknown, np.array([True, False, True, False]))
    assert torch.equal(standing.rgb_bn3hw[0], batch.rgb_bn3hw[0, [1, 1, 1]])
    assert torch.equal(standing.rgb_bn3hw[1], batch.rgb_bn3hw[1])
    assert torch.equal(standing.T_source_target_bs44[2], torch.eye(4).expand(2, 4, 4))
    assert torch.equal(standing.T_source_target_bs44[3], batch.T_source_target_bs44[3])
    assert standing.has_motion_b.tolist() == [1, 0, 1, 0]
    assert standing.distance_bs.tolist() == [[0, 0], [0.5, 0.5], [0, 0], [0.5, 0.5]]
    assert torch.equal(standing.depth_target_b1hw, batch.depth_target_b1hw)
    assert warp_error(standing) < 0.006

    config = DataConfig(still_probability=1.0, color_probability=0.0, gray_probability=0.0)
    changed = augment(batch, draw_plan(config, 4, np.random.default_rng(0)))
    difference = changed.rgb_bn3hw[:, 0] - changed.rgb_bn3hw[:, 1]
    assert 0.002 < float(difference.std()) < 0.06 and abs(float(difference.mean())) < 1e-3
    assert torch.equal(changed.rgb_clean_bn3hw[:, 0], changed.rgb_clean_bn3hw[:, 2])


@pytest.mark.parametrize("frames", [2, 5])
def test_windows_of_any_length_can_stand(batch: Batch, frames: int) -> None:
    rgb = torch.rand(4, frames, 3, 8, 8)
    motion = torch.rand(4, frames - 1, 4, 4)
    fields = {"rgb_bn3hw": rgb, "rgb_clean_bn3hw": rgb, "depth_target_b1hw": None}
    windows = replace(batch, **fields, T_source_target_bs44=motion)
    standing = stand(windows, np.array([True, False, False, True]))
    assert torch.equal(standing.rgb_bn3hw[0], rgb[0, [frames // 2] * frames])
    assert torch.equal(standing.T_source_target_bs44[3], torch.eye(4).expand(frames - 1, 4, 4))
    unknown = replace(windows, T_source_target_bs44=None, has_motion_b=None, distance_bs=None)
    assert stand(unknown, np.array([True] * 4)).T_source_target_bs44 is None


def test_standing_changes_no_other_window() -> None:
    plain, some = (
        draw_plan(DataConfig(still_probability=p), 8, np.random.default_rng(0)) for p in (0.0, 0.5)
    )
    assert not plain.still_b.any() and 0 < some.still_b.sum() < 8
    moving = slice(int(some.still_b.argmin()), int(some.still_b.argmin()) + 1)
    for field in dataclasses.fields(plain):
        found, expected = (getattr(p.part(moving), field.name) for p in (some, plain))
        assert np.array_equal(found, expected), field.name


def test_whole_augmentation_keeps_the_geometry(wall_set: PreparedSet) -> None:
    batcher = make_batcher([wall_set], reverse_probability=0.5, scale_crop=1.2)
    errors = [warp_error(batcher.training_batch(step)) for step in range(6)]
    assert max(errors) < 0.006


def test_color_leaves_the_clean_images(batch: Batch) -> None:
    still = replace(batch, rgb_clean_bn3hw=batch.rgb_clean_bn3hw[:, :1].expand(-1, 3, -1, -1, -1))
    config = DataConfig(
        flip_probability=0.0, scale_crop=1.0, color_probability=1.0, gray_probability=0.0
    )
    rng = np.random.default_rng(0)
    changed = augment(replace(still, rgb_bn3hw=still.rgb_clean_bn3hw), draw_plan(config, 4, rng))
    assert torch.equal(changed.rgb_clean_bn3hw, still.rgb_clean_bn3hw)
    assert float((changed.rgb_bn3hw - changed.rgb_clean_bn3hw).abs().mean()) > 0.01
    assert torch.equal(changed.rgb_bn3hw[:, 0], changed.rgb_bn3hw[:, 2])
    assert 0.0 <= float(changed.rgb_bn3hw.min()) and float(changed.rgb_bn3hw.max()) <= 1.0


def test_no_jitter_changes_nothing(batch: Batch) -> None:
    same = jitter_color(batch.rgb_bn3hw, np.array([True] * 4), np.ones((4, 4)))
    torch.testing.assert_close(same, batch.rgb_bn3hw, atol=1e-6, rtol=0)


def test_brightness_and_gamma_alone() -> None:
    """The reports' augmentation: 65 % of the windows, and a * x^g of each channel by itself."""
    config = DataConfig(color_probability=0.65, color_changes=("brightness", "gamma"))
    plan = draw_plan(config, 10_000, np.random.default_rng(0))
    assert plan.color_b.mean() == pytest.approx(0.65, abs=0.02)
    chosen = plan.jitter_b4[:, [0, 2]]
    assert (plan.jitter_b4[:, [1, 3]] == 1.0).all()
    assert chosen.min() < 0.81 and chosen.max() > 1.19 and chosen.std(axis=0).min() > 0.1
    with pytest.raises(ConfigError, match="hue"):
        make_config(color_changes=["brightness", "hue"])
    brightness, _, gamma, _ = plan.jitter_b4[0]
    rgb = torch.rand(1, 3, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    changed = jitter_color(rgb, np.array([True]), plan.jitter_b4[:1])
    torch.testing.assert_close(changed, (rgb * brightness).clamp(max=1.0) ** gamma)


def test_gray_has_three_equal_channels(batch: Batch) -> None:
    gray = to_gray(batch.rgb_bn3hw, np.array([True, False, False, False]))
    assert torch.equal(gray[0, :, 0], gray[0, :, 2])
    assert torch.equal(gray[1], batch.rgb_bn3hw[1])
    config = DataConfig(gray_probability=1.0, color_probability=0.0)
    both = augment(batch, draw_plan(config, 4, np.random.default_rng(0)))
    assert torch.equal(both.rgb_bn3hw, both.rgb_clean_bn3hw)
    assert torch.equal(both.rgb_bn3hw[:, :, 0], both.rgb_bn3hw[:, :, 1])


def test_even_window_cannot_be_reversed(batch: Batch) -> None:
    even = replace(batch, rgb_bn3hw=batch.rgb_bn3hw[:, :2])
    with pytest.raises(ValueError, match="middle"):
        reverse(even, np.array([True] * 4))
