"""Train depth and motion from video.

    python training/train.py --config training/recipes/road_small.yaml --out runs/road_small

``--set optim.steps=100`` overrides single values of the recipe; ``--resume`` continues a run that
was stopped or killed; ``--init`` starts with the networks of another run or of a bundle (to
fine-tune a shipped model on your own video); Ctrl-C finishes the step, saves and stops.

Several GPUs, or processes, split every batch; the recipe's batch size is that of all together:

    torchrun --nproc-per-node 2 training/train.py --config ... --out ...
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from sfm_ros.cli.program import program_parser, reason_of
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.errors import ConfigError, SfmRosError
from sfm_ros.outputs.folder import OutputFolder, named_paths, require_room
from sfm_ros.safety.interrupts import INTERRUPTED
from sfm_ros.safety.own_process import own_process
from training.config import TrainConfig, load_config
from training.data.batcher import Batcher, build_batcher
from training.data.sequence import PreparedSet
from training.distributed import DistributedContext, joined
from training.fit.checkpoint import BEST, LAST, CheckpointError, load_checkpoint, load_networks
from training.fit.loop import Trainer
from training.fit.run_log import HISTORY, is_history
from training.losses.objective import Objective
from training.networks.sfm_model import SfmModel, build_model

PROGRAM = "train.py"
RUN_FILES = (HISTORY, *(n for name in (LAST, BEST) for n in (name, f"{name}.tmp")))
"""What a run writes, besides the event files of TensorBoard, which have a new name each time."""
_EVENTS = "tensorboard/events"
"""Stands for these: their folder must not be a link."""
_STATES = 3
"""Copies of the weights in a checkpoint: themselves and the two moments of Adam."""

_STATISTICS_WINDOWS = 64
"""That give a bundle's batch normalizations their statistics, which an export does not keep."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 0 done, 130 stopped and saved, 1 failed."""
    context = DistributedContext.of_this_process()
    if arguments is None and not context.launched:  # else torchrun kills processes itself
        own_process("train")
    options = parse(arguments)
    try:
        with joined(context):
            trainer, done = _run(options, context)
    except (SfmRosError, OSError, MemoryError) as error:
        if context.first:
            print(f"train: ERROR: {reason_of(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped before the first step; nothing was saved", file=sys.stderr)
        return INTERRUPTED
    if context.first:
        _print_end(trainer, options, done)
    return 0 if done else INTERRUPTED


def _run(options: argparse.Namespace, context: DistributedContext) -> tuple[Trainer, bool]:
    """Train, in the folder that the first process claims; whether the last step was reached."""
    if not context.first:
        trainer = build(options)
        _stop_on_signals(trainer)
        return trainer, trainer.run()
    with claim(options) as folder:
        trainer = build(options)
        _stop_on_signals(trainer)
        require_room(options.out, _room(trainer))
        folder.begin(RUN_FILES)
        done = trainer.run()
        if done:
            folder.complete()
    return trainer, done


def claim(options: argparse.Namespace) -> OutputFolder:
    """The folder of the run, to be entered by the process that writes.

    Raises:
        CheckpointError: it holds a run that is not to be continued.
        ConfigError: the recipe cannot be read.
    """
    _check_resumed(options)
    sets = map(Path, load_config(options.config, options.set).data.prepared)
    inputs, planned = [*named_paths(options, "out"), *sets], (*RUN_FILES, _EVENTS)
    recognize = _recognized if options.resume else None
    return OutputFolder(options.out, PROGRAM, inputs, planned, recognize)


def _recognized(folder: Path) -> list[str]:
    """The files of a run of version 0.1 that can be resumed."""
    if not (folder / LAST).is_file():
        return []
    load_checkpoint(folder / LAST)
    is_ours = (folder / HISTORY).is_file() and is_history(folder / HISTORY)
    return [name for name in RUN_FILES if name != HISTORY or is_ours]


def _room(trainer: Trainer) -> int:
    """Bytes of the checkpoints that are written beside the ones that exist."""
    weights = sum(p.numel() * p.element_size() for p in trainer.model.parameters())
    missing = sum(not (trainer.out / name).is_file() for name in (LAST, BEST))
    return _STATES * weights * max(missing, 1)


def _check_resumed(options: argparse.Namespace) -> bool:
    """Whether the folder holds a run; CheckpointError if that is not to be continued."""
    exists = (options.out / LAST).is_file()
    if exists and not options.resume:
        raise CheckpointError(
            f"{options.out} already holds a run; continue it with --resume, or choose another "
            "--out"
        )
    return exists


