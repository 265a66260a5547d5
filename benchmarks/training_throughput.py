"""How fast the training is: triplets a second, and the share of the time it waits for its data.

    python benchmarks/training_throughput.py [--prepared DIR] [--rival DIR] [--rounds 5]
    python benchmarks/training_throughput.py --recipe training/recipes/road_small.yaml

Trains the recipe ``dispnet_mask`` (DispNet, pose network and mask, 416x128, batch 4), or another
one, for some steps in fp32 and bf16, on the prepared set, or on a rendered street. ``--rival`` is
a checkout of the public PyTorch port of SfMLearner (github.com/ClementPinard/SfmLearner-Pytorch).
Its own networks, losses, loader with four workers and training step then run on the same images,
with as many threads, in turns with ours, so that both meet the same disturbances; only its
displays are silenced. It needs imageio, path and scikit-image. Last, the fastest batch size is
searched.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch

from sfm_ros.errors import SfmRosError, SourceError
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
RIVAL_WORKERS = 4
"""The rival's default."""
RIVAL_DISPLAY = ("blessings", "progressbar", "tensorboardX", "utils")
REST_S = 1.5
MANY = 10**9
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass
class Runner:
    """Something that trains, and what was measured of it.

    Attributes:
        train: does so many steps and returns the seconds of them that were spent waiting.
        windows: triplets in a step.
        speeds: triplets a second, a round.
        waiting: share of the time, a round.
    """

    name: str
    windows: int
    train: Callable[[int], float]
    speeds: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)

    def measure(self, steps: int) -> None:
        """One round."""
        # What the others left in the caches is none of its business; and while it rests, the
        # rival's loader fills up its queue, at nobody's cost.
        time.sleep(REST_S)
        self.train(1)
        began = time.perf_counter()
        waited = self.train(steps)
        elapsed = time.perf_counter() - began
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
    """All in turns, a round after the other, at the recipe's batch size."""
    size = load_config(options.recipe).optim.batch_size
    runners = [
        ours(configured(options.recipe, prepared, size, precision), prepared, work, device)
        for precision in options.precision
    ]
    if options.rival:
        runners.append(rival(options.rival, prepared, size, work))
    for _ in range(options.rounds):
        for runner in runners:
            runner.measure(options.steps)
    print(f"{'triplets a second':34}{'median':>9}   rounds")
    for runner in runners:
        print(runner.line(), flush=True)
    if options.rival:
        *mine, other = runners
        for runner in mine:
            ratios = [a / b for a, b in zip(runner.speeds, other.speeds, strict=True)]
            print(
                f"{runner.name} / {other.name} = {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


def search(options: Namespace, prepared: PreparedSet, work: Path, device: torch.device) -> None:
    """The batch size with the most triplets a second, in the precision of the recipe and bf16."""
    for precision in options.precision:
        found: list[Runner] = []
        for size in (size for size in BATCHES if size <= options.largest_batch):
            try:
                config = configured(options.recipe, prepared, size, precision)
                runner = ours(config, prepared, work, device)
                runner.measure(max(2, options.steps // 2))
                runner.measure(max(2, options.steps // 2))
            except torch.OutOfMemoryError:
                break
            found.append(runner)
            if max(r.speeds[-1] for r in found) > 1.25 * runner.speeds[-1]:
                break
        best = max(found, key=lambda runner: statistics.median(runner.speeds))
        others = ", ".join(f"{r.windows}: {statistics.median(r.speeds):.2f}" for r in found)
        print(f"best batch in {precision}: {best.windows} ({others} triplets a second)")


def configured(recipe: Path, prepared: PreparedSet, size: int, precision: str) -> TrainConfig:
    """The recipe on this one set, with this batch size and precision."""
    changes = (
        f"data.prepared=['{prepared.path}']",
        "data.repeat=[]",
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
    stream = BatchStream(batcher, 0, MANY, device)
    batches = iter(stream)

    def train(steps: int) -> float:
        before = stream.waited_s
        for _ in range(steps):
            trainer.step(next(batches))
        if device.type == "cuda":
            torch.cuda.synchronize()
        return stream.waited_s - before

    return Runner(f"sfm_ros {config.optim.precision}", config.optim.batch_size, train)


def rival(checkout: Path, prepared: PreparedSet, size: int, work: Path) -> Runner:
    """The other program: its modules, its loader with its workers, its function ``train``."""
    program = import_rival(checkout)
    transforms, models = program.custom_transforms, program.models
    from datasets.sequence_folders import SequenceFolder  # type: ignore[import-not-found]

    chain = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(),
            transforms.RandomScaleCrop(),
            transforms.ArrayToTensor(),
            transforms.Normalize(mean=[0.5] * 3, std=[0.5] * 3),
        ]
    )
    folder = write_images(prepared, work / "rival")
    frames = SequenceFolder(str(folder), transform=chain, seed=0, train=True, sequence_length=3)
    loader = torch.utils.data.DataLoader(
        frames, batch_size=size, shuffle=True, num_workers=RIVAL_WORKERS, pin_memory=True
    )
    torch.manual_seed(0)
    depth = models.DispNetS().to(program.device)
    pose = models.PoseExpNet(nb_ref_imgs=2, output_exp=True).to(program.device)
    depth.init_weights()
    pose.init_weights()
    depth, pose = torch.nn.DataParallel(depth), torch.nn.DataParallel(pose)
    groups = [{"params": network.parameters(), "lr": 2e-4} for network in (depth, pose)]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999), weight_decay=0)
    settings = Namespace(
        photo_loss_weight=1.0,
        mask_loss_weight=0.2,
        smooth_loss_weight=0.1,
        rotation_mode="euler",
        padding_mode="zeros",
        print_freq=10,
        training_output_freq=0,
        batch_size=size,
        save_path=work,
        log_full="rival.csv",
    )
    waiting = _Waiting(loader)

    def train(steps: int) -> float:
        before = waiting.seconds
        screen = mock.MagicMock()
        program.train(settings, waiting, depth, pose, optimizer, steps, screen, screen)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return waiting.seconds - before

    return Runner("SfmLearner-Pytorch", size, train)


class _Waiting:
    """Batches of a loader that is never begun anew, and the seconds that they were waited for."""

    def __init__(self, loader: torch.utils.data.DataLoader) -> None:
        self._batches = self._endless(loader)
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Any]:
        while True:
            began = time.perf_counter()
            batch = next(self._batches)
            self.seconds += time.perf_counter() - began
            yield batch

    @staticmethod
    def _endless(loader: torch.utils.data.DataLoader) -> Iterator[Any]:
        while True:
            yield from loader


def import_rival(checkout: Path) -> Any:
    """Its module ``train``; what only draws and prints is replaced by nothing."""
    if not (checkout / "train.py").is_file() or not (checkout / "inverse_warp.py").is_file():
        raise SourceError(
            f"{checkout} is not a checkout of SfmLearner-Pytorch: it has no train.py"
        )
    sys.modules.update({name: mock.MagicMock() for name in RIVAL_DISPLAY})
    sys.path.insert(0, str(checkout))
    try:
        import train  # type: ignore[import-not-found]
    except ImportError as error:
        raise SourceError(
            f"{checkout} cannot be imported: {error}; pip install imageio path scikit-image"
        ) from error
    return train


def write_images(prepared: PreparedSet, folder: Path) -> Path:
    """The set in the rival's format: JPEG files and a calibration, a folder a sequence."""
    names = []
    for record in prepared.sequences:
        scene = folder / record.name.replace("/", "_")
        scene.mkdir(parents=True)
        for number in range(record.count):
            image = np.ascontiguousarray(prepared.frames[record.start + number, :, :, ::-1])
            cv2.imwrite(str(scene / f"{number:07d}.jpg"), image)
        fx, fy, cx, cy = record.K
        (scene / "cam.txt").write_text(f"{fx} 0 {cx}\n0 {fy} {cy}\n0 0 1\n")
        names.append(scene.name)
    # So often that its workers need not be started anew within the measurement.
    repeats = 1 + 20_000 // len(prepared.frames)
    (folder / "train.txt").write_text("".join(f"{name}\n" for name in names * repeats))
    return folder


def render(recipe: Path, folder: Path) -> Path:
    """A prepared set of a rendered street, in the size of the recipe."""
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
    """What the figures were measured on."""
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
    parser.add_argument("--rival", type=Path, help="checkout of SfmLearner-Pytorch")
    parser.add_argument(
        "--recipe", type=Path, default=RECIPE, help="of ours (default: what the rival trains)"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often they take turns")
    parser.add_argument("--steps", type=int, default=8, help="of each in a round")
    parser.add_argument("--largest-batch", type=int, default=128, help="to try")
    parser.add_argument(
        "--precision", nargs="+", choices=("fp32", "bf16"), default=("fp32", "bf16"),
        help="of ours; bf16 is slow where the processor has none",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of torch, of each")
    options = parser.parse_args(arguments)
    if options.rival and options.recipe != RECIPE:
        parser.error(f"--rival trains what {RECIPE.name} does: no other --recipe compares with it")
    return options


if __name__ == "__main__":
    sys.exit(main())
