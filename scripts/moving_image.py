#!/usr/bin/env python3
"""Draws docs/demo.webp: the camera's image, its depth, and the path, as they change.

    python scripts/moving_image.py                         # a held-out rendered street
    python scripts/moving_image.py my_drive --frames 200   # whatever sfm_evaluate bag takes

The odometry runs offline, as in sfm_evaluate bag; nothing is aligned. The file is a WebP image
that moves, which browsers and GitHub show.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from sfm_ros.cli.engine_options import (  # noqa: E402
    add_engine_options,
    with_default_model,
    with_engine_options,
)
from sfm_ros.cli.evaluate_bag import (  # noqa: E402
    add_input_options,
    input_options,
    with_camera_options,
)
from sfm_ros.cli.program import program_parser, run_program  # noqa: E402
from sfm_ros.colormap import SteadyLimits, color_of_depth  # noqa: E402
from sfm_ros.config import ModelConfig, SfmConfig  # noqa: E402
from sfm_ros.datatypes import FloatArray, OdometryEstimate, RgbImage  # noqa: E402
from sfm_ros.engines.factory import create_engine  # noqa: E402
from sfm_ros.errors import ConfigError, OutputError, SourceError  # noqa: E402
from sfm_ros.evaluation.runs.inputs import EvaluationInput, open_input  # noqa: E402
from sfm_ros.evaluation.runs.offline import OfflineRun  # noqa: E402
from sfm_ros.evaluation.session import progress, with_height  # noqa: E402
from sfm_ros.geometry import inverse  # noqa: E402
from sfm_ros.outputs.cache import write_atomically  # noqa: E402
from sfm_ros.outputs.folder import check_output_files  # noqa: E402

WIDTH, MAP = 560, 280
"""Pixels: width of image and depth, width of the map beside them."""
MARGIN, BAR = 24, 22
BACKGROUND, TEXT = (24, 24, 28), (240, 240, 240)
ESTIMATE, GROUND_TRUTH = (64, 170, 255), (110, 220, 110)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass
class Drawn:
    """What is drawn, collected while the odometry runs."""

    panels: list[RgbImage] = field(default_factory=list)
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[FloatArray] = field(default_factory=list)
    limits: SteadyLimits = field(default_factory=SteadyLimits)

    def add(self, rgb: RgbImage, estimate: OdometryEstimate) -> None:
        """Keep a frame that has depth and a pose."""
        if estimate.depth is None or estimate.T_odom_camera is None:
            return
        near_far = self.limits.follow(estimate.depth)
        span = f"depth, {near_far[0]:.0f} to {near_far[1]:.0f} m"
        colors = color_of_depth(estimate.depth, near_far)
        self.panels.append(np.vstack([panel(rgb, "camera"), panel(colors, span)]))
        self.stamps_ns.append(estimate.stamp_ns)
        self.poses.append(estimate.T_odom_camera)


def panel(rgb: RgbImage, caption: str) -> RgbImage:
    """An image at the common width with a caption above it."""
    height = round(rgb.shape[0] * WIDTH / rgb.shape[1])
    large = cv2.resize(rgb, (WIDTH, height), interpolation=cv2.INTER_CUBIC)
    bar = np.full((BAR, WIDTH, 3), BACKGROUND, np.uint8)
    cv2.putText(bar, caption, (8, BAR - 7), FONT, 0.45, TEXT, 1, cv2.LINE_AA)
    return np.vstack([bar, large])


def seen_from_above(T_world_camera: Sequence[FloatArray]) -> FloatArray:
    """(N, 2) positions right and ahead of the first camera, meters."""
    start = inverse(T_world_camera[0])
    return np.array([(start @ T)[[0, 2], 3] for T in T_world_camera])


def draw_map(paths: dict[tuple[int, int, int], FloatArray], height: int, count: int) -> RgbImage:
    """The paths up to the frame of index ``count - 1``, ahead is up; both in one scale."""
    canvas = np.full((height, MAP, 3), BACKGROUND, np.uint8)
    every = np.vstack(list(paths.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    room = np.array([MAP, height - BAR]) - 2 * MARGIN
    scale = float(np.min(room / np.maximum(high - low, 1e-3)))
    middle = np.array([MAP, height + BAR]) / 2
    for color, path in paths.items():
        width = 5 if color == GROUND_TRUTH else 2  # visible below the estimate
        pixels = (path[:count] - (low + high) / 2) * (scale, -scale) + middle
        points = np.rint(pixels).astype(np.int32).reshape(-1, 1, 2)
        cv2.polylines(canvas, [points], False, color, width, cv2.LINE_AA)
        cv2.circle(canvas, tuple(int(v) for v in points[-1, 0]), 4, color, -1, cv2.LINE_AA)
    length_m = float(np.linalg.norm(np.diff(paths[ESTIMATE][:count], axis=0), axis=1).sum())
    caption = f"path, {length_m:.0f} m"
    cv2.putText(canvas, caption, (8, BAR - 7), FONT, 0.45, ESTIMATE, 1, cv2.LINE_AA)
    if GROUND_TRUTH in paths:
        at = (MAP - 108, BAR - 7)
        cv2.putText(canvas, "ground truth", at, FONT, 0.45, GROUND_TRUTH, 1, cv2.LINE_AA)
    return canvas


def run(given: EvaluationInput, config: SfmConfig, frames: int) -> Drawn:
    """The odometry over the first frames.

    Raises:
        SourceError: fewer than two of them have depth and a pose.
        KeyboardInterrupt: what is drawn is not all that was asked for.
    """
    config = with_height(config, given.camera_height_m)
    drawn = Drawn()
    count = min(frames, len(given.source))
    with closing(create_engine(config.model)) as engine, progress("drawing", count) as bar:
        result = OfflineRun(engine, config).run(
            given.source, frames, on_frame=bar.update, on_estimate=drawn.add
        )
    if result.interrupted:
        raise KeyboardInterrupt
    if len(drawn.panels) < 2:
        raise SourceError(f"{given.name} gave {len(drawn.panels)} frames with depth, expected 2")
    return drawn


def sheets(given: EvaluationInput, drawn: Drawn, step: int) -> list[RgbImage]:
    """Every ``step``-th sheet: image and depth, and the map beside them."""
    paths = {}
    known = given.ground_truth.trajectory(np.array(drawn.stamps_ns)).trajectory
    if known is not None:
        by_stamp = dict(zip(known.stamps_ns.tolist(), known.poses, strict=True))
        if all(stamp in by_stamp for stamp in drawn.stamps_ns):
            paths[GROUND_TRUTH] = seen_from_above([by_stamp[s] for s in drawn.stamps_ns])
    paths[ESTIMATE] = seen_from_above(drawn.poses)
    return [
        np.hstack([drawn.panels[i], draw_map(paths, len(drawn.panels[i]), i + 1)])
        for i in range(0, len(drawn.panels), step)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run, draw and write; 0, or 1 with the reason."""
    parser = program_parser(__doc__)
    add_input_options(parser)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "demo.webp")
    parser.add_argument("--frames", type=int, default=160, metavar="N", help="the first N frames")
    parser.add_argument("--step", type=int, default=2, help="draw every N-th frame", metavar="N")
    parser.add_argument("--quality", type=int, default=75, help="of WebP, 0 to 100")
    add_engine_options(parser)
    options = parser.parse_args(arguments)
    return run_program("moving_image", lambda: write(options))


