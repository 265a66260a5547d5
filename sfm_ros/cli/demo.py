"""Depth and odometry through the node, scored against the ground truth if it is known.

Without arguments a held-out synthetic street is rendered; with them your own images, bag, video or
KITTI folder is played. Player, node and recorder are three processes.
Results: summary.json, report.html, trajectory.png, trajectory.tum and depth.png.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from sfm_ros.cli.engine_options import add_engine_options, with_default_model, with_engine_options
from sfm_ros.cli.evaluate_bag import (
    add_input_options,
    exit_code,
    input_options,
    print_results,
    with_camera_options,
)
from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.config import ModelConfig, SfmConfig
from sfm_ros.evaluation.runs.inputs import open_input
from sfm_ros.evaluation.runs.result import ONLINE
from sfm_ros.evaluation.session import RunOptions, evaluate
from sfm_ros.outputs.folder import named_paths
from sfm_ros.safety.own_process import own_process


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = program_parser(__doc__, "demo")
    add_input_options(parser, "your own data (default: a held-out synthetic street)")
    run = parser.add_argument_group("the run")
    run.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the results")
    add_engine_options(run)
    run.add_argument(
        "--rate", type=float, default=1.0, help="2: twice as fast; 0: as fast as the node takes it"
    )
    run.add_argument("--frames", type=int, metavar="N", help="play only the first N frames")
    run.add_argument("--keep-bag", action="store_true", help="keep the bag that was played")
    options = parser.parse_args(arguments)
    if not 0 <= options.rate < float("inf"):
        parser.error(f"--rate is {options.rate}, expected a number from 0 up")
    if options.frames is not None and options.frames < 1:
        parser.error(f"--frames is {options.frames}, expected at least 1")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 on success, 1 on failure, 130 if it was interrupted, 3 if it left out what
    could not be read."""
    if arguments is None:
        own_process("demo")
    options = parse(arguments)
    command = shlex.join(["scripts/demo.sh", *(sys.argv[1:] if arguments is None else arguments)])
    return run_program(
        "demo",
        lambda: _run(options, command),
        if_interrupted="interrupted; nothing has been played yet",
    )


def _run(options: argparse.Namespace, command: str) -> int:
    """Evaluate online and draw the figures."""
    out = options.out
    run_options = RunOptions(
        frames=options.frames,
        rate=options.rate,
        keep_bag=options.keep_bag,
        figures=True,
        command=command,
        paths=tuple(named_paths(options, "out")),
    )
    model = with_engine_options(ModelConfig(), options)
    config = with_camera_options(SfmConfig(model=model), options)
    named = input_options(options, config)
    config = replace(config, model=with_default_model(model, named.kind))
    given = open_input(named)
    evaluation = evaluate(given, config, out, (ONLINE,), run_options)
    print_results(evaluation, out)
    beside = ", ".join(f.name for f in sorted(out.glob("[!.]*.*")) if f.suffix != ".html")
    print(f"         beside it: {beside}")
    return exit_code(evaluation)


if __name__ == "__main__":
    sys.exit(main())
