"""Options, run and output of the commands that evaluate depth."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from tqdm import tqdm

from sfm_ros.config import ScaleConfig
from sfm_ros.engines.base import Engine
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.depth.datasets import (
    DepthSample,
    DepthSet,
    joined_set,
    paired_set,
    synthetic_set,
)
from sfm_ros.evaluation.depth.ground_truth import LIDAR_DEPTHS
from sfm_ros.evaluation.depth.kitti import kitti_set
from sfm_ros.evaluation.depth.metrics import CROPS, SCALINGS
from sfm_ros.evaluation.depth.protocol import FITS, DepthPredictor, DepthProtocol, run_protocol
from sfm_ros.evaluation.depth.report import draw_extremes, json_report, text_report
from sfm_ros.evaluation.depth.splits import frames_of_split
from sfm_ros.evaluation.tables import distinct_names
from sfm_ros.outputs.folder import check_output_files


def add_data_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options of the data sets; returns the group of those that select one."""
    group = parser.add_argument_group("images with ground-truth depth (one of)")
    group.add_argument("--kitti", type=Path, metavar="ROOT", help="KITTI raw: folder of the days")
    group.add_argument(
        "--images", type=Path, nargs="+", metavar="DIR",
        help="images of one or several drives, with --ground-truth",
    )  # fmt: skip
    group.add_argument("--synthetic", type=int, nargs="+", metavar="SEED", help="rendered streets")
    kitti = parser.add_argument_group("options of --kitti")
    kitti.add_argument("--split", help="frames of a split, such as eigen; default: all frames")
    kitti.add_argument("--camera", default="02", help="02 or 03 (default: %(default)s)")
    kitti.add_argument(
        "--annotated", type=Path, metavar="DIR", help="KITTI's annotated depth instead of scans"
    )
    kitti.add_argument(
        "--lidar-depth", choices=LIDAR_DEPTHS, default=LIDAR_DEPTHS[0],
        help="depth of lidar points: along the camera axis (default), or along the axis of the "
        "lidar 0.27 m behind it, as in most published programs",
    )  # fmt: skip
    pairs = parser.add_argument_group("options of --images")
    pairs.add_argument(
        "--ground-truth", type=Path, nargs="+", metavar="DIR",
        help="16-bit depth images of each drive",
    )  # fmt: skip
    pairs.add_argument(
        "--calib", type=Path, nargs="+", metavar="FILE",
        help="calibration of all drives, or one file for each; see docs/calibration.md",
    )  # fmt: skip
    pairs.add_argument(
        "--units-per-meter", type=float, default=256.0,
        help="256 for KITTI's depth images (default), 1000 for millimeters",
    )  # fmt: skip
    pairs.add_argument(
        "--camera-height", type=float, metavar="M",
        help="height of the camera above the road in meters, which some models' lengths depend on "
        "(default: that of the camera in their training)",
    )  # fmt: skip
    streets = parser.add_argument_group("options of --synthetic")
    streets.add_argument("--frames", type=int, default=10, help="of each street (default: 10)")
    return group


def open_data(options: argparse.Namespace) -> DepthSet:
    """Open the selected data set; SfmRosError if none or several are, or it cannot be read."""
    selected = [name for name in _OPENERS if getattr(options, name) is not None]
    if len(selected) != 1:
        raise SfmRosError(
            f"{len(selected)} kinds of images are selected, expected one of "
            + ", ".join(f"--{name}" for name in _OPENERS)
        )
    return _OPENERS[selected[0]](options)


def _open_kitti(options: argparse.Namespace) -> DepthSet:
    number = options.camera.lstrip("0")
    if number not in ("2", "3"):
        raise SfmRosError(
            f"the camera is '{options.camera}', expected 02 or 03, KITTI's color cameras"
        )
    split = options.split
    return kitti_set(
        options.kitti,
        frames=None if split is None else frames_of_split(split, int(number)),
        camera=number.zfill(2),
        lidar_depth=options.lidar_depth,
        annotated=options.annotated,
        name=None if split is None else f"{options.kitti}, split {split}",
    )


