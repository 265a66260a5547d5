"""Score a recording offline: every frame, in order.

The frames are read without middleware and processed by the object that the node runs. Nothing is
dropped and nothing depends on time, so a second run writes the same files. With --online the same
frames are also played through the node in processes of their own.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from sfm_ros.cameras.config import INPUTS
from sfm_ros.cli.engine_options import add_engine_options, with_default_model, with_engine_options
from sfm_ros.cli.program import INCOMPLETE
from sfm_ros.config import ODOMETRY_MODES, SfmConfig, load_config
from sfm_ros.errors import ConfigError, SourceError
from sfm_ros.evaluation.depth.metrics import CROPS
from sfm_ros.evaluation.report.summary import text_table
from sfm_ros.evaluation.report.video import check_video_file
from sfm_ros.evaluation.runs.depth_methods import method_rows
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.evaluation.runs.mode_comparison import mode_rows
from sfm_ros.evaluation.runs.recording import is_open
from sfm_ros.evaluation.runs.result import OFFLINE, ONLINE
from sfm_ros.evaluation.session import Evaluation, RunOptions, evaluate
from sfm_ros.evaluation.tables import NOT_AVAILABLE, NOT_AVAILABLE_NOTE, format_table
from sfm_ros.formats.pose_columns import EXPECTED_HEADER
from sfm_ros.outputs.folder import check_output_files, named_paths
from sfm_ros.safety.interrupts import INTERRUPTED
from sfm_ros.sources.factory import KINDS, recognize

ALL_MODES = "all"
_KIND_NAMES = ", ".join(KINDS)


def add_command(subparsers: Any) -> None:
    """Add ``bag`` to the commands of sfm_evaluate."""
    parser = subparsers.add_parser(
        "bag",
        help="run the odometry over a bag, images, a video or a KITTI sequence, and score it",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = add_input_options(
        parser,
        "your own data (--video beside another input: write a video of its depth there, .mp4)",
    )
    group.add_argument(
        "--synthetic", action="store_true", help="render and score the demo's held-out street"
    )
    _add_ground_truth_options(parser)
    parser.add_argument_group("the scale").add_argument(
        "--speed-topic",
        metavar="TOPIC",
        help="of --bag: the vehicle's speed, Odometry or a stamped Twist; offline only",
    )
    _add_run_options(parser)
    parser.set_defaults(run=_run)


def _add_ground_truth_options(parser: argparse.ArgumentParser) -> None:
    ground_truth = parser.add_argument_group(
        "the ground truth in a bag (default: the topic whose name marks it, and the only lidar)"
    )
    ground_truth.add_argument(
        "--ground-truth-frame",
        metavar="FRAME",
        help="frame of /tf in which the camera's trajectory is the ground truth",
    )
    ground_truth.add_argument(
        "--depth-topic",
        metavar="TOPIC",
        help="ground-truth depth: Image 16UC1 or 32FC1, or PointCloud2",
    )
    images = parser.add_argument_group("the ground-truth depth of --images or --kitti")
    images.add_argument(
        "--depth-images", type=Path, metavar="DIR", help="16-bit depth, named by the same numbers"
    )
    images.add_argument(
        "--units-per-meter",
        type=float,
        default=256.0,
        help="256 for KITTI's depth images (default), 1000 for millimeters",
    )
    images.add_argument(
        "--depth-crop",
        choices=CROPS,
        help="part of the image to compare (default: Garg's with --kitti, otherwise all)",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("the run")
    run.add_argument("--out", type=Path, required=True, help="folder of the results")
    run.add_argument("--config", type=Path, help="YAML as config/sfm.yaml")
    add_engine_options(run)
    run.add_argument(
        "--mode",
        choices=(*ODOMETRY_MODES, ALL_MODES),
        help="of the odometry, as odometry.mode; all: the others are scored beside it, offline",
    )
    run.add_argument("--frames", type=int, help="score only the first N frames", metavar="N")
    online = run.add_mutually_exclusive_group()
    online.add_argument(
        "--online", action="store_true", help="also through the node, as fast as it takes images"
    )
    online.add_argument(
        "--recording",
        type=Path,
        metavar="DIR",
        help="also what a node has published for the input, as the launch file's evaluate records "
        "it; the summary is of that",
    )
    run.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help="at which that --recording was played (default: 1); of 0 there is no latency",
    )


def add_input_options(
    parser: argparse.ArgumentParser, title: str = "your own data"
) -> argparse._ArgumentGroup:
    """The options that name the input, read by `input_options`; returns their group."""
    group = parser.add_argument_group(title)
    group.add_argument("data", nargs="?", type=Path, metavar="PATH", help=f"any of {_KIND_NAMES}")
    for kind, entry in KINDS.items():
        group.add_argument(f"--{kind}", type=Path, metavar="PATH", help=entry.description)
    group.add_argument("--calib", type=Path, help="calibration file, see docs/calibration.md")
    group.add_argument("--camera", help="which camera of a --calib file or drive with several")
    group.add_argument(
        "--input",
        choices=INPUTS,
        help="whether the images are rectified already (default: preprocess.input)",
    )
    group.add_argument("--poses", type=Path, help="ground-truth poses: KITTI, TUM, EuRoC, ...")
    group.add_argument(
        "--columns",
        metavar="LIST",
        help=f"of --poses without a header, such as {EXPECTED_HEADER}",
    )
    group.add_argument("--fps", type=float, help="frame rate of --images or --video")
    group.add_argument(
        "--pose-topic", help="of --bag: ground-truth poses, Odometry or PoseStamped"
    )
    group.add_argument(
        "--camera-height",
        type=float,
        metavar="M",
        help="height of the camera above the road in meters (default: as the input has it)",
    )
    group.add_argument("--image-topic", help="of --bag; default: the only one")
    group.add_argument("--camera-info-topic", help="of --bag; default: beside the image topic")
    return group


def with_camera_options(config: SfmConfig, options: argparse.Namespace) -> SfmConfig:
    """The configuration with what `add_input_options` has read about the camera."""
    if options.input is not None:
        config = replace(config, preprocess=replace(config.preprocess, input=options.input))
    return replace(
        config, scale=config.scale.with_height_of("--camera-height", options.camera_height)
    )


def input_options(options: argparse.Namespace, config: SfmConfig) -> InputOptions:
    """What `add_input_options` has read; no kind if no input is named.

    The configuration names the frame above which a bag has the camera's height, and limits the
    size of images. SourceError if more than one input is named, or it is not there.
    """
    given = {k: path for k in ("data", *KINDS) if (path := getattr(options, k)) is not None}
    if len(given) > 1:
        raise SourceError(f"{len(given)} inputs are named ({', '.join(given)}), expected one")
    named: dict[str, Any] = {
        field.name: getattr(options, field.name)
        for field in fields(InputOptions)
        if hasattr(options, field.name)
    }
    named["ground_frame"] = config.node.ground_frame
    named |= asdict(config.preprocess)
    for kind, path in given.items():
        found = recognize(path)  # there is something
        named |= {"kind": found if kind == "data" else kind, "path": path}
    return InputOptions(**named)


def exit_code(evaluation: Evaluation) -> int:
    """0, `INCOMPLETE` if a part of the input could not be read, 130 if it was interrupted."""
    if evaluation.interrupted:
        return INTERRUPTED
    return INCOMPLETE if evaluation.unreadable else 0


def print_results(evaluation: Evaluation, out: Path) -> None:
    """Print the figures and where the results are."""
    summary, (run, *others) = evaluation.results.summary, evaluation.results.runs
    print(f"\n{summary['input']}, model {summary['model']}")
    if summary["model_terms"]:
        print(summary["model_terms"])
    if summary["calibration"] is not None:
        print(f"camera: {summary['calibration']}")
    for remark in summary["input_remarks"]:
        print(f"note: {remark}")
    if summary["frames_unreadable"]:
        text = f"WARNING: {summary['frames_unreadable']} frames of the input could not be read"
        print(text, file=sys.stderr)
    print(text_table(summary))
    for other in others:
        print(f"\nfigures of the {other.result.mode} run, beside the {run.result.mode} run above:")
        print(text_table(other.metrics))
    tables = [method_rows(summary["depth_methods"])] if summary.get("depth_methods") else []
    if "odometry_modes" in summary:
        tables.append(mode_rows(summary["odometry_modes"]))
    for rows in tables:
        print(f"\n{format_table(rows)}")
    if any(NOT_AVAILABLE in row for rows in tables for row in rows):
        print(f"\n{NOT_AVAILABLE_NOTE}")
    if run.path.problem:
        print(f"  trajectory errors: not available, {run.path.problem}")
    print(f"\nresults: {out.resolve() / 'report.html'}")


def _run(options: argparse.Namespace) -> int:
    """Score the input; see `exit_code`. What was interrupted is scored until then.

    Raises:
        SfmRosError: an input, the model or the configuration cannot be used; or the online run
            failed, and the results are those of the offline run.
    """
    config, video = _configuration(options), _video_to_write(options)
    named = input_options(options, config)
    if (named.kind is None) == (not options.synthetic):
        raise SourceError(f"expected one input: {_KIND_NAMES}, or --synthetic")
    config = replace(config, model=with_default_model(config.model, named.kind))
    command = shlex.join(["sfm_evaluate", *sys.argv[1:]])
    if options.online and named.speed_topic is not None:
        raise ConfigError("--speed-topic is of the offline run only, expected no --online")
    others = ODOMETRY_MODES if options.mode == ALL_MODES else ()
    compared = tuple(mode for mode in others if mode != config.odometry.mode)
    run_options = RunOptions(
        frames=options.frames,
        command=command,
        compared=compared,
        rate=_rate(options),
        recording=options.recording,
        paths=tuple(named_paths(options, "out")),
        video=video,
    )
    modes = (OFFLINE, ONLINE) if options.online else (OFFLINE,)
    if options.recording is not None:
        modes = (ONLINE, OFFLINE)
        if not is_open(options.recording):
            raise SourceError(f"{options.recording} holds no recording of a node")
    evaluation = evaluate(open_input(named), config, options.out, modes, run_options)
    print_results(evaluation, options.out)
    if evaluation.failure is not None:
        raise evaluation.failure
    return exit_code(evaluation)


def _rate(options: argparse.Namespace) -> float:
    """At which the online run is played, or the recording was. ConfigError if it is not known."""
    if options.rate is None:
        return 0.0 if options.recording is None else 1.0
    rate = float(options.rate)
    if options.recording is None:
        raise ConfigError(
            f"--rate is {rate:g}, which --recording was played at; expected no --rate without it"
        )
    if not 0 <= rate < float("inf"):
        raise ConfigError(f"--rate is {rate:g}, expected a number from 0 up")
    return rate


def _video_to_write(options: argparse.Namespace) -> Path | None:
    """The file of ``--video`` beside another input, which it then is not; else None.

    OutputError if it is there and not a video of an earlier run.
    """
    others = [kind for kind in ("data", *KINDS) if kind != "video"]
    if options.video is None or not (
        options.synthetic or any(getattr(options, kind) is not None for kind in others)
    ):
        return None
    check_output_files(options, "video")
    video: Path = options.video
    check_video_file(video)
    options.video = None
    return video


def _configuration(options: argparse.Namespace) -> SfmConfig:
    config = SfmConfig() if options.config is None else load_config(options.config)
    model = with_engine_options(config.model, options)
    if options.frames is not None and options.frames < 1:
        raise ConfigError(f"--frames is {options.frames}, expected at least 1")
    config = with_camera_options(replace(config, model=model), options)
    if options.mode in (None, ALL_MODES):
        return config
    return replace(config, odometry=replace(config.odometry, mode=options.mode))
