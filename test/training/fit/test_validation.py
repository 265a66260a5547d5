"""Validation, its alarms, the panel and the history of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from torch import Tensor
from training_runs import arguments

from sfm_ros.colormap import captioned, color_of_depth, known_depths, limits_of
from training import train
from training.batch import ModelOutput
from training.config import load_config
from training.data.batcher import Batcher, build_batcher
from training.data.sequence import PreparedSet
from training.fit import loop
from training.fit.checkpoint import load_checkpoint
from training.fit.panel import panel
from training.fit.run_log import HISTORY, RunLog, read_history
from training.fit.validation import Validation, validate
from training.networks.sfm_model import build_model


def validated(batcher: Batcher, change: Callable[[ModelOutput], ModelOutput]) -> Validation:
    """Validate a model that predicts the ground truth of the held-out windows, changed so."""
    windows = batcher.sampler.validation(8)
    parts = iter([windows[:4], windows[4:]])

    def model(_: Tensor, K_b33: Tensor) -> ModelOutput:
        batch = batcher.batch_of(next(parts))
        depth, T = batch.depth_target_b1hw, batch.T_source_target_bs44
        assert depth is not None and T is not None
        return change(
            ModelOutput(
                depths_b1hw=[depth],
                disparities_b1hw=[1.0 / depth],
                T_source_target_bs44=T,
                mask_logits_bshw=[],
            )
        )

    return validate(model, batcher, windows, 4, torch.device("cpu"))


def test_validation_of_ground_truth(wall_batcher: Batcher) -> None:
    result = validated(wall_batcher, lambda output: output)
    assert result.score < 0.1
    assert result.abs_rel == result.abs_rel_metric == 0.0
    assert result.yaw_correlation == pytest.approx(1.0)
    assert result.translation_correlation == pytest.approx(1.0)
    assert "yaw corr 1.00" in result.line()


def test_validation_scales_depth_by_its_median(wall_batcher: Batcher) -> None:
    result = validated(
        wall_batcher,
        lambda output: replace(output, depths_b1hw=[3.0 * output.depths_b1hw[0]]),
    )
    assert result.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert result.abs_rel_metric == pytest.approx(2.0, abs=1e-5)


def test_inverted_motion_is_anticorrelated(wall_batcher: Batcher) -> None:
    result = validated(
        wall_batcher,
        lambda output: replace(
            output, T_source_target_bs44=torch.linalg.inv(output.T_source_target_bs44)
        ),
    )
    assert result.yaw_correlation == pytest.approx(-1.0)
    assert result.score > 0.5


def test_collapsed_model_raises_alarms(wall_batcher: Batcher) -> None:
    result = validated(
        wall_batcher,
        lambda output: replace(
            output,
            disparities_b1hw=[torch.ones_like(output.disparities_b1hw[0])],
            T_source_target_bs44=torch.eye(4).expand(len(output.depths_b1hw[0]), 2, 4, 4),
        ),
    )
    alarms = "\n".join(result.alarms().values())
    assert "is flat" in alarms and "disparity_bias" in alarms
    assert "the same motion" in alarms and "translation_factor" in alarms
    assert "standing still" in alarms
    assert math.isnan(result.yaw_correlation)
    assert not any(math.isnan(v) for v in result.figures().values())


def test_a_motion_that_is_not_a_number_is_still_a_motion(wall_batcher: Batcher) -> None:
    """Else its score would be an error of depth, to be compared with photometric ones."""
    result = validated(
        wall_batcher,
        lambda output: replace(
            output, T_source_target_bs44=torch.full_like(output.T_source_target_bs44, math.nan)
        ),
    )
    assert result.has_motion and math.isnan(result.translation)
    assert not result.score < 1.0 and result.abs_rel_metric == 0.0
    assert "photo" in result.line() and "|t| nan" in result.line()
    names = {name.removeprefix("validation/") for name in result.figures()}
    assert "has_motion" not in names and "flatness" in names


@pytest.mark.parametrize(
    ("scores", "best", "kept"),
    [
        ((math.nan, 0.9, 0.8), 0.8, 6),
        ((math.nan, 0.9, math.nan), 0.9, 4),
        ((0.7, math.nan, 0.8), 0.7, 2),
    ],
)
def test_a_score_that_is_not_a_number_gives_way_to_any_other(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scores: tuple[float, ...],
    best: float,
    kept: int,
) -> None:
    """Validations after steps 2, 4 and 6; the one before the first step is never the best."""
    parts = dict.fromkeys(Validation.__dataclass_fields__, 0.5) | {"has_motion": True}
    results = (Validation(**parts | {"photo": s, "photo_still": 1.0}) for s in (0.1, *scores))
    monkeypatch.setattr(loop, "validate", lambda *_: next(results))
    out = tmp_path / "run"
    assert train.main(arguments(recipe, out, "--set", "run.validate_every=2")) == 0
    found = load_checkpoint(out / "best.pt")
    assert (found["best"], found["step"]) == (best, kept)


@pytest.mark.parametrize(("depth", "rows"), [("dispnet", 5), ("lite", 5), ("vgg12", 4)])
def test_panel_rows(wall_set: PreparedSet, depth: str, rows: int) -> None:
    network = {"depth": depth, "pretrained": False, "explainability_mask": depth == "dispnet"}
    objective = {"minimum_reprojection": True, "auto_mask": depth == "lite"}
    changes = {"width": 64, "height": 64, "network": network, "objective": objective}
    config = load_config({**changes, "data": {"prepared": ["wall"], "flip_probability": 0.0}})
    model = build_model(config.network, 64, 64)
    batch = build_batcher(config, [wall_set]).training_batch(0)
    image = panel(model, batch, config.objective)
    bar = len(captioned(np.zeros((0, 64, 3), np.uint8), ""))
    assert image.shape == (rows * (bar + 64), 64, 3) and image.dtype == np.uint8
    captions, images = np.split(image.reshape(rows, bar + 64, 64, 3), [bar], axis=1)
    assert all(caption.max() > 100 for caption in captions), "each image has a caption"
    target = batch.rgb_clean_bn3hw[0, 1].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(images[0], 255 * target, atol=0.6)
    assert model.training
    if depth == "lite":
        assert set(np.unique(images[3])) == {0, 255}
    # The palette of all other figures of depth.
    depth_hw = model.eval()(batch.rgb_bn3hw[:1], batch.K_b33[:1]).depths_b1hw[0][0, 0]
    expected = depth_hw.detach().numpy()
    assert (images[-1] == color_of_depth(expected, limits_of(known_depths(expected)))).all()


def test_history_drops_repeated_steps(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in range(1, 6):
        log.scalars(step, {"loss/total": step / 3})
    log.close()
    with (tmp_path / HISTORY).open("a") as stream:
        stream.write("6,loss/to")
    RunLog(tmp_path, first_step=3).close()
    steps, values = read_history(tmp_path / HISTORY)["loss/total"]
    assert steps.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(values, [1 / 3, 2 / 3, 1.0])


def test_validation_without_a_pose_network_scores_depth_as_predicted(
    wall_batcher: Batcher,
) -> None:
    result = validated(
        wall_batcher,
        lambda output: replace(
            output,
            depths_b1hw=[1.2 * output.depths_b1hw[0]],
            T_source_target_bs44=output.T_source_target_bs44[:, :0],
        ),
    )
    assert result.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert result.score == result.abs_rel_metric == pytest.approx(0.2, abs=1e-5)
    assert "photo" not in result.line() and "abs_rel" in result.line()
    assert "validation/photo" not in result.figures()
    assert not result.has_motion and result.alarms() == {}
