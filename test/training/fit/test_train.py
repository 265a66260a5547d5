"""Training as a user runs it, its checkpoints, and its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_runs import arguments, contents, losses

from training import plot, train
from training.batch import ModelOutput
from training.config import OptimConfig, load_config
from training.data.batcher import Batcher, build_batcher
from training.data.prefetch import BatchStream
from training.data.sequence import PreparedFrame, PreparedSet
from training.fit.average import WeightAverage
from training.fit.checkpoint import (
    CheckpointError,
    check_same_run,
    load_checkpoint,
    save_checkpoint,
    weights_of,
)
from training.fit.loop import TrainingError
from training.fit.optimizer import FusedAdam
from training.fit.panel import color_depth, panel
from training.fit.run_log import HISTORY, RunLog, read_history
from training.fit.schedule import rate_factor
from training.fit.validation import validate
from training.networks.sfm_model import build_model
from training.preparation.writer import PreparedWriter

# Whole runs


def test_a_run_leaves_what_there_is_to_look_at(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train.main(arguments(recipe, out, "--set", "run.images_every=3")) == 0
    best = load_checkpoint(out / "best.pt")
    assert best["optimizer"] is None and best["best"] is not None
    history = read_history(out / HISTORY)
    assert history["validation/score"][0].tolist() == [0, 4, 6]
    assert {"loss/photometric", "loss/gradient_norm", "rate/learning_rate"} <= history.keys()
    assert list((out / "tensorboard").glob("events.*"))
    image = tmp_path / "curve.png"
    assert plot.main(["curves", str(out), "--out", str(image)]) == 0
    assert image.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def wide(tmp_path: Path, wall_frames: Callable[..., Iterator[PreparedFrame]]) -> tuple[str, ...]:
    """Changes to the recipe: images wide enough for 16-bit convolutions on a CPU."""
    writer = PreparedWriter(tmp_path / "wide", 128, 64)
    writer.add("recording", wall_frames(8, 128, 64), "")
    writer.finish()
    return ("--set", f"data.prepared=[{tmp_path / 'wide'}]", "--set", "width=128")


def test_the_networks_may_run_in_half_precision(
    recipe: Path, tmp_path: Path, wide: tuple[str, ...]
) -> None:
    for name in ("fp32", "bf16", "fp16"):
        changes = (*wide, "--set", "optim.steps=1", "--set", f"optim.precision={name}")
        assert train.main(arguments(recipe, tmp_path / name, *changes)) == 0
    full, half, other = (losses(tmp_path / name)[1] for name in ("fp32", "bf16", "fp16"))
    assert half == pytest.approx(full, rel=0.1) and half != full
    assert other == pytest.approx(full, rel=0.02) and other not in (full, half)


def test_an_overflow_of_fp16_lowers_the_scale_and_costs_one_step(
    recipe: Path, tmp_path: Path, wide: tuple[str, ...]
) -> None:
    more = (*wide, "--set", "optim.precision=fp16", "--set", "data.validation_ratio=0")
    first, second = tmp_path / "first", tmp_path / "second"
    trainer = train.build(train.parse(arguments(recipe, first, *more)))
    trainer.model.train()
    trainer._scaler.load_state_dict({**trainer._scaler.state_dict(), "scale": 2.0**60})
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    gradient = trainer.step(trainer._batcher.training_batch(0))["gradient_norm"]
    assert not gradient.isfinite()
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.named_parameters())
    assert trainer._scaler.get_scale() == 2.0**59

    first.mkdir()
    trainer.save("last.pt")
    second.mkdir()
    (second / "last.pt").write_bytes((first / "last.pt").read_bytes())
    resumed = train.build(train.parse(arguments(recipe, second, *more, "--resume")))
    assert resumed._scaler.get_scale() == 2.0**59
    resumed._scaler.load_state_dict({**resumed._scaler.state_dict(), "scale": 0.5})
    broken = trainer._batcher.training_batch(0)
    broken.rgb_bn3hw[:] = math.nan
    with pytest.raises(TrainingError, match="train in bf16 or fp32"):
        resumed.step(broken)


@pytest.mark.slow
def test_a_compiled_model_trains_alike(recipe: Path, tmp_path: Path) -> None:
    for name in ("true", "false"):
        changes = ("--set", "optim.steps=3", "--set", f"run.compile={name}")
        assert train.main(arguments(recipe, tmp_path / name, *changes)) == 0
    compiled, eager = losses(tmp_path / "true"), losses(tmp_path / "false")
    assert list(compiled.values()) == pytest.approx(list(eager.values()), rel=1e-3)
    assert load_checkpoint(tmp_path / "true" / "last.pt")["model"].keys() == (
        load_checkpoint(tmp_path / "false" / "last.pt")["model"].keys()
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("compiled", ["false", "true"])
def test_a_gpu_trains_as_a_cpu_does(
    recipe: Path, tmp_path: Path, wide: tuple[str, ...], precision: str, compiled: str
) -> None:
    changes = (*wide, "--set", "optim.steps=3")
    assert train.main(arguments(recipe, tmp_path / "cpu", *changes)) == 0
    cuda = ("run.device=cuda", f"optim.precision={precision}", f"run.compile={compiled}")
    more = [text for change in cuda for text in ("--set", change)]
    assert train.main(arguments(recipe, tmp_path / "gpu", *changes, *more)) == 0
    assert losses(tmp_path / "gpu")[1] == pytest.approx(losses(tmp_path / "cpu")[1], rel=0.1)


@pytest.fixture
def one_step(recipe: Path, tmp_path: Path) -> Path:
    """The checkpoint of a run of one step."""
    assert train.main(arguments(recipe, tmp_path / "first", "--set", "optim.steps=1")) == 0
    return tmp_path / "first" / "last.pt"


def test_a_run_may_begin_with_the_networks_of_another(
    recipe: Path, one_step: Path, tmp_path: Path
) -> None:
    begin = ["--init", str(one_step), "--init-networks", "depth"]
    trainer = train.build(train.parse(arguments(recipe, tmp_path / "second", *begin)))
    other = weights_of(load_checkpoint(one_step))
    same = {key: torch.equal(v, other[key]) for key, v in trainer.model.state_dict().items()}
    assert all(value for key, value in same.items() if key.startswith("depth_net."))
    fresh = train.build(train.parse(arguments(recipe, tmp_path / "third")))
    began = {key: torch.equal(v, other[key]) for key, v in fresh.model.state_dict().items()}
    assert not all(value for key, value in began.items() if key.startswith("depth_net."))


def test_networks_of_another_shape_are_refused(
    recipe: Path, one_step: Path, tmp_path: Path
) -> None:
    other = ["--set", "network.depth=dispnet", "--init", str(one_step)]
    with pytest.raises(CheckpointError, match="the depth network of .*last.pt is another one"):
        train.build(train.parse(arguments(recipe, tmp_path / "out", *other)))


def test_a_finished_run_is_not_overwritten(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert train.main(arguments(recipe, out, "--set", "optim.steps=1", "--resume", "auto")) == 0
    assert train.main(arguments(recipe, out)) == 1
    assert "--resume" in capsys.readouterr().err
    changed = arguments(recipe, out, "--resume", "--set", "optim.learning_rate=0.5")
    assert train.main(changed) == 1
    assert "optim.learning_rate: 0.0001 in the checkpoint, 0.5" in capsys.readouterr().err
    assert train.main(arguments(recipe, out, "--resume", "--set", "optim.steps=2")) == 0
    assert load_checkpoint(out / "last.pt")["step"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "optim.stepz=3"], "optim.stepz"),
        (["--resume"], "no checkpoint"),
        (["--set", "data.prepared=[]"], "data.prepared"),
        (["--set", "data.prepared=[/nowhere]"], "/nowhere"),
        (["--set", "run.device=abacus"], "run.device"),
    ],
)
def test_a_mistake_is_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert train.main(arguments(recipe, tmp_path / "run", *more)) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


# Checkpoints


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, contents(1))
    path.write_bytes(path.read_bytes()[:-500] if damage is None else damage)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(path)


def test_only_harmless_settings_may_change(tmp_path: Path) -> None:
    config = load_config({})
    harmless = load_config({}, ["optim.steps=1", "run.threads=3", "run.images_every=7"])
    check_same_run(tmp_path, contents(1), harmless)
    with pytest.raises(CheckpointError, match="run.seed: 0 in the checkpoint, 5 asked for"):
        check_same_run(tmp_path, contents(1), replace(config, run=replace(config.run, seed=5)))


def test_the_average_is_what_is_exported() -> None:
    both = {**contents(1), "average": {"weight": torch.zeros(1)}}
    assert weights_of(both) is both["average"]
    assert weights_of(contents(1))["weight"][0] == 1.0


# Parts


def test_the_step_schedule_gives_the_published_rates() -> None:
    optim = OptimConfig(learning_rate=2e-4, decay_every=25_000, decay_factor=0.65)
    rates = [2e-4 * rate_factor(optim, step) for step in range(0, 200_000, 25_000)]
    printed = [2.00e-4, 1.30e-4, 8.45e-5, 5.49e-5, 3.57e-5, 2.32e-5, 1.51e-5, 9.80e-6]
    assert rates == pytest.approx(printed, rel=2e-3)
    assert rate_factor(OptimConfig(), 10_000) == 1.0


def test_the_cosine_schedule_begins_and_ends_where_it_says() -> None:
    optim = OptimConfig(schedule="cosine", steps=100)
    assert rate_factor(optim, 0) == 1.0
    assert rate_factor(optim, 50) == pytest.approx(0.51)
    assert rate_factor(optim, 100) == pytest.approx(0.02)


def test_the_optimizer_is_adam_whatever_the_layout() -> None:
    shapes = ((8, 6, 3, 3), (4, 1, 3, 3), (5, 7, 1, 1), (9,))

    def weights() -> list[nn.Parameter]:
        torch.manual_seed(0)
        made = [torch.randn(shape) for shape in shapes]
        return [
            nn.Parameter(w.to(memory_format=torch.channels_last) if w.dim() == 4 else w)
            for w in made
        ]

    mine, theirs = weights(), weights()
    own = FusedAdam(mine, lr=0.01, beta1=0.8)
    reference = torch.optim.Adam(theirs, lr=0.01, betas=(0.8, 0.999))
    for _ in range(4):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = torch.randn(a.shape)  # in another layout than its weight
            b.grad = a.grad.clone()
            if torch.rand(()) < 0.5:
                a.grad = torch.empty_like(a).copy_(a.grad)
        own.step()
        reference.step()
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(own.state[a]["exp_avg"], reference.state[b]["exp_avg"])


def test_the_average_follows_its_formula() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, decay=0.5)
    expected = 1.0
    for step in range(20):
        with torch.no_grad():
            model.weight.fill_(step)
        model.state_dict()["num_batches_tracked"].fill_(step)
        average.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.state_dict()["weight"]) == pytest.approx(expected, rel=1e-6)
    assert int(average.state_dict()["num_batches_tracked"]) == 19
    kept = average.swap_in(model)
    assert float(model.weight.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(kept["weight"]) == 19.0


def test_a_device_gets_the_batches_a_cpu_would_get(wall_set: PreparedSet) -> None:
    batcher = small_batcher(wall_set)
    stream = BatchStream(batcher, 3, 12, torch.device("meta"))
    with stream as batches:
        count = sum(1 for _ in batches)
    assert count == 9
    with BatchStream(batcher, 3, 5, torch.device("cpu")) as batches:
        first = next(iter(batches))
    assert torch.equal(first.rgb_bn3hw, batcher.training_batch(3).rgb_bn3hw)


def small_batcher(wall_set: PreparedSet) -> Batcher:
    config = {"width": 64, "height": 64, "data": {"prepared": ["wall"], "validation_ratio": 0.2}}
    return build_batcher(load_config(config), [wall_set])


def told(batcher: Batcher, change: Callable[[ModelOutput], ModelOutput]) -> Any:
    """Validate a model that knows the ground truth of the held-out windows, and then tells this of it."""
    windows = batcher.sampler.validation(8)
    parts = iter([windows[:4], windows[4:]])

    def model(_: Tensor) -> ModelOutput:
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


def test_validation_of_the_ground_truth(wall_set: PreparedSet) -> None:
    result = told(small_batcher(wall_set), lambda output: output)
    assert result.score < 0.1
    assert result.abs_rel == result.abs_rel_metric == 0.0
    assert result.yaw_correlation == pytest.approx(1.0)
    assert result.translation_correlation == pytest.approx(1.0)
    assert "yaw corr 1.00" in result.line()


def test_validation_scales_depth_by_its_median(wall_set: PreparedSet) -> None:
    result = told(
        small_batcher(wall_set),
        lambda output: replace(output, depths_b1hw=[3.0 * output.depths_b1hw[0]]),
    )
    assert result.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert result.abs_rel_metric == pytest.approx(2.0, abs=1e-5)


def test_a_turned_motion_is_anticorrelated(wall_set: PreparedSet) -> None:
    result = told(
        small_batcher(wall_set),
        lambda output: replace(
            output, T_source_target_bs44=torch.linalg.inv(output.T_source_target_bs44)
        ),
    )
    assert result.yaw_correlation == pytest.approx(-1.0)
    assert result.score > 0.5


def test_a_collapsed_model_raises_the_alarms(wall_set: PreparedSet) -> None:
    result = told(
        small_batcher(wall_set),
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


def test_the_history_forgets_what_is_done_again(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(("depth", "rows"), [("dispnet", 5), ("lite", 5), ("vgg12", 4)])
def test_the_panel_shows_what_the_loss_sees(wall_set: PreparedSet, depth: str, rows: int) -> None:
    network = {"depth": depth, "pretrained": False, "explainability_mask": depth == "dispnet"}
    objective = {"minimum_reprojection": True, "auto_mask": depth == "lite"}
    changes = {"width": 64, "height": 64, "network": network, "objective": objective}
    config = load_config({**changes, "data": {"prepared": ["wall"], "flip_probability": 0.0}})
    model = build_model(config.network, 64, 64)
    batch = build_batcher(config, [wall_set]).training_batch(0)
    image = panel(model, batch, config.objective)
    assert image.shape == (3, rows * 64, 64)
    assert float(image.min()) >= 0.0 and float(image.max()) <= 1.0
    assert torch.equal(image[:, :64], batch.rgb_clean_bn3hw[0, 1])
    assert model.training
    if depth == "lite":
        moving = image[0, 3 * 64 : 4 * 64]
        assert set(moving.unique().tolist()) == {0.0, 1.0}


def test_near_is_bright() -> None:
    image = color_depth(torch.linspace(1, 50, 100).view(1, 10, 10))
    assert image.shape == (3, 10, 10)
    brightness = image.mean(0).flatten()
    assert float(brightness[0]) > float(brightness[-1]) + 0.2


def test_a_curve_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plot.main(["curves", str(tmp_path), "--out", str(tmp_path / "a.png")]) == 1
    assert "is no run" in capsys.readouterr().err
    np.testing.assert_allclose(plot.smooth(np.full(5, 3.0), 0.9), 3.0)
