"""Training that is stopped, killed, out of disk or diverging leaves a run that can be resumed."""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from torch import Tensor
from training_runs import arguments, assert_same, contents, full_disk, losses, start, wait_for_step

from training import train
from training.batch import Batch, ModelOutput
from training.fit.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from training.fit.run_log import RunLog
from training.losses.objective import Objective


def test_killed_run_resumes_bit_equal(repository: Path, recipe: Path, tmp_path: Path) -> None:
    changes = ("optim.steps=62", "run.validate_every=30", "run.checkpoint_every=100")
    more = [text for change in changes for text in ("--set", change)]
    often = ("--set", "run.checkpoint_every=3")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(repository, *arguments(recipe, killed, *more, *often))
    wait_for_step(process, killed, random.randint(4, 8))
    time.sleep(random.uniform(0.0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    resumed_at = load_checkpoint(killed / "last.pt")["step"]
    assert resumed_at <= 12, "too late: 50 losses are to be compared"

    assert train.main(arguments(recipe, killed, *more, "--resume")) == 0
    assert train.main(arguments(recipe, whole, *more)) == 0
    assert sorted(losses(whole)) == list(range(1, 63))
    assert losses(killed) == losses(whole), f"killed after step {resumed_at}"
    first, second = (load_checkpoint(out / "last.pt") for out in (killed, whole))
    assert_same(first, second)
    assert len(set(losses(whole).values())) > 50


def test_ctrl_c_saves_and_prints_resume_command(
    repository: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(repository, *arguments(recipe, out, "--set", "optim.steps=100000"))
    wait_for_step(process, out, 1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "--resume" in stdout and str(out / "last.pt") in stdout
    assert "Traceback" not in stderr
    step = load_checkpoint(out / "last.pt")["step"]
    assert 1 <= step < 100000 and f"step {step}" in stdout


TERMINATED = """
import signal, sys
from training import train

class Terminated(train.Objective):
    calls = 0

    def __call__(self, batch, output):
        self.calls += 1
        if self.calls == 3:
            signal.raise_signal(signal.SIGTERM)
        return super().__call__(batch, output)

train.Objective = Terminated
sys.exit(train.main(sys.argv[1:]))
"""


def test_sigterm_saves(repository: Path, recipe: Path, tmp_path: Path) -> None:
    """In a process of its own, because this one has the threads of many libraries."""
    command = [sys.executable, "-c", TERMINATED, *arguments(recipe, tmp_path / "run")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)
    assert done.returncode == 130, done.stderr
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 3


@pytest.mark.parametrize("context", ["torch.save", "os.fsync", "os.replace"])
def test_full_disk_keeps_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: str
) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(path, contents(1))
    with monkeypatch.context() as patch:
        patch.setattr(context, full_disk)
        with pytest.raises(CheckpointError, match="disk is full.*kept"):
            save_checkpoint(path, contents(2))
    assert load_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_device_is_reported(tmp_path: Path) -> None:
    """Through torch's own archive writer, which hides the cause of the error."""
    (tmp_path / "last.pt.tmp").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(tmp_path / "last.pt", contents(1))
    assert not list(tmp_path.iterdir())


def test_disk_filling_up_ends_run_with_message(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original, calls = os.replace, iter(range(100))

    def full_later(old: Path, new: Path) -> None:
        full_disk() if new.suffix == ".pt" and next(calls) == 1 else original(old, new)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full_later)
        assert train.main(arguments(recipe, tmp_path / "run")) == 1
    error = capsys.readouterr().err
    assert "the disk is full, make room" in error and "Traceback" not in error
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 2
    assert train.main(arguments(recipe, tmp_path / "run", "--resume")) == 0
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 6


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MB, which holds two checkpoints of the small network but not three."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, left: int) -> None:
    with (disk / "filler").open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, shutil.disk_usage(disk).free - left)


def test_full_file_system_is_noticed_at_the_start(
    recipe: Path, tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tiny_disk, left=80 * 2**20)
    assert train.main(arguments(recipe, tiny_disk / "run")) == 1
    error = capsys.readouterr().err
    assert re.search(r"has 79 MiB left, about 1\d\d MiB are needed; make room", error)
    assert [p.name for p in tiny_disk.iterdir()] == ["filler"]


def test_full_file_system_keeps_last_checkpoint(
    recipe: Path,
    tiny_disk: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another program fills the disk after the start."""

    class Filling(Objective):
        def __call__(self, batch: Batch, output: ModelOutput) -> tuple[Tensor, dict[str, Tensor]]:
            if not (tiny_disk / "filler").exists():
                fill(tiny_disk, left=80 * 2**20)
            return super().__call__(batch, output)

    monkeypatch.setattr(train, "Objective", Filling)
    out = tiny_disk / "run"
    assert train.main(arguments(recipe, out, "--set", "run.validate_every=100")) == 1
    error = capsys.readouterr().err
    assert "the disk is full, make room (the previous one is kept)" in error
    assert "Traceback" not in error
    kept = load_checkpoint(out / "last.pt")
    assert kept["step"] == 2
    assert not list(out.glob("*.tmp"))


def test_full_disk_ends_logging_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RunLog(tmp_path)
    monkeypatch.setattr(Path, "open", full_disk)
    log.scalars(1, {"a": 1.0})
    log.scalars(2, {"a": 1.0})
    assert capsys.readouterr().err.count("cannot be written") == 1


@pytest.mark.parametrize("broken", ["predict.bias", "convs.0.0.weight"])
def test_nan_motion_ends_run(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: str,
) -> None:
    """Sampling an image at NaN must not crash the process."""
    original = train.build_model

    def build(*args: Any) -> Any:
        model = original(*args)
        model.pose_net.get_parameter(broken).data[:] = math.nan
        return model

    monkeypatch.setattr(train, "build_model", build)
    more = ("--set", "data.validation_ratio=0", "--set", "network.pose=stacked")
    assert train.main(arguments(recipe, tmp_path / "run", *more)) == 1
    assert "not finite at step 0" in capsys.readouterr().err


def test_non_finite_loss_stops_run_and_keeps_checkpoint(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Diverging(Objective):
        calls = 0

        def __call__(self, batch: Batch, output: ModelOutput) -> tuple[Tensor, dict[str, Tensor]]:
            self.calls += 1
            total, parts = super().__call__(batch, output)
            return total * (math.nan if self.calls == 4 else 1.0), parts

    monkeypatch.setattr(train, "Objective", Diverging)
    out = tmp_path / "run"
    assert train.main(arguments(recipe, out)) == 1
    error = capsys.readouterr().err
    assert "not finite at step 3" in error and str(out / "last.pt") in error
    saved = load_checkpoint(out / "last.pt")
    assert saved["step"] == 2
    assert all(v.isfinite().all() for v in saved["model"].values())