def _open_images(options: argparse.Namespace) -> DepthSet:
    if options.ground_truth is None or options.calib is None:
        raise SfmRosError("--images needs --ground-truth (depth images) and --calib (calibration)")
    images, ground_truths, calibrations = options.images, options.ground_truth, options.calib
    if len(ground_truths) != len(images) or len(calibrations) not in (1, len(images)):
        raise SfmRosError(
            f"--images names {len(images)} folders, --ground-truth {len(ground_truths)} and "
            f"--calib {len(calibrations)} files; expected a folder of depth images for each "
            "folder of images, and one calibration, or one for each"
        )
    height_m = ScaleConfig().with_height_of("--camera-height", options.camera_height).camera_height
    files = calibrations if len(calibrations) > 1 else calibrations * len(images)
    drives = zip(images, ground_truths, files, distinct_names(images), strict=True)
    return joined_set(
        [
            paired_set(folder, depth, calib, options.units_per_meter, name, height_m)
            for folder, depth, calib, name in drives
        ]
    )


def _open_synthetic(options: argparse.Namespace) -> DepthSet:
    if options.frames < 1:
        raise SfmRosError(f"--frames is {options.frames}, expected at least 1")
    return synthetic_set(options.synthetic, options.frames)


_OPENERS = {"kitti": _open_kitti, "images": _open_images, "synthetic": _open_synthetic}


def add_protocol_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the protocol and of the output."""
    default = DepthProtocol()
    how = parser.add_argument_group("protocol")
    how.add_argument(
        "--scaling", choices=SCALINGS, default=default.scaling,
        help="each image by its ratio of medians (default), all images by one factor, or none",
    )  # fmt: skip
    how.add_argument(
        "--crop", choices=("auto", *CROPS), default=default.crop,
        help="part of the image to compare (default: Garg's for lidar scans, otherwise all)",
    )  # fmt: skip
    how.add_argument(
        "--fit", choices=FITS, default=default.fit,
        help="stretch: resize the whole image to the network, as in published tables "
        "(default); crop: keep the aspect ratio and cut the border, as in the node",
    )  # fmt: skip
    how.add_argument("--min-depth", type=float, default=default.min_depth, help="meters")
    how.add_argument("--max-depth", type=float, default=default.max_depth, help="meters")
    how.add_argument("--limit", type=int, help="at most N images, evenly spread", metavar="N")
    out = parser.add_argument_group("results")
    out.add_argument("--json", type=Path, metavar="FILE", help="write all metrics")
    out.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the worst, median and best image"
    )


def score_depth(engine: Engine, data: DepthSet, options: argparse.Namespace) -> int:
    """Run the protocol, print the table, write the requested files; returns the exit code.

    Raises:
        SfmRosError: nothing can be compared, or a result cannot be written.
    """
    check_output_files(options, "json", "plot")
    names = (field.name for field in fields(DepthProtocol))
    protocol = DepthProtocol(**{name: getattr(options, name) for name in names})
    if options.limit is not None:
        data = data.thinned(options.limit)
    report = run_protocol(engine, data, protocol, _progress)
    print(text_report(report))
    try:
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(json_report(report), indent=2) + "\n")
            print(f"metrics: {options.json}")
        if options.plot is not None:
            draw_extremes(options.plot, report, data, DepthPredictor(engine, protocol.fit))
            print(f"figure: {options.plot}")
    except (OSError, ValueError) as error:  # matplotlib does not know the suffix
        raise SfmRosError(f"cannot write the result: {error}") from error
    return 0


def _progress(samples: Iterable[DepthSample], name: str) -> Iterable[DepthSample]:
    return tqdm(samples, desc=name, unit="image", disable=None, file=sys.stderr)
