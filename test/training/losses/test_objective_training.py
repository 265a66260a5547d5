"""The newer terms of the objective, trained as the command line does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from training import train
from training.data.sequence import PreparedSet

RECIPE = """
width: 64
height: 64
network: {{depth: lite, pretrained: false, scales: 2, learned_intrinsics: {intrinsics}}}
objective:
  l1_weight: 0.15
  ssim_weight: 0.85
  minimum_reprojection: true
  full_resolution: true
  smoothness_weight: 0.01
  smoothness_of: depth
  consistency_weight: 0.5
  consistency_mask: true
  velocity_weight: 0.5
data: {{prepared: ["{prepared}"]}}
optim: {{steps: 20, batch_size: 2, learning_rate: 1.0e-3}}
run: {{device: cpu, threads: 1}}
"""


@pytest.mark.parametrize("intrinsics", ["off", "per_window"])
def test_newer_terms_fall(intrinsics: str, tmp_path: Path, wall_set: PreparedSet) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(prepared=wall_set.path, intrinsics=intrinsics))
    options = train.parse(["--config", str(recipe), "--out", str(tmp_path / "run")])
    trainer = train.build(options)
    trainer.model.train()
    batch = trainer._batcher.training_batch(0)
    history = [trainer.step(batch) for _ in range(20)]
    assert all(math.isfinite(float(value)) for parts in history for value in parts.values())
    for name in ("total", "photometric", "consistency", "velocity"):
        assert history[-1][name] < 0.9 * history[0][name], name
