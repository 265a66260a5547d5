"""sfm_evaluate depth: a model's depth against scans, depth images or rendered ground truth."""

from __future__ import annotations

import argparse
from contextlib import closing

from sfm_ros.cli.engine_options import add_engine_options, open_engine
from sfm_ros.evaluation.depth.command import (
    add_data_options,
    add_protocol_options,
    open_data,
    score_depth,
)

_EXAMPLES = """
examples:
  sfm_evaluate depth --kitti kitti_raw --split eigen --json depth.json --plot depth.png
  sfm_evaluate depth --kitti kitti_raw --split eigen --annotated data_depth_annotated
  sfm_evaluate depth --images rgb --ground-truth depth --calib camera.yaml --units-per-meter 1000
  sfm_evaluate depth --images a/rgb b/rgb --ground-truth a/depth b/depth --calib camera.yaml
  sfm_evaluate depth --synthetic 9004 9005 --model runs/road/bundle
"""


def add_command(subparsers: argparse._SubParsersAction) -> None:
    """Add the command ``depth`` to ``sfm_evaluate``."""
    parser = subparsers.add_parser(
        "depth",
        help="depth of a model against ground-truth depth",
        description="Score a model's depth by the protocol of Eigen et al. (2014), beside two "
        "baselines: a constant depth, and the median depth of each image row. Every figure is "
        "stated scaled and unscaled; several drives are compared in a table.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_engine_options(parser)
    add_data_options(parser)
    add_protocol_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Score the depth; returns the exit code."""
    data = open_data(options)
    kind = None if options.kitti is None else "kitti"
    with closing(open_engine(options, kind)) as engine:
        return score_depth(engine, data, options)
