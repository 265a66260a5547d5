"""Training throughput: triplets per second, and the fraction of time spent waiting for data.

    python benchmarks/training_throughput.py [--prepared DIR] [--baseline DIR] [--rounds 5]
    python benchmarks/training_throughput.py --recipe training/recipes/road_small.yaml

Trains the recipe ``dispnet_mask`` (DispNet, pose network and mask, 416x128, batch 4), or another
one, for some steps in fp32 and bf16, on a prepared set or a rendered street. ``--baseline`` is a
checkout of the public PyTorch port of SfMLearner (github.com/ClementPinard/SfmLearner-Pytorch):
its own networks, losses, loader with four workers and training step then run on the same images,
with as many threads, in turns with ours, so that both meet the same disturbances; only its
displays are silenced. It needs imageio, path and scikit-image. Finally, the fastest batch size is
determined.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from sfmlearner_port import port_training

from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.machine import machine_facts
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet
from training.config import TrainConfig, load_config
from training.data.batcher import build_batcher
from training.data.prefetch import BatchStream
from training.data.sequence import PreparedFrame, PreparedSet
from training.fit.loop import Trainer
from training.losses.objective import Objective
from training.networks.sfm_model import build_model
from training.preparation.writer import PreparedWriter

RECIPE = Path(__file__).resolve().parents[1] / "training" / "recipes" / "dispnet_mask.yaml"
FRAMES = 60
REST_S = 1.5
ENDLESS = 10**9
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass
class Runner:
    """A training program and its measurements.

    Attributes:
        windows: triplets per step.
        train: does this many steps and returns the seconds spent waiting for data.
        speeds: triplets per second, one entry per round.
        waiting: fraction of the time spent waiting, one entry per round.
    """

    name: str
    windows: int
    train: Callable[[int], float]
    speeds: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)

    def measure(self, steps: int) -> None:
        """One round."""
        # The first step warms up the caches; in the pause, the loader of the baseline fills its
        # queue without taking cores from a measurement.
        time.sleep(REST_S)
        self.train(1)
        started = time.perf_counter()
        waited = self.train(steps)
        elapsed = time.perf_counter() - started
        self.speeds.append(steps * self.windows / elapsed)
        self.waiting.append(waited / elapsed)

    def line(self) -> str:
        """Median, spread and waiting."""
        return (
            f"{self.name:34}{statistics.median(self.speeds):9.2f}   "
            f"{min(self.speeds):.2f} to {max(self.speeds):.2f}   "
            f"waits {100 * statistics.median(self.waiting):.2f} %"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parse(arguments)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    try:
        with tempfile.TemporaryDirectory(prefix="sfm_benchmark_") as folder:
            work = Path(folder)
            street = options.prepared or render(options.recipe, work / "street")
            prepared = PreparedSet.open(street)
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            print_machine(device)
            print(f"{prepared.width}x{prepared.height}, {len(prepared.frames)} frames")
            compare(options, prepared, work, device)
            search(options, prepared, work, device)
    except SfmRosError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


def compare(options: Namespace, prepared: PreparedSet, work: Path, device: torch.device) -> None:
    """All in turns, round after round, at the recipe's batch size."""
    size = load_config(options.recipe).optim.batch_size
    runners = [
        ours(configured(options.recipe, prepared, size, precision), prepared, work, device)
        for precision in options.precision
    ]
    if options.baseline:
        train = port_training(options.baseline, prepared, size, work)
        runners.append(Runner("SfmLearner-Pytorch", size, train))
    for _ in range(options.rounds):
        for runner in runners:
            runner.measure(options.steps)
    print(f"{'triplets per second':34}{'median':>9}   rounds")
    for runner in runners:
        print(runner.line(), flush=True)
    if options.baseline:
        *mine, other = runners
        for runner in mine:
            ratios = [a / b for a, b in zip(runner.speeds, other.speeds, strict=True)]
            print(
                f"{runner.name} / {other.name} = {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


def search(options: Namespace, prepared: PreparedSet, work: Path, device: torch.device) -> None:
    """The batch size with the most triplets per second, in each precision."""
    for precision in options.precision:
        found: list[Runner] = []
        for size in (size for size in BATCHES if size <= options.largest_batch):
            try:
                config = configured(options.recipe, prepared, size, precision)
                runner = ours(config, prepared, work, device)
                for _ in range(2):
                    runner.measure(max(2, options.steps // 2))
            except torch.OutOfMemoryError:
                break
            found.append(runner)
            if max(r.speeds[-1] for r in found) > 1.25 * runner.speeds[-1]:
                break
        best = max(found, key=lambda runner: statistics.median(runner.speeds))
        others = ", ".join(f"{r.windows}: {statistics.median(r.speeds):.2f}" for r in found)
        print(f"best batch in {precision}: {best.windows} ({others} triplets per second)")


def configured(recipe: Path, prepared: PreparedSet, size: int, precision: str) -> TrainConfig:
    """The recipe with this one set, batch size and precision."""
    changes = (
        f"data.prepared=['{prepared.path}']",
        "data.set_ratios=[]",
        f"width={prepared.width}",
        f"height={prepared.height}",
        f"optim.batch_size={size}",
        f"optim.precision={precision}",
    )
    return load_config(recipe, changes)


def ours(config: TrainConfig, prepared: PreparedSet, work: Path, device: torch.device) -> Runner:
    """This project's training: its step and its stream of batches."""
    torch.manual_seed(0)
    model = build_model(config.network, config.width, config.height)
    batcher = build_batcher(config, [prepared], device)
    objective = Objective(config.objective)
    model.needs_source_depths = objective.needs_source_depths
    trainer = Trainer(config, model, objective, batcher, work, device)
    trainer.model.train()
    stream = BatchStream(batcher, 0, ENDLESS, device)
    batches = iter(stream)

    def train(steps: int) -> float:
        before = stream.waited_s
        for _ in range(steps):
            trainer.step(next(batches))
        if device.type == "cuda":
            torch.cuda.synchronize()
        return stream.waited_s - before

    return Runner(f"sfm_ros {config.optim.precision}", config.optim.batch_size, train)


def render(recipe: Path, folder: Path) -> Path:
    """A prepared set of a rendered street, at the size of the recipe."""
    config = load_config(recipe)
    street = SyntheticStreet(
        SyntheticConfig(width=config.width, height=config.height, frames=FRAMES)
    )
    writer = PreparedWriter(folder, config.width, config.height)
    frames = (
        PreparedFrame(
            rgb=item.frame.rgb,
            K=_matrix_of(item.frame.intrinsics),
            stamp_ns=item.frame.stamp_ns,
        )
        for item in street
    )
    writer.add("street", frames, "rendered")
    writer.finish()
    return folder


def _matrix_of(camera: Any) -> tuple[float, float, float, float]:
    return camera.fx, camera.fy, camera.cx, camera.cy


def print_machine(device: torch.device) -> None:
    """The machine of the measurement."""
    facts = {**machine_facts(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    if device.type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()))


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prepared", type=Path, help="a prepared set (else a rendered street)")
    parser.add_argument("--baseline", type=Path, help="checkout of SfmLearner-Pytorch")
    parser.add_argument(
        "--recipe", type=Path, default=RECIPE, help="of ours (default: what the baseline trains)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of turns")
    parser.add_argument("--steps", type=int, default=8, help="of each per round")
    parser.add_argument("--largest-batch", type=int, default=128, help="largest batch size to try")
    parser.add_argument(
        "--precision", nargs="+", choices=("fp32", "bf16"), default=("fp32", "bf16"),
        help="of ours; bf16 is slow on processors without it",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch, of each")
    options = parser.parse_args(arguments)
    if options.baseline and options.recipe != RECIPE:
        parser.error(f"--baseline compares with {RECIPE.name} only; drop --recipe")
    return options


if __name__ == "__main__":
    sys.exit(main())
