"""Draw the depth of a model's network beside its images: figures for model cards.

    python scripts/model_figures.py --model kitti --out kitti.png --rendered 9100 9103
    python scripts/model_figures.py --model kitti --out seen.png --images a.png --calib camera.yaml

One row for each image: the image, and its depth by the network alone, the nearest bright. The
colors mean the same distances in all rows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from image_file import check_image_file, write_image

from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.colormap import color_of_depth
from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Frame, RgbImage
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.protocol import DepthPredictor
from sfm_ros.sources.folder import intrinsics_for, read_image
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

LIMITS_M = (4.0, 80.0)
WIDTH = 620
_GAP = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw them; the exit code of `run_program`."""
    parser = program_parser(__doc__)
    parser.add_argument("--model", default="default", help="model bundle: folder or name")
    parser.add_argument("--out", type=Path, required=True, help="the figure")
    parser.add_argument("--rendered", type=int, nargs="*", default=[], metavar="SEED")
    parser.add_argument("--images", type=Path, nargs="*", default=[], metavar="FILE")
    parser.add_argument("--calib", type=Path, help="calibration of --images")
    options = parser.parse_args(arguments)
    return run_program("model_figures", lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    check_image_file(options)
    if not options.rendered and not options.images:
        raise SourceError("nothing is to be drawn, expected --rendered or --images")
    if options.images and options.calib is None:
        raise SourceError("--images needs --calib: the calibration of the camera they are from")
    frames = [*_rendered(options.rendered), *_recorded(options.images, options.calib)]
    with closing(create_engine(ModelConfig(bundle=options.model, engine="onnx"))) as engine:
        predictor = DepthPredictor(engine, "crop")
        rows = [_row(frame, predictor) for frame in frames]
    write_image(options.out, np.vstack(rows)[:-_GAP])
    print(options.out)
    return 0


def _rendered(seeds: list[int]) -> Iterator[Frame]:
    """The tenth frame of each street; every second one is full of traffic."""
    for place, seed in enumerate(seeds):
        kind = "traffic" if place % 2 else "city"
        config = SyntheticConfig(
            seed=seed, width=832, height=256, frames=12, fx=0.58 * 832, kind=kind
        )
        yield SyntheticStreet(config).render(10).frame


def _recorded(paths: list[Path], calib: Path) -> Iterator[Frame]:
    for path in paths:
        rgb = read_image(path)
        yield Frame(rgb=rgb, stamp_ns=0, intrinsics=intrinsics_for(rgb, str(calib)))


def _row(frame: Frame, predictor: DepthPredictor) -> RgbImage:
    depth = color_of_depth(predictor.depth(frame), LIMITS_M)
    height = round(WIDTH * frame.rgb.shape[0] / frame.rgb.shape[1])
    gap = np.full((height, _GAP, 3), 255, np.uint8)
    image, colors = (
        cv2.resize(part, (WIDTH, height), interpolation=cv2.INTER_AREA)
        for part in (frame.rgb, depth)
    )
    row = np.hstack([image, gap, colors])
    return np.vstack([row, np.full((_GAP, row.shape[1], 3), 255, np.uint8)])


if __name__ == "__main__":
    sys.exit(main())
