"""Two processes that split a batch train like one that has it alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import shared_runs
import torch
from torch import Tensor, nn
from training_runs import arguments, losses, wait_for_step
from wall import wall_frames

from training import train
from training.data.sequence import PreparedSet
from training.fit.checkpoint import load_checkpoint
from training.fit.run_log import HISTORY, read_history
from training.preparation.writer import PreparedWriter

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="this torch has no torch.distributed"
)
BASE = """
width: 64
height: 64
data: {{prepared: ["{ground_truth}", "{blind}"], set_ratios: [0.5, 0.5], validation_ratio: 0.0}}
run: {{device: cpu, threads: 1, scalars_every: 1, checkpoint_every: 50}}
"""
# The learning rates are low, so that differences in rounding are not amplified beyond the bounds
# below: the first losses agree to 1e-7, those after ten steps of 2e-4 to some 1e-5.
MASKED = (
    BASE
    + """
network: {{depth: dispnet, explainability_mask: true}}
objective:
  mask_weight: 0.2
  smoothness_weight: 0.1
  depth_supervision_weight: 0.1
  pose_supervision_weight: 0.1
  velocity_weight: 0.1
optim: {{steps: 10, batch_size: 4, learning_rate: 1.0e-4, gradient_clip: 1.0}}
"""
)
NORMALIZED = (
    BASE
    + """
network: {{depth: lite, scales: 2}}
objective:
  l1_weight: 0.15
  ssim_weight: 0.85
  minimum_reprojection: true
  smoothness: edge_aware
  smoothness_weight: 0.01
  consistency_weight: 0.1
  depth_supervision_weight: 0.1
optim: {{steps: 10, batch_size: 8, learning_rate: 1.0e-5}}
"""
)


@pytest.fixture(scope="module")
def torchrun(repository: Path) -> Callable[..., subprocess.Popen[str]]:
    """``torchrun(script, *arguments)``: two processes on this machine."""

    def start_processes(*command: str) -> subprocess.Popen[str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
        return subprocess.Popen(
            [*launcher, "--master-port", str(port), *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=repository,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)},
        )

    return start_processes


@pytest.fixture(scope="module")
def blind_set(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """A set without ground truth: the parts of a batch differ in how many windows have it."""
    writer = PreparedWriter(tmp_path_factory.mktemp("blind"), 64, 64)
    writer.add("recording", wall_frames(30, ground_truth=False), "closed form")
    return writer.finish()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
    torchrun: Callable[..., subprocess.Popen[str]],
    wall_set: PreparedSet,
    blind_set: PreparedSet,
) -> dict[str, tuple[Path, Path]]:
    """``{name: (recipe, folder of the run of two processes)}``; one start of torchrun for all."""
    folder, runs, names = tmp_path_factory.mktemp("shared"), {}, []
    for name, text in (("masked", MASKED), ("normalized", NORMALIZED)):
        recipe, out = folder / f"{name}.yaml", folder / name
        recipe.write_text(text.format(ground_truth=wall_set.path, blind=blind_set.path))
        runs[name] = recipe, out
        names += [str(recipe), str(out)]
    process = torchrun(shared_runs.__file__, *names)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return runs


def check_same_losses(together: Path, alone: Path) -> None:
    """The first losses of two runs agree to 1e-5, the first terms to 2e-5.

    Convolutions of half a batch round differently, how much depends on the processor, and every
    step of Adam adds to it: after five steps the bound is that of the steps after a resume.
    """
    mine, theirs = (read_history(out / HISTORY) for out in (alone, together))
    assert mine.keys() == theirs.keys()
    for name in (name for name in mine if name.startswith("loss/")):
        if name == "loss/total":
            expected, found = mine[name][1][:10], theirs[name][1][:10]
            assert len(set(expected)) == 10
            np.testing.assert_allclose(found[:5], expected[:5], rtol=1e-5)
            np.testing.assert_allclose(found, expected, rtol=1e-4)
        # Rounding affects the gradient more than the loss.
        tolerance = 1e-3 if name == "loss/gradient_norm" else 2e-5
        assert theirs[name][1][0] == pytest.approx(mine[name][1][0], rel=tolerance), name


def test_two_processes_match_one_and_resume_as_one(
    shared: dict[str, tuple[Path, Path]], tmp_path: Path, keep_process_state: None
) -> None:
    recipe, together = shared["masked"]
    more = ("--set", "optim.steps=12")
    assert train.main(arguments(recipe, tmp_path / "alone", *more)) == 0
    check_same_losses(together, tmp_path / "alone")

    assert train.main(arguments(recipe, together, *more, "--resume")) == 0
    mine, theirs = losses(tmp_path / "alone"), losses(together)
    assert sorted(theirs) == sorted(mine) == list(range(1, 13))
    assert [theirs[11], theirs[12]] == pytest.approx([mine[11], mine[12]], rel=1e-4)


def test_two_processes_match_one_with_batch_norm(
    shared: dict[str, tuple[Path, Path]], tmp_path: Path, keep_process_state: None
) -> None:
    recipe, together = shared["normalized"]
    assert train.main(arguments(recipe, tmp_path / "alone")) == 0
    check_same_losses(together, tmp_path / "alone")


def test_signal_to_one_process_stops_all(
    recipe: Path, torchrun: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    more = ("--set", "optim.steps=100000", "--set", "run.validate_every=100000")
    process = torchrun("training/train.py", *arguments(recipe, out, *more))
    try:
        wait_for_step(process, out, 2)
        os.kill(process_of_rank(1, process.pid), signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
    step = load_checkpoint(out / "last.pt")["step"]
    assert max(losses(out)) == step
    assert f"stopped at step {step}" in stdout and "--resume" in stdout
    assert "torchrun --nproc-per-node 2" in stdout
    assert "RuntimeError" not in stderr


def process_of_rank(rank: int, launcher: int) -> int:
    """The process that torchrun started for a rank."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        for child in children:
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            if f"RANK={rank}".encode() in environment:
                return int(child)
        time.sleep(0.1)
    raise AssertionError(f"torchrun started no process of rank {rank}")


