"""Score the motion of a checkpoint or a bundle on KITTI: networks alone, and hybrid.

python training/evaluate_pose.py --checkpoint runs/road/best.pt --kitti seq/03 --frames 300-400
python training/evaluate_pose.py --model default --kitti seq/09 --json pose.json
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.tables import format_table
from sfm_ros.evaluation.trajectory.alignment import ALIGNMENTS
from sfm_ros.evaluation.trajectory.network_motion import MotionScore, run_motion, score_motion
from sfm_ros.outputs.folder import check_output_files
from sfm_ros.safety.own_process import own_process
from sfm_ros.sources.folder import FolderSource
from sfm_ros.sources.kitti.source import open_kitti
from training.torch_engine import add_model_options, open_model

_COLUMNS: dict[str, tuple[str, Callable[[MotionScore], Any]]] = {
    "ATE 5 frames": ("", lambda s: s.metrics.snippet_ates.get(5)),
    "ATE 3 frames": ("", lambda s: s.metrics.snippet_ates.get(3)),
    "RE 5 frames": (".5f", lambda s: getattr(s.metrics.snippet_res.get(5), "mean", None)),
    "RE 3 frames": (".5f", lambda s: getattr(s.metrics.snippet_res.get(3), "mean", None)),
    "t_err %": (".3f", lambda s: s.metrics.t_err_percent),
    "r_err": (".3f", lambda s: s.metrics.r_err_deg_per_100m),
    "ATE RMSE m": (".3f", lambda s: s.metrics.ate_rmse_m),
    "yaw corr": (".2f", lambda s: s.yaw_correlation),
    "|t| corr": (".2f", lambda s: s.length_correlation),
}
"""Title of a column -> format and value."""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_parser(__doc__)
    add_model_options(parser)
    parser.add_argument(
        "--kitti", type=Path, required=True, nargs="+", metavar="DIR",
        help="folders of KITTI odometry sequences or raw drives with poses",
    )  # fmt: skip
    parser.add_argument("--frames", metavar="FIRST-LAST", help="both included, counted from 0")
    parser.add_argument("--camera", help="camera of the drive (default: color, left)")
    parser.add_argument(
        "--align", choices=ALIGNMENTS, default="7dof",
        help="how a whole trajectory is aligned with the ground truth (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all scores")
    return parser.parse_args(arguments)


def open_drive(path: Path, frames: str | None, camera: str | None) -> FolderSource:
    """A KITTI drive, or some of its frames.

    Args:
        path: folder of the drive.
        frames: such as ``300-400``, or None for all.
        camera: number of the camera, or None.

    Raises:
        SfmRosError: the drive cannot be read, or has no such frames.
    """
    drive = open_kitti(path, camera)
    if frames is None:
        return drive
    found = re.fullmatch(r"(\d+)-(\d+)", frames)
    if found is None:
        raise SfmRosError(f"the frames are '{frames}', expected FIRST-LAST such as 300-400")
    return drive.between(int(found[1]), int(found[2]))


def text_report(model: str, drive: str, align: str, scores: dict[str, MotionScore]) -> str:
    """The table, and below it what the columns mean."""
    metrics = next(iter(scores.values())).metrics
    rows = [["", *_COLUMNS], *([name, *_cells(score)] for name, score in scores.items())]
    lines = [
        f"motion of {model} on {drive}",
        f"{metrics.pair_count} frames, {metrics.path_length_m:.1f} m",
        "",
        format_table(rows),
        "",
        "ATE and RE of 5 and 3 frames: SfMLearner's, each snippet scaled by the ground truth,",
        "mean and standard deviation over snippets (ATE in meters, not a root mean square; RE in",
        f"radians). The rest: whole trajectory, alignment {align}; r_err in degrees per 100 m.",
        "A correlation near 0 means that the motion is not observed, however good the snippets.",
    ]
    held = sum(score.held for score in scores.values())
    if held:
        lines.append(f"At {held} frames the node held its pose: the motion was rejected.")
    return "\n".join(lines)


def _cells(score: MotionScore) -> list[str]:
    values = ((style, value(score)) for style, value in _COLUMNS.values())
    return ["-" if value is None else f"{value:{style}}" for style, value in values]


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; the exit code of `run_program`."""
    if arguments is None:
        own_process("evaluate_pose")
    options = _parse(arguments)
    interrupted = "interrupted, nothing was written"
    return run_program("evaluate_pose", lambda: _score(options), interrupted)


def _score(options: argparse.Namespace) -> int:
    check_output_files(options, "json")
    drives = [open_drive(path, options.frames, options.camera) for path in options.kitti]
    engine = open_model(options)
    results: list[dict[str, Any]] = []
    for drive in drives:
        frames = tqdm(drive, total=len(drive), desc="motion", unit="frame", disable=None)
        scores = score_motion(run_motion(engine, frames), options.align)
        print(text_report(engine.spec.name, drive.name, options.align, scores) + "\n")
        values = {name.replace(" ", "_"): dataclasses.asdict(s) for name, s in scores.items()}
        results.append({"model": engine.spec.name, "drive": drive.name, **values})
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"scores: {options.json}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
