"""Degraded images: what changes, what must not; earlier recipes draw the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from prepared_sets import make_batcher
from torch import Tensor

from training.config import DataConfig
from training.data.augment import augment, degrade, draw_plan
from training.data.degrade import (
    DEGRADATIONS,
    add_noise,
    blur,
    cast_shadow,
    compress,
    overexpose,
)
from training.data.sequence import PreparedSet

EVERYTHING = DataConfig(degrade_probability=1.0, color_probability=0.0, gray_probability=0.0)


def checkerboard() -> Tensor:
    board = np.indices((32, 48)).sum(axis=0) % 8 < 4
    return torch.from_numpy(board.astype(np.float32)).mul(0.6).add(0.2).expand(2, 3, 32, 48)


@pytest.mark.parametrize("change", DEGRADATIONS)
def test_stronger_degradation_changes_more(change) -> None:  # type: ignore[no-untyped-def]
    rgb = checkerboard()
    weak, strong = (
        float((change(rgb, s, np.random.default_rng(0)) - rgb).abs().mean()) for s in (0.2, 1.0)
    )
    assert 0 < weak < strong


def test_each_degradation_by_itself() -> None:
    rgb, rng = checkerboard(), np.random.default_rng(0)
    assert blur(rgb, 1.0, rng).std() < 0.9 * rgb.std()
    noise = add_noise(torch.full((1, 3, 100, 100), 0.5), 1.0, rng) - 0.5
    assert noise.std().item() == pytest.approx(0.04, rel=0.05)
    shadow = cast_shadow(torch.ones(2, 3, 64, 64), 1.0, np.random.default_rng(1))
    assert shadow.min().item() == pytest.approx(0.35) and shadow.max().item() == 1.0
    assert torch.equal(shadow[0], shadow[1]) and torch.equal(shadow[0, 0], shadow[0, 2])
    ramp = torch.linspace(0, 1, 101).expand(1, 3, 4, 101)
    assert torch.equal(overexpose(ramp, 1.0, rng) == 1.0, ramp >= 0.4)  # as bright as the sky
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1.0
    assert (compress(red, 0.0, rng) - red).abs().max() < 0.05  # channels in their order


def test_only_the_input_of_chosen_windows_is_degraded(wall_set: PreparedSet) -> None:
    batcher = make_batcher([wall_set])
    batch = batcher.batch_of(batcher.training_windows(0))
    changed = augment(batch, draw_plan(EVERYTHING, 4, np.random.default_rng(0)))
    again = augment(batch, draw_plan(EVERYTHING, 4, np.random.default_rng(0)))
    assert (changed.rgb_bn3hw - changed.rgb_clean_bn3hw).abs().mean() > 0.01
    assert torch.equal(changed.rgb_bn3hw, again.rgb_bn3hw)
    assert 0 <= changed.rgb_bn3hw.min() and changed.rgb_bn3hw.max() <= 1
    strength = np.zeros((4, len(DEGRADATIONS)))
    strength[2] = 0.5
    one = degrade(batch.rgb_bn3hw, strength, np.arange(4))
    is_same = [torch.equal(one[i], batch.rgb_bn3hw[i]) for i in range(4)]
    assert is_same == [True, True, False, True]


def test_options_that_are_off_draw_what_they_drew() -> None:
    off, on = (
        draw_plan(config, 8, np.random.default_rng(3))
        for config in (DataConfig(), DataConfig(degrade_probability=1.0))
    )
    for name in ("flip_b", "gray_b", "color_b", "scale_b2", "offset_b2", "jitter_b4"):
        assert np.array_equal(getattr(off, name), getattr(on, name)), name
    assert not off.degrade_bd.any() and (on.degrade_bd > 0).all()


def test_aspect_change_bounds_the_ratio_of_the_zooms() -> None:
    config = DataConfig(scale_crop=1.5, aspect_change=0.05)
    scale = draw_plan(config, 5000, np.random.default_rng(0)).scale_b2
    ratio = scale[:, 0] / scale[:, 1]
    assert scale.min() >= 1.0 and 1.45 < scale.max() < 1.54
    assert 1.03 < ratio.max() <= 1.05 + 1e-9 and 1 / 1.05 - 1e-9 <= ratio.min() < 0.97
    free = draw_plan(DataConfig(scale_crop=1.5), 5000, np.random.default_rng(0)).scale_b2
    assert (free[:, 0] / free[:, 1]).max() > 1.3