def build(options: argparse.Namespace) -> Trainer:
    """The trainer of a command line, resumed if requested."""
    config = load_config(options.config, options.set)
    exists = _check_resumed(options)
    if not config.data.prepared:
        raise ConfigError("'data.prepared' is empty; give a folder written by prepare.py")
    context = DistributedContext.of_this_process()
    device = _device(config, context)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    torch.manual_seed(config.run.seed)
    sets = [PreparedSet.open(path) for path in config.data.prepared]
    batcher = build_batcher(config, sets, device, context.rank, context.world)
    model = build_model(config.network, config.width, config.height)
    if options.init and not exists:
        start_with(options.init, model, options.init_networks, batcher)
    objective = Objective(config.objective)
    model.needs_source_depths = objective.needs_source_depths
    fresh = options.init is None
    trainer = Trainer(config, model, objective, batcher, options.out, device, context, fresh)
    if exists or options.resume == "always":
        trainer.resume()
    if context.first:
        _print_start(trainer, batcher)
    return trainer


def start_with(source: Path, model: SfmModel, networks: Sequence[str], batcher: Batcher) -> None:
    """Load networks of a checkpoint, or of a bundle given by its folder or shipped name.

    Raises:
        CheckpointError: no checkpoint, or networks of another shape.
        ModelError: no such bundle, or it cannot be read.
    """
    own_m = model.config.canonical_height
    if source.suffix == ".pt" or source.is_file():
        network = load_networks(source, model, networks).get("network", {})
        print(_note_of_heights(source, network.get("canonical_height", 0.0), own_m), end="")
        return
    # Only a bundle needs the libraries of ONNX.
    from training.exporting.restored import load_bundle, normalize_by

    spec = load_bundle(resolve_bundle(str(source)), model, networks)
    print(_note_of_heights(source, spec.canonical_height_m, own_m), end="")
    windows = batcher.sampler.training(range(_STATISTICS_WINDOWS))
    images = (batcher.batch_of([window]).rgb_bn3hw.flatten(0, 1).cpu() for window in windows)
    normalize_by(model.depth_net, images)


def _note_of_heights(source: Path, found_m: float, own_m: float) -> str:
    """A line if the lengths of networks to start with are those seen from another height."""
    if found_m == own_m:
        return ""
    found, own = (f"{m:g} m above the road" if m else "wherever it is" for m in (found_m, own_m))
    return (
        f"the lengths of {source} are those of a camera {found}, this recipe's of one {own}: they "
        f"are learned again unless network.canonical_height is {found_m:g}\n"
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True, help="recipe, YAML")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one recipe value"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="always",
        choices=("always", "auto"),
        help="continue the run in --out; auto: or start one if there is none",
    )
    parser.add_argument(
        "--init", type=Path, metavar="CHECKPOINT|BUNDLE", help="start with its weights"
    )
    parser.add_argument(
        "--init-networks",
        nargs="+",
        choices=("depth", "pose"),
        default=("depth", "pose"),
        help="networks to load from it (default: both)",
    )
    return parser.parse_args(arguments)


def device_name(config: TrainConfig, context: DistributedContext) -> str:
    """The device of ``run.device`` for this process; a GPU with its number."""
    name = config.run.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    # torch.cuda.set_device refuses a GPU without a number.
    return f"cuda:{context.local}" if name == "cuda" else name


def _device(config: TrainConfig, context: DistributedContext) -> torch.device:
    name = device_name(config, context)
    try:
        torch.empty(1, device=name)
        device = torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"'run.device' is '{name}', which torch cannot use: {error}") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # Convolutions may be benchmarked and rounded to TF32. Matrix products stay exact because
        # the warp multiplies pixel coordinates.
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = True
    return device


def _print_start(trainer: Trainer, batcher: Batcher) -> None:
    optim, world = trainer.config.optim, trainer.context.world
    shared = f" in {world} processes" if world > 1 else ""
    print(
        f"{batcher.sampler.training_count} windows to train on, "
        f"{batcher.sampler.validation_count} held out, "
        f"{batcher.steps_per_epoch:.0f} steps per epoch; steps {trainer.step_count} to "
        f"{optim.steps} on {trainer.device}{shared}"
    )


def _print_end(trainer: Trainer, options: argparse.Namespace, done: bool) -> None:
    state = "finished" if done else "stopped"
    print(f"{state} at step {trainer.step_count}: {options.out / LAST}")
    if not done:
        program = "python"
        if trainer.context.launched:
            program = f"torchrun --nproc-per-node {trainer.context.world}"
        print(f"continue with: {program} training/train.py {_resume_arguments(options)}")


def _stop_on_signals(trainer: Trainer) -> None:
    """The first signal stops the run after the step in progress; a second one kills as usual.

    Under torchrun a second one is ignored: one Ctrl-C may reach a process twice there, and
    torchrun itself kills processes that do not end within half a minute.
    """
    context = trainer.context

    def stop(number: int, _: FrameType | None) -> None:
        if context.first:
            print("stopping after this step; the run will be saved", file=sys.stderr)
        trainer.request_stop()
        signal.signal(number, signal.SIG_IGN if context.launched else signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _resume_arguments(options: argparse.Namespace) -> str:
    arguments = ["--config", str(options.config), "--out", str(options.out)]
    arguments += [argument for text in options.set for argument in ("--set", text)]
    return shlex.join([*arguments, "--resume"])


if __name__ == "__main__":
    sys.exit(main())
