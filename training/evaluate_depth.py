"""Score the depth of a checkpoint or a bundle by the protocol of ``sfm_evaluate depth``.

python training/evaluate_depth.py --checkpoint runs/road/best.pt --kitti kitti_raw --split eigen
python training/evaluate_depth.py --model runs/road/bundle --prepared data/synthetic
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame
from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.evaluation.depth.command import (
    add_data_options,
    add_protocol_options,
    open_data,
    score_depth,
)
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet, joined_set
from sfm_ros.safety.own_process import own_process
from training.data.sequence import PreparedSet, SequenceRecord
from training.torch_engine import add_model_options, open_model


def prepared_set(path: Path) -> DepthSet:
    """The frames of a prepared set with ground-truth depth, in its size; SourceError if none."""
    prepared = PreparedSet.open(path)
    samples = [
        _prepared_sample(prepared, sequence, offset)
        for sequence in prepared.sequences
        if sequence.has_depth
        for offset in range(sequence.count)
    ]
    if not samples:
        raise SourceError(f"no sequence of the prepared set {path} has ground-truth depth")
    return DepthSet(name=str(path), ground_truth="prepared set", crop="none", samples=samples)


def _prepared_sample(prepared: PreparedSet, sequence: SequenceRecord, offset: int) -> DepthSample:
    index = sequence.start + offset
    fx, fy, cx, cy = sequence.K
    intrinsics = CameraIntrinsics(
        width=prepared.width, height=prepared.height, fx=fx, fy=fy, cx=cx, cy=cy
    )

    def frame() -> Frame:
        rgb = np.array(prepared.frames[index])
        return Frame(stamp_ns=sequence.stamps_ns[offset], rgb=rgb, intrinsics=intrinsics)

    def depth() -> DepthMap:
        assert prepared.depth_m is not None  # some sequence has depth
        return np.asarray(prepared.depth_m[index], dtype=np.float32)

    name = f"{sequence.name} {offset}"
    return DepthSample(
        name=name,
        drive=sequence.source,
        frame=frame,
        ground_truth=depth,
        camera_height_m=sequence.camera_height_m or 0.0,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; the exit code of `run_program`."""
    if arguments is None:
        own_process("evaluate_depth")
    parser = program_parser(__doc__)
    add_model_options(parser)
    group = add_data_options(parser)
    group.add_argument(
        "--prepared", type=Path, nargs="+", metavar="DIR", help="sets written by prepare.py"
    )
    add_protocol_options(parser)
    options = parser.parse_args(arguments)
    interrupted = "interrupted, nothing was written"
    return run_program("evaluate_depth", lambda: _score(options), interrupted)


def _score(options: argparse.Namespace) -> int:
    if options.prepared is None:
        data = open_data(options)
    elif any(getattr(options, kind) is not None for kind in ("kitti", "images", "synthetic")):
        raise SfmRosError("--prepared is given together with other images, expected one of them")
    else:
        data = joined_set([prepared_set(path) for path in options.prepared])
    return score_depth(open_model(options), data, options)


if __name__ == "__main__":
    raise SystemExit(main())
