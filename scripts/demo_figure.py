"""Draws docs/demo.png: an image, its depth by the network and from several views, how sure it is.

python scripts/demo_figure.py [--frame N] [--model BUNDLE] [--out FILE]

The frames of the demo's street up to that one go through the odometry, as in the demo.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from image_file import check_image_file, write_image

from sfm_ros.cli.engine_options import add_engine_options, with_engine_options
from sfm_ros.cli.program import program_parser, run_program
from sfm_ros.colormap import SteadyLimits
from sfm_ros.config import ModelConfig, ScaleConfig, SfmConfig
from sfm_ros.datatypes import RgbImage
from sfm_ros.engines.factory import create_engine
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.report.video import draw_panels
from sfm_ros.odometry import VisualOdometry
from sfm_ros.synthetic.held_out import HeldOutStreet

OUT = Path(__file__).resolve().parents[1] / "docs" / "demo.png"
WIDTH = 1088
"""Of the file in pixels."""


def draw(config: SfmConfig, frame: int) -> RgbImage:
    """The panels of a frame of the street, (H, 1088, 3); SourceError if the street has fewer."""
    street = HeldOutStreet()
    if not 0 <= frame < len(street):
        raise SourceError(f"--frame is {frame}, expected 0 to {len(street) - 1}")
    limits = SteadyLimits()
    with closing(create_engine(config.model)) as engine:
        odometry = VisualOdometry(engine, config)
        for item in islice(street, frame + 1):
            prepared = odometry.prepare(item.frame)
            panels = draw_panels(prepared.rgb, odometry.step(item.frame, prepared), limits)
    height = round(WIDTH * panels.shape[0] / panels.shape[1])
    small = cv2.resize(panels, (WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figure; the exit code of `run_program`."""
    parser = program_parser(__doc__)
    parser.add_argument(
        "--frame", type=int, default=72, help="of the street (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="image (default: docs/demo.png)")
    add_engine_options(parser)
    return run_program("demo_figure", lambda: _write(parser.parse_args(arguments)))


def _write(options: argparse.Namespace) -> int:
    check_image_file(options)
    config = SfmConfig(
        model=with_engine_options(ModelConfig(), options),
        scale=ScaleConfig(camera_height=HeldOutStreet.camera_height_m),
    )
    write_image(options.out, draw(config, options.frame))
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