def check(options: argparse.Namespace) -> None:
    """SfmRosError for options that would be found wrong only after the run."""
    check_output_files(options, "out")
    if options.out.suffix.lower() != ".webp":
        raise OutputError(f"--out is {options.out}, expected a file .webp")
    for name, least, most in (("frames", 2, None), ("step", 1, None), ("quality", 0, 100)):
        value = getattr(options, name)
        if value < least or (most is not None and value > most):
            span = f"at least {least}" if most is None else f"{least} to {most}"
            raise ConfigError(f"--{name} is {value}, expected {span}")


def write(options: argparse.Namespace) -> int:
    """Write the file, and print its size."""
    check(options)
    config = SfmConfig(model=with_engine_options(ModelConfig(), options))
    config = with_camera_options(config, options)
    named = input_options(options, config)
    config = replace(config, model=with_default_model(config.model, named.kind))
    given = open_input(named)
    drawn = run(given, config, options.frames)
    images = [Image.fromarray(sheet) for sheet in sheets(given, drawn, options.step)]
    seconds = (drawn.stamps_ns[-1] - drawn.stamps_ns[0]) * 1e-9 / (len(drawn.stamps_ns) - 1)
    data = io.BytesIO()
    images[0].save(
        data,
        format="WEBP",
        save_all=True,
        append_images=images[1:],
        duration=round(1000 * seconds * options.step),
        loop=0,
        quality=options.quality,
        method=6,
    )
    write_atomically(options.out, data.getvalue())
    print(f"{options.out}: {len(images)} images, {options.out.stat().st_size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