def test_indivisible_batch_is_refused(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "3"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(Exception, match="optim.batch_size.*multiple of 3"):
        train.build(train.parse(arguments(recipe, tmp_path / "run")))


BATCH_NORM = """
import sys
import torch
from torch import nn
from training.distributed import synchronize_batch_norm
from training.distributed import DistributedContext, joined, shared_count
context = DistributedContext.of_this_process()
with joined(context):
    x, g, model = torch.load(sys.argv[1], weights_only=False)
    synchronize_batch_norm(model, torch.device("cpu"))
    mine = slice(2 * context.rank, 2 * context.rank + 2)
    part = x[mine].clone().requires_grad_()
    output = model(part)
    (output * g[mine]).sum().backward()
    count = shared_count(torch.tensor(3 * context.rank))
    result = (output.detach(), part.grad, model[0].weight.grad, model.state_dict(), count)
    torch.save(result, f"{sys.argv[1]}.{context.rank}")
"""


def test_batch_norm_covers_batch_of_all_processes(
    torchrun: Callable[..., subprocess.Popen[str]], tmp_path: Path, repository: Path
) -> None:
    torch.manual_seed(0)
    x, g = 3 * torch.randn(4, 8, 5, 7) + 2, torch.randn(4, 8, 5, 7)
    model = nn.Sequential(nn.BatchNorm2d(8, eps=1e-3, momentum=0.02))
    nn.init.normal_(model[0].weight)
    script, given = tmp_path / "norm.py", tmp_path / "given"
    script.write_text(f"import sys; sys.path.insert(0, {str(repository)!r})\n{BATCH_NORM}")
    torch.save((x, g, model), given)
    process = torchrun(str(script), str(given))
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    parts = [torch.load(f"{given}.{rank}", weights_only=False) for rank in range(2)]

    whole = x.clone().requires_grad_()
    output = model(whole)
    (output * g).sum().backward()

    def same(found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)

    same(torch.cat([part[0] for part in parts]), output.detach())
    same(torch.cat([part[1] for part in parts]), whole.grad)
    same(parts[0][2] + parts[1][2], model[0].weight.grad)
    for part in parts:
        assert part[3].keys() == model.state_dict().keys()
        for key, value in model.state_dict().items():
            same(part[3][key], value)
        assert float(part[4]) == 1.5
