"""sfm_evaluate compare: the figures and paths of several runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sfm_ros.evaluation.report.compare import MARK, comparison_table, load_runs
from sfm_ros.outputs.folder import check_output_files


def add_command(subparsers: Any) -> None:
    """Add ``compare`` to the commands of sfm_evaluate."""
    parser = subparsers.add_parser(
        "compare",
        help="figures and paths of several runs side by side",
        description=f"{__doc__} Differences of model and configuration are marked with {MARK}.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="folder of a run of 'sfm_evaluate bag' or the demo; at least two",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        default=Path("comparison.png"),
        metavar="FILE",
        help="image of all paths; default: %(default)s",
    )
    parser.set_defaults(run=run, refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Print the table, draw the paths."""
    if len(options.runs) < 2:
        options.refuse(f"{len(options.runs)} run is named, expected at least two")
    if options.plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        options.refuse(f"--plot is {options.plot}, expected a .png, .pdf or .svg file")
    check_output_files(options, "plot")
    runs = load_runs(options.runs)
    print(comparison_table(runs))
    from sfm_ros.evaluation.report.compare_plot import draw_comparison

    if draw_comparison(options.plot, runs):
        print(f"\nimage: {options.plot.resolve()}")
    else:
        print("\nno image: none of the runs has a trajectory")
    return 0
