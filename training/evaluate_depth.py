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

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, Frame
from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.evaluation.depth.command import (
    add_data_options,
    add_protocol_options,
    open_data,
    score_depth,
)
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet
from sfm_ros.safety.interrupts import guard
from training.data.sequence import PreparedSet, SequenceRecord
from training.model_options import add_model_options, open_model


def prepared_set(path: Path) -> DepthSet:
    """The frames of a prepared set that have ground-truth depth, at the size of the set.

    Raises:
        SourceError: there is no such set, or it has no depth.
    """
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

    return DepthSample(name=f"{sequence.name} {offset}", frame=frame, ground_truth=depth)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; the exit status is 0, 1 with the reason on stderr, or 130 when interrupted."""
    if arguments is None:
        guard("evaluate_depth")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(parser)
    group = add_data_options(parser)
    group.add_argument("--prepared", type=Path, metavar="DIR", help="set written by prepare.py")
    add_protocol_options(parser)
    options = parser.parse_args(arguments)
    try:
        data = open_data(options) if options.prepared is None else _only_prepared(options)
        return score_depth(open_model(options), data, options)
    except (SfmRosError, OSError) as error:
        print(f"evaluate_depth: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("evaluate_depth: interrupted, nothing was written", file=sys.stderr)
        return 130


def _only_prepared(options: argparse.Namespace) -> DepthSet:
    if any(getattr(options, kind) is not None for kind in ("kitti", "images", "synthetic")):
        raise SfmRosError("--prepared is given together with other images, expected one of them")
    return prepared_set(options.prepared)


if __name__ == "__main__":
    raise SystemExit(main())
