"""Whole training runs as a user starts them, and their checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tensorboard", reason="tensorboard is not installed")

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import arguments, contents, losses
from wall import wall_frames
from writers.trees import snapshot

from sfm_ros.outputs.marker import MARKER
from training import plot, train
from training.config import load_config
from training.data.batcher import Batcher
from training.data.prefetch import BatchStream
from training.distributed import DistributedContext
from training.fit.checkpoint import (
    CheckpointError,
    check_same_run,
    load_checkpoint,
    save_checkpoint,
    weights_of,
)
from training.fit.loop import TrainingError
from training.fit.run_log import HISTORY, read_history
from training.preparation.writer import PreparedWriter

# Whole runs


def test_run_writes_checkpoints_and_logs(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train.main(arguments(recipe, out, "--set", "run.images_every=3")) == 0
    best = load_checkpoint(out / "best.pt")
    assert best["optimizer"] is None and best["best"] is not None
    history = read_history(out / HISTORY)
    assert history["validation/score"][0].tolist() == [0, 4, 6]
    assert {"loss/photometric", "loss/gradient_norm", "rate/learning_rate"} <= history.keys()
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    assert [event.step for event in events.Images("panel")] == [0, 3, 6]
    image = tmp_path / "curve.png"
    assert plot.main(["curves", str(out), "--out", str(image)]) == 0
    assert image.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def wide(tmp_path: Path) -> tuple[str, ...]:
    """Changes to the recipe: images wide enough for 16-bit convolutions on a CPU."""
    writer = PreparedWriter(tmp_path / "wide", 128, 64)
    writer.add("recording", wall_frames(8, 128, 64), "")
    writer.finish()
    return ("--set", f"data.prepared=[{tmp_path / 'wide'}]", "--set", "width=128")


def test_half_precision_trains_alike(recipe: Path, tmp_path: Path, wide: tuple[str, ...]) -> None:
    for name in ("fp32", "bf16", "fp16"):
        changes = (*wide, "--set", "optim.steps=1", "--set", f"optim.precision={name}")
        assert train.main(arguments(recipe, tmp_path / name, *changes)) == 0
    full, half, other = (losses(tmp_path / name)[1] for name in ("fp32", "bf16", "fp16"))
    assert half == pytest.approx(full, rel=0.1) and half != full
    assert other == pytest.approx(full, rel=0.02) and other not in (full, half)


def test_fp16_overflow_lowers_scale_and_skips_step(
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
def test_compiled_model_trains_alike(recipe: Path, tmp_path: Path) -> None:
    for name in ("true", "false"):
        changes = ("--set", "optim.steps=3", "--set", f"run.compile={name}")
        assert train.main(arguments(recipe, tmp_path / name, *changes)) == 0
    compiled, eager = losses(tmp_path / "true"), losses(tmp_path / "false")
    assert list(compiled.values()) == pytest.approx(list(eager.values()), rel=1e-3)
    assert load_checkpoint(tmp_path / "true" / "last.pt")["model"].keys() == (
        load_checkpoint(tmp_path / "false" / "last.pt")["model"].keys()
    )


@pytest.mark.parametrize("requested", ["auto", "cuda"])
def test_a_gpu_is_named_by_its_number(monkeypatch: pytest.MonkeyPatch, requested: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = load_config({"run": {"device": requested}})
    alone, second = DistributedContext(), DistributedContext(1, 2, 1, launched=True)
    assert train.device_name(config, alone) == "cuda:0"  # torch refuses a GPU without a number
    assert train.device_name(config, second) == "cuda:1"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("compiled", ["false", "true"])
def test_gpu_trains_like_cpu(
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


def test_init_loads_networks_of_another_run(recipe: Path, one_step: Path, tmp_path: Path) -> None:
    init = ["--init", str(one_step), "--init-networks", "depth"]
    trainer = train.build(train.parse(arguments(recipe, tmp_path / "second", *init)))
    other = weights_of(load_checkpoint(one_step))
    same = {key: torch.equal(v, other[key]) for key, v in trainer.model.state_dict().items()}
    assert all(value for key, value in same.items() if key.startswith("depth_net."))
    fresh = train.build(train.parse(arguments(recipe, tmp_path / "third")))
    same = {key: torch.equal(v, other[key]) for key, v in fresh.model.state_dict().items()}
    assert not all(value for key, value in same.items() if key.startswith("depth_net."))


def test_init_notes_lengths_of_another_height(
    recipe: Path, one_step: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = ["--init", str(one_step), "--init-networks", "depth"]
    train.build(train.parse(arguments(recipe, tmp_path / "same", *init)))
    assert "the lengths of" not in capsys.readouterr().out
    other = ["--set", "network.canonical_height=1.65", *init]
    train.build(train.parse(arguments(recipe, tmp_path / "other", *other)))
    text = (
        "last.pt are those of a camera wherever it is, this recipe's of one 1.65 m above the road"
    )
    assert text in capsys.readouterr().out


def test_init_refuses_networks_of_another_shape(
    recipe: Path, one_step: Path, tmp_path: Path
) -> None:
    other = ["--set", "network.depth=dispnet", "--init", str(one_step)]
    with pytest.raises(CheckpointError, match="the depth network of .*last.pt differs"):
        train.build(train.parse(arguments(recipe, tmp_path / "out", *other)))


def test_finished_run_is_not_overwritten(
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


def test_run_of_version_0_1_is_resumed(
    recipe: Path, one_step: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no marker, but a checkpoint; a file that is certainly not its own is kept."""
    out, more = one_step.parent, ("--resume", "--set", "optim.steps=2")
    history = (out / HISTORY).read_text()
    (out / MARKER).unlink()
    (out / HISTORY).write_text("mine")
    assert train.main(arguments(recipe, out, *more)) == 1
    assert "history.csv was not written by an earlier run" in capsys.readouterr().err
    assert (out / HISTORY).read_text() == "mine"
    (out / HISTORY).write_text(history)
    assert train.main(arguments(recipe, out, *more)) == 0
    assert load_checkpoint(one_step)["step"] == 2 and (out / MARKER).is_file()


