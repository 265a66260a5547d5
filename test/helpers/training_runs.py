"""Training runs as a user starts them, for the tests of several files."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.config import load_config, to_dict
from training.fit.run_log import HISTORY, read_history

RECIPE = """
width: 64
height: 64
network: {{depth: lite, pretrained: false, scales: 1, depth_unit: 10.0}}
objective: {{minimum_reprojection: true, auto_mask: true, depth_supervision_weight: 0.1}}
data: {{prepared: ["{prepared}"], validation_ratio: 0.2}}
optim: {{steps: 6, batch_size: 2, learning_rate: 1.0e-4, weight_average: 0.9}}
run: {{device: cpu, threads: 1, scalars_every: 1, checkpoint_every: 2, validate_every: 4}}
"""


def arguments(recipe: Path, out: Path, *more: str) -> list[str]:
    return ["--config", str(recipe), "--out", str(out), *more]


def start(repository: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(repository / "training" / "train.py"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_step(process: subprocess.Popen[str], out: Path, step: int) -> None:
    """Wait until the history contains this step; fails if the process ends before."""
    deadline = time.monotonic() + 120
    while not any(int(s) >= step for s in history_steps(out / HISTORY)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run takes too long"
        time.sleep(0.02)


def history_steps(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [row[0] for row in csv.reader(stream) if len(row) == 3 and row[0].isdigit()]


def losses(out: Path) -> dict[int, float]:
    steps, values = read_history(out / HISTORY)["loss/total"]
    return dict(zip(steps.tolist(), values.tolist(), strict=True))


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Equal to the bit, all the way down."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}/{i}")
    elif isinstance(a, Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def contents(step: int) -> dict[str, Any]:
    """A small checkpoint."""
    return {
        "config": to_dict(load_config({})),
        "model": {"weight": torch.full((1000,), float(step))},
        "average": None,
        "optimizer": None,
        "step": step,
        "best": None,
        "torch_rng": torch.get_rng_state(),
    }


def full_disk(*_: object, **__: object) -> None:
    """A system call on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")
