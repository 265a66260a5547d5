"""What the commands that judge depth share: their options, the run, and what it leaves behind."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from sfm_ros.engines.base import Engine
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.depth.datasets import (
    DepthSample,
    DepthSet,
    kitti_set,
    paired_set,
    synthetic_set,
)
from sfm_ros.evaluation.depth.ground_truth import LIDAR_DEPTHS
from sfm_ros.evaluation.depth.metrics import CROPS, SCALINGS
from sfm_ros.evaluation.depth.protocol import (
    FITS,
    DepthPredictor,
    DepthProtocol,
    run_protocol,
)
from sfm_ros.evaluation.depth.report import draw_extremes, json_report, text_report
from sfm_ros.evaluation.depth.splits import frames_of_split


def add_data_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The options that say what to judge on; returns their group."""
    group = parser.add_argument_group("images with ground-truth depth (one of)")
    group.add_argument("--kitti", type=Path, metavar="ROOT", help="KITTI raw: folder of the days")
    group.add_argument("--images", type=Path, metavar="DIR", help="images, with --ground-truth")
    group.add_argument("--synthetic", type=int, nargs="+", metavar="SEED", help="rendered streets")
    kitti = parser.add_argument_group("of --kitti")
    kitti.add_argument("--split", help="frames of a split, such as eigen; default: all there are")
    kitti.add_argument("--camera", default="02", help="02 or 03 (default: %(default)s)")
    kitti.add_argument(
        "--annotated", type=Path, metavar="DIR", help="KITTI's annotated depth instead of scans"
    )
    kitti.add_argument(
        "--lidar-depth", choices=LIDAR_DEPTHS, default=LIDAR_DEPTHS[0],
        help="depth of a scan's points: along the camera (default), or along the lidar 0.27 m "
        "behind it, as most published programs have it",
    )  # fmt: skip
    pairs = parser.add_argument_group("of --images")
    pairs.add_argument("--ground-truth", type=Path, metavar="DIR", help="16-bit depth images")
    pairs.add_argument("--calib", type=Path, help="camera_info YAML, KITTI calibration or a 3x3 K")
    pairs.add_argument(
        "--units-per-meter", type=float, default=256.0,
        help="256 for KITTI's depth images (default), 1000 for millimeters",
    )  # fmt: skip
    streets = parser.add_argument_group("of --synthetic")
    streets.add_argument("--frames", type=int, default=10, help="of each street (default: 10)")
    return group


def add_protocol_options(parser: argparse.ArgumentParser) -> None:
    """The options that say how to judge, and where to leave it."""
    default = DepthProtocol()
    how = parser.add_argument_group("protocol")
    how.add_argument(
        "--scaling", choices=SCALINGS, default=default.scaling,
        help="each image by its ratio of medians (default), all by one factor, or none",
    )  # fmt: skip
    how.add_argument(
        "--crop", choices=("auto", *CROPS), default=default.crop,
        help="part of the image that counts (default: Garg's on laser scans, else all of it)",
    )  # fmt: skip
    how.add_argument(
        "--fit", choices=FITS, default=default.fit,
        help="stretch: the network gets the whole image, squeezed, as in published tables "
        "(default); crop: it keeps the aspect and cuts the border, as the node does",
    )  # fmt: skip
    how.add_argument("--min-depth", type=float, default=default.min_depth, help="meters")
    how.add_argument("--max-depth", type=float, default=default.max_depth, help="meters")
    how.add_argument("--limit", type=int, help="only so many images, spread over the set")
    out = parser.add_argument_group("results")
    out.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    out.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the worst, median and best image (PNG)"
    )


def open_data(options: argparse.Namespace) -> DepthSet:
    """The set that the options name.

    Raises:
        SfmRosError: none or several are named, or it cannot be read.
    """
    kinds = ("kitti", "images", "synthetic")
    given = [kind for kind in kinds if getattr(options, kind) is not None]
    if len(given) != 1:
        raise SfmRosError(
            f"{len(given)} kinds of images are named, expected one of "
            + ", ".join(f"--{kind}" for kind in kinds)
        )
    if given == ["kitti"]:
        camera = _camera(options.camera)
        return kitti_set(
            options.kitti,
            frames=None if options.split is None else frames_of_split(options.split, int(camera)),
            camera=camera,
            lidar_depth=options.lidar_depth,
            annotated=options.annotated,
            name=options.split and f"{options.kitti}, split {options.split}",
        )
    if given == ["images"]:
        if options.ground_truth is None or options.calib is None:
            raise SfmRosError(
                "--images needs --ground-truth (depth images) and --calib (calibration)"
            )
        return paired_set(
            options.images, options.ground_truth, options.calib, options.units_per_meter
        )
    if options.frames < 1:
        raise SfmRosError(f"--frames is {options.frames}, expected at least 1")
    return synthetic_set(options.synthetic, options.frames)


def _camera(text: str) -> str:
    if text.lstrip("0") not in ("2", "3"):
        raise SfmRosError(f"the camera is '{text}', expected 02 or 03, KITTI's color cameras")
    return text.lstrip("0").zfill(2)


def score_depth(engine: Engine, data: DepthSet, options: argparse.Namespace) -> int:
    """Run the protocol, print the table, write what was asked for; returns the exit code.

    Raises:
        SfmRosError: nothing can be compared, or a result cannot be written.
    """
    protocol = DepthProtocol(
        scaling=options.scaling,
        crop=options.crop,
        fit=options.fit,
        min_depth=options.min_depth,
        max_depth=options.max_depth,
    )
    if options.limit is not None:
        data = data.thinned(options.limit)
    report = run_protocol(engine, data, protocol, _progress)
    print(text_report(report))
    try:
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(json_report(report), indent=2) + "\n")
            print(f"figures: {options.json}")
        if options.plot is not None:
            draw_extremes(options.plot, report, data, DepthPredictor(engine, protocol.fit))
            print(f"image: {options.plot}")
    except OSError as error:
        raise SfmRosError(f"cannot write the result: {error}") from error
    return 0


def _progress(samples: Iterable[DepthSample], what: str) -> Iterable[DepthSample]:
    return tqdm(samples, desc=what, unit="image", disable=None, file=sys.stderr)
