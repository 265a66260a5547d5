"""sfm_evaluate trajectory: the errors of a trajectory against a ground-truth trajectory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sfm_ros.cli.program import INCOMPLETE
from sfm_ros.evaluation.trajectory.alignment import ALIGNMENTS
from sfm_ros.evaluation.trajectory.association import DEFAULT_MAX_DIFFERENCE_NS, Pairs
from sfm_ros.evaluation.trajectory.inputs import (
    ASSOCIATIONS,
    TrajectoryInput,
    open_trajectory,
    pair_inputs,
)
from sfm_ros.evaluation.trajectory.score import (
    TrajectoryScore,
    score_as_json,
    score_table,
    unaligned_text,
)
from sfm_ros.evaluation.trajectory.score import score_trajectory as score_pairs
from sfm_ros.evaluation.trajectory.segments import SEGMENT_LENGTHS_M
from sfm_ros.evaluation.trajectory.snippets import FORWARD_OPTICAL
from sfm_ros.formats.pose_columns import EXPECTED_HEADER, SKIPPED
from sfm_ros.outputs.folder import check_output_files

_FORWARD_BODY = (1.0, 0.0, 0.0)
_DETAILS = """\
GT and EST: a TUM file, a KITTI file (12 numbers per line, or 13 with the index of the frame in
front), a table with a header such as EuRoC's, or a topic of a bag as BAG:/topic. Definitions of
the figures: docs/evaluation.md."""


def add_command(subparsers: Any) -> None:
    """Add ``trajectory`` to the commands of sfm_evaluate."""
    parser = subparsers.add_parser(
        "trajectory",
        help="t_err, r_err, ATE, RPE and snippet errors of a trajectory, beside two baselines",
        description=__doc__,
        epilog=_DETAILS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("ground_truth", metavar="GT", help="the ground truth")
    parser.add_argument("estimate", metavar="EST", help="the trajectory to score")
    parser.add_argument(
        "--align",
        choices=ALIGNMENTS,
        default="7dof",
        help="how EST is aligned to GT; none, scale, se3, sim3 use the frames as they are "
        "(TUM, evo), the others start at the first common pose (KITTI); default: %(default)s",
    )
    parser.add_argument(
        "--associate",
        choices=ASSOCIATIONS,
        default="auto",
        help="how poses are paired; auto: by stamp if both have times, else by index",
    )
    parser.add_argument(
        "--max-difference",
        type=float,
        default=DEFAULT_MAX_DIFFERENCE_NS * 1e-9,
        metavar="S",
        help="largest difference of stamps in seconds; default: %(default)s",
    )
    parser.add_argument(
        "--columns",
        action="append",
        metavar="LIST",
        help=f"of files without a header, such as {EXPECTED_HEADER}, '{SKIPPED}' for one without "
        "meaning: once for both files, twice for GT and EST",
    )
    parser.add_argument("--times", type=Path, help="a time for each frame, for KITTI files")
    parser.add_argument("--fps", type=float, help="instead of times: frames per second")
    parser.add_argument(
        "--keep-axes",
        action="store_true",
        help="keep a bag's poses in body axes, as those they are compared with, instead of "
        "converting them to optical axes",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw path, error and drift")
    parser.set_defaults(run=run, refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Score, print, and write the requested files."""
    _check(options)
    check_output_files(options, "json", "plot")
    how = (options.times, options.fps, options.keep_axes)
    columns = options.columns or [None]
    ground_truth = open_trajectory(options.ground_truth, *how, columns[0])
    estimate = open_trajectory(options.estimate, *how, columns[-1])
    pairs = pair_inputs(
        ground_truth, estimate, options.associate, round(options.max_difference * 1e9)
    )
    forward = _FORWARD_BODY if options.keep_axes else FORWARD_OPTICAL
    score = score_pairs(pairs, options.align, forward)
    print(_text(ground_truth, estimate, pairs, score))
    if options.json is not None:
        remarks = [*ground_truth.remarks, *estimate.remarks]
        figures = score_as_json(score) | _context(options, pairs) | {"remarks": remarks}
        text = json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False)
        options.json.write_text(text + "\n", encoding="utf-8")
        print(f"figures: {options.json}")
    if options.plot is not None:
        from sfm_ros.evaluation.trajectory.plot import draw_score

        title = f"{Path(options.estimate).name}, aligned by {options.align}"
        draw_score(options.plot, pairs, score, title, options.keep_axes)
        print(f"image: {options.plot}")
    return INCOMPLETE if ground_truth.unreadable or estimate.unreadable else 0


def _check(options: argparse.Namespace) -> None:
    if not 0 <= options.max_difference < float("inf"):
        options.refuse(f"--max-difference is {options.max_difference}, expected seconds from 0 up")
    if options.fps is not None and not 0 < options.fps < float("inf"):
        options.refuse(f"--fps is {options.fps}, expected a positive number")
    if options.columns is not None and len(options.columns) > 2:
        options.refuse("--columns is given more than twice, expected one for each file")
    if options.fps is not None and options.times is not None:
        options.refuse("--fps and --times exclude each other")
    if options.plot is not None and options.plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        options.refuse(f"--plot is {options.plot}, expected a .png, .pdf or .svg file")


def _context(options: argparse.Namespace, pairs: Pairs) -> dict[str, Any]:
    difference_ns = pairs.largest_difference_ns
    return {
        "ground_truth": options.ground_truth,
        "estimate": options.estimate,
        "ground_truth_poses": len(pairs.whole_ground_truth),
        "estimate_poses": pairs.estimate_count,
        "associated_by": "index" if difference_ns is None else "stamp",
        "max_difference_s": None if difference_ns is None else options.max_difference,
        "largest_difference_s": None if difference_ns is None else difference_ns * 1e-9,
    }


def _text(
    ground_truth: TrajectoryInput, estimate: TrajectoryInput, pairs: Pairs, score: TrajectoryScore
) -> str:
    difference_ns = pairs.largest_difference_ns
    by = (
        "by index of the frame"
        if difference_ns is None
        else f"by stamp, at most {difference_ns * 1e-6:.3f} ms apart"
    )
    metrics = score.estimate
    lines = [
        f"ground truth  {ground_truth}",
        f"estimate      {estimate}",
        *(f"note          {remark}" for remark in (*ground_truth.remarks, *estimate.remarks)),
        f"paired        {len(pairs)} poses {by}, {metrics.path_length_m:.1f} m of path",
        f"unaligned     {unaligned_text(score)}",
        f"aligned       {metrics.alignment}, scale {metrics.scale:.6g}",
        "",
        score_table(score),
    ]
    if metrics.t_err_percent is None:
        lines.append(
            f"\nt_err and r_err are not applicable: the path of {metrics.path_length_m:.1f} m has "
            f"no segment of {SEGMENT_LENGTHS_M[0]} m"
        )
    return "\n".join(lines)
