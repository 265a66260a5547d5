"""From recordings to a model bundle without work by hand: prepare, train, measure, export.

    python training/reproduce.py kitti --out runs/kitti \\
        --recording 'kitti --root kitti_raw' \\
        --recording 'folder --images DIR --calib calib.txt --camera-height 1.65' \\
        --validate 'drive --images DIR --ground-truth DIR --calib calib.txt'
    python training/reproduce.py road --out runs/road \\
        --recording 'bag --file BAG --camera-height 1.4'

Each ``--recording`` holds the arguments of one call of prepare.py without its output folder; depth
and poses are taught by geometry (``--teacher geometry``). Each ``--validate`` holds a name and the
options of evaluate_depth.py that select images with ground truth, which are never trained on.
Rendered streets are added by themselves; ``--init BUNDLE`` starts with its depth. A call that was
stopped continues with what is missing.
``--quick`` does everything with a few frames and steps, in minutes.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sfm_ros.cli.program import INCOMPLETE, program_parser, run_program
from sfm_ros.errors import SfmRosError
from sfm_ros.outputs.cache import write_atomically
from sfm_ros.outputs.folder import OutputFolder
from sfm_ros.safety.documents import read_json
from sfm_ros.safety.interrupts import INTERRUPTED
from sfm_ros.safety.own_process import own_process
from training.config import load_config
from training.fit.checkpoint import load_checkpoint
from training.reproduction.card import write_card
from training.reproduction.plan import KINDS, Request, Step, export_step, plan

STATE = "steps.json"
"""What is done: for each step its arguments and how many seconds it took."""


class StepError(SfmRosError):
    """A step of the way failed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit code of `run_program`."""
    if arguments is None:
        own_process("reproduce")
    request = parse(arguments)
    stopped = "stopped; run the same command to continue"
    return run_program("reproduce", lambda: _run(request), stopped)


def _run(request: Request) -> int:
    reproduce(request)
    print(f"the bundle: {request.bundle}; its card: {request.card}")
    return 0


def reproduce(request: Request) -> None:
    """Do every step that is missing.

    Raises:
        StepError: a step failed; what is done is kept.
        OutputError: the folder cannot be used.
    """
    with OutputFolder(request.out, "reproduce.py", (), (STATE, request.card.name)) as folder:
        folder.begin([STATE, request.card.name])
        state = _State(request.out / STATE)
        steps, last = plan(request), export_step(request)
        _announce([*steps, last], state)
        for number, step in enumerate(steps, start=1):
            _do(step, state, f"{number}/{len(steps) + 1}")
        config = load_config(load_checkpoint(request.checkpoint)["config"])
        write_card(request, config, state.seconds(steps))
        _do(last, state, f"{len(steps) + 1}/{len(steps) + 1}", again=True)
        folder.complete()


class _State:
    """Which steps are done, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = read_json(path) if path.is_file() else {}

    def is_done(self, step: Step) -> bool:
        """Whether the step was done with these arguments."""
        return self._done.get(step.name, {}).get("arguments") == list(step.arguments)

    def add(self, step: Step, seconds: float, done: bool) -> None:
        """Note the time of a step that is done or was stopped.

        The time of earlier parts of it counts, too; that of a step that was done and is repeated
        does not.
        """
        earlier = 0.0 if self.is_done(step) else self._done.get(step.name, {}).get("seconds", 0.0)
        self._done[step.name] = {
            "arguments": list(step.arguments) if done else [],
            "seconds": earlier + seconds,
        }
        write_atomically(self._path, (json.dumps(self._done, indent=2) + "\n").encode())

    def seconds(self, steps: Sequence[Step]) -> dict[str, float]:
        """Duration of each of these steps, all of them done."""
        return {step.name: float(self._done[step.name]["seconds"]) for step in steps}


def _announce(steps: Sequence[Step], state: _State) -> None:
    print("steps, and what they take on one core:")
    for step in steps:
        estimate = f"about {step.seconds / 60:.0f} min" if step.seconds else "by its length"
        print(f"  {step.name}: {'done' if state.is_done(step) else estimate}")


def _do(step: Step, state: _State, number: str, again: bool = False) -> None:
    """Run a step unless it is done; its own progress is on the terminal."""
    if state.is_done(step) and not again:
        return
    print(f"[{number}] {step.name}", flush=True)
    program = Path(__file__).resolve().parent / step.program
    started = time.perf_counter()
    done = False
    try:
        code = subprocess.run([sys.executable, str(program), *step.arguments], check=False)
        done = code.returncode in (0, INCOMPLETE)
    finally:
        state.add(step, time.perf_counter() - started, done)
    if code.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if not done:
        command = shlex.join(["python", f"training/{step.program}", *step.arguments])
        raise StepError(
            f"step '{step.name}' failed with exit code {code.returncode} (see above); correct it "
            f"and run the same command again. It was: {command}"
        )
    if code.returncode == INCOMPLETE:
        print(
            f"reproduce: WARNING: step '{step.name}' could not read all of its input (see above); "
            "the rest is used",
            file=sys.stderr,
        )


def parse(arguments: Sequence[str] | None = None) -> Request:
    """Read the command line."""
    parser = program_parser(__doc__)
    parser.add_argument("kind", choices=tuple(KINDS), help="the bundle")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything")
    parser.add_argument(
        "--recording", action="append", default=[], metavar="ARGUMENTS", type=shlex.split
    )
    parser.add_argument(
        "--validate", action="append", default=[], metavar="NAME ARGUMENTS", type=shlex.split
    )
    parser.add_argument("--quick", action="store_true", help="a few frames and steps")
    parser.add_argument("--threads", type=int, default=1, help="of the training (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="of the preparation (default: 1)")
    parser.add_argument(
        "--batch-size", type=int, default=0, metavar="N",
        help="windows of a training step (default: 0, the recipes'); on a GPU more cost little",
    )  # fmt: skip
    parser.add_argument(
        "--init", default="", metavar="CHECKPOINT|BUNDLE",
        help="start with its depth (default: an encoder trained on ImageNet)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if not all(options.recording) or not all(len(words) > 1 for words in options.validate):
        parser.error("--recording needs arguments of prepare.py, --validate a name and options")
    if options.batch_size < 0:
        parser.error(f"--batch-size is {options.batch_size}, expected 0 or more")
    return Request(
        kind=options.kind,
        out=options.out,
        recordings=options.recording,
        validation={name: words for name, *words in options.validate},
        quick=options.quick,
        threads=options.threads,
        jobs=options.jobs,
        batch_size=options.batch_size,
        init=options.init,
    )


if __name__ == "__main__":
    raise SystemExit(main())