@pytest.mark.parametrize("folder", ["tensorboard", "elsewhere"])
def test_link_in_a_run_is_not_followed(recipe: Path, one_step: Path, folder: str) -> None:
    out = one_step.parent
    (out / "tensorboard").rename(out.parent / "elsewhere")
    (out / folder).symlink_to(out.parent / "elsewhere")
    before = snapshot(out.parent / "elsewhere")
    status = train.main(arguments(recipe, out, "--resume", "--set", "optim.steps=2"))
    assert status == (1 if folder == "tensorboard" else 0)
    assert snapshot(out.parent / "elsewhere") == before


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
def test_mistake_is_reported_in_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert train.main(arguments(recipe, tmp_path / "run", *more)) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_device_gets_same_batches_as_cpu(wall_batcher: Batcher) -> None:
    with BatchStream(wall_batcher, 3, 12, torch.device("meta")) as batches:
        assert sum(1 for _ in batches) == 9
    with BatchStream(wall_batcher, 3, 5, torch.device("cpu")) as batches:
        first = next(iter(batches))
    assert torch.equal(first.rgb_bn3hw, wall_batcher.training_batch(3).rgb_bn3hw)


# Checkpoints


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_damaged_checkpoint_is_reported(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, contents(1))
    path.write_bytes(path.read_bytes()[:-500] if damage is None else damage)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_checkpoint(path)


def test_resume_allows_harmless_changes_only(tmp_path: Path) -> None:
    config = load_config({})
    harmless = load_config({}, ["optim.steps=1", "run.threads=3", "run.images_every=7"])
    check_same_run(tmp_path, contents(1), harmless)
    with pytest.raises(CheckpointError, match="run.seed: 0 in the checkpoint, 5 requested"):
        check_same_run(tmp_path, contents(1), replace(config, run=replace(config.run, seed=5)))


def test_average_is_exported() -> None:
    both = {**contents(1), "average": {"weight": torch.zeros(1)}}
    assert weights_of(both) is both["average"]
    assert weights_of(contents(1))["weight"][0] == 1.0


def test_curve_of_empty_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot.main(["curves", str(tmp_path), "--out", str(tmp_path / "a.png")]) == 1
    assert "is no run" in capsys.readouterr().err
    np.testing.assert_allclose(plot.smooth(np.full(5, 3.0), 0.9), 3.0)
