"""The kinds of sources that prepare.py reads, each with the command that names its sources.

A new kind of recording has its class in sfm_ros/sources, its line in sfm_ros/sources/factory.py
and its command here. A data set with a layout of its own has a file beside this one, as KITTI.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.source import Source
from sfm_ros.sources.factory import open_source
from sfm_ros.synthetic.street import KINDS, SyntheticConfig, SyntheticStreet
from training.data.sequence import SKY_DEPTH_M

VIEWS_DEG, HEIGHTS_M, PITCHES_DEG = (40.0, 110.0), (0.8, 2.5), (-7.0, 3.0)
"""Horizontal fields of view, heights and pitches of the cameras of streets that are varied."""
_CAMERA_HELP = "which camera of a calibration file with several"
SEVERAL = "may be given several times, and be a pattern such as 'recordings/*'"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source to prepare, not yet opened.

    Attributes:
        name: unique within the set.
        provenance: origin, stored in the set: what a model was trained on.
        open: opens the source; can be sent to another process.
        frames: number of frames if it is known without opening the source.
        path: file or folder it reads; None if it is rendered.
    """

    name: str
    provenance: str
    open: Callable[[], Source]
    frames: int | None = None
    path: Path | None = None


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Declare a command for each kind of source; ``options.list_sources(options)`` lists them."""
    synthetic = commands.add_parser("synthetic", parents=[common], help="rendered streets")
    synthetic.add_argument("--seeds", type=seed_range, default=range(24), help="such as 0-23 or 7")
    synthetic.add_argument("--frames", type=int, default=150, help="frames of each street")
    synthetic.add_argument("--fps", type=float, default=10.0)
    synthetic.add_argument("--kind", choices=KINDS, default="mixed")
    synthetic.add_argument(
        "--label-sky", action="store_true", help="store the sky as such, not as unknown depth"
    )
    synthetic.add_argument(
        "--varied", action="store_true",
        help="lenses of 40 to 110 degrees and cameras 0.8 to 2.5 m above the road, which look up "
        "to 7 degrees down or 3 up",
    )  # fmt: skip
    synthetic.set_defaults(list_sources=_synthetic_sources)

    folder = commands.add_parser("folder", parents=[common], help="images in folders")
    folder.add_argument("--images", action="append", required=True, help=f"folder; {SEVERAL}")
    folder.add_argument("--calib", type=Path, help="calibration file")
    folder.add_argument("--camera", help=_CAMERA_HELP)
    folder.add_argument("--poses", type=Path, help="ground-truth poses: KITTI, TUM, EuRoC, ...")
    folder.add_argument("--columns", help="of --poses without a header")
    folder.add_argument(
        "--fps", type=float, help="without a file of times; default: times in the names, else 10"
    )
    folder.set_defaults(list_sources=_folder_sources)

    video = commands.add_parser("video", parents=[common], help="video files")
    video.add_argument("--file", action="append", required=True, help=SEVERAL)
    video.add_argument("--calib", type=Path, help="calibration file")
    video.add_argument("--camera", help=_CAMERA_HELP)
    video.add_argument("--fps", type=float, help="in place of the rate stated in the file")
    video.set_defaults(list_sources=_video_sources)

    bag = commands.add_parser("bag", parents=[common], help="ROS 1 or ROS 2 bags")
    bag.add_argument("--file", action="append", required=True, help=SEVERAL)
    bag.add_argument("--topic", help="images, raw or compressed; default: the only such topic")
    bag.add_argument("--camera-info-topic")
    bag.add_argument("--pose-topic", help="ground-truth poses of the camera")
    bag.add_argument("--speed-topic", help="measured velocity, Odometry or a stamped Twist")
    bag.add_argument("--calib", type=Path, help="calibration file, in place of the bag's own")
    bag.add_argument("--camera", help=_CAMERA_HELP)
    bag.set_defaults(list_sources=_bag_sources)


def seed_range(text: str) -> range:
    """``4-9`` (both included) or ``4``."""
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"'{text}' is not a range such as 0-23")
    return range(int(first), int(last or first) + 1)


def short_name(path: Path) -> str:
    """The last two parts of a path: the name of a source in a set."""
    return "/".join(path.resolve().parts[-2:])


def _synthetic_sources(options: argparse.Namespace) -> list[SourceSpec]:
    settings = {name: getattr(options, name) for name in ("width", "height", "frames", "fps")}
    text = ", ".join(f"{name} {value}" for name, value in settings.items())
    text += ", sky labeled" * options.label_sky + ", varied" * options.varied
    sky_depth_m = SKY_DEPTH_M if options.label_sky else 0.0
    return [
        SourceSpec(
            name=f"street-{options.kind}-{seed}",
            provenance=f"rendered by sfm_ros, kind {options.kind}, seed {seed}, {text}",
            open=partial(
                SyntheticStreet,
                _street_config(
                    options.varied,
                    seed=seed,
                    kind=options.kind,
                    sky_depth_m=sky_depth_m,
                    **settings,
                ),
            ),
            frames=options.frames,
        )
        for seed in options.seeds
    ]


def _street_config(varied: bool, **settings: Any) -> SyntheticConfig:
    """With ``varied``, a lens by the tangent of half its view, a height and a pitch."""
    config = SyntheticConfig(**settings)
    if not varied:
        return config
    rng = np.random.default_rng([config.seed, 40])
    narrow, wide = (math.log(math.tan(math.radians(view / 2))) for view in VIEWS_DEG)
    return replace(
        config,
        fx=config.width / 2 / math.exp(rng.uniform(narrow, wide)),
        camera_height_m=float(rng.uniform(*HEIGHTS_M)),
        # A network that knows no other takes the middle of the image for the horizon.
        pitch_deg=float(rng.uniform(*PITCHES_DEG)),
    )


def _folder_sources(options: argparse.Namespace) -> list[SourceSpec]:
    names = ("calib", "poses", "columns", "fps", "camera", "input", "bits")
    settings = {name: getattr(options, name) for name in names}
    return _file_sources("folder", "images", options.images, settings)


def _video_sources(options: argparse.Namespace) -> list[SourceSpec]:
    settings = {n: getattr(options, n) for n in ("calib", "fps", "camera", "input")}
    return _file_sources("video", "video", options.file, settings)


def _bag_sources(options: argparse.Namespace) -> list[SourceSpec]:
    names = (
        *("camera_info_topic", "pose_topic", "speed_topic"),
        *("calib", "camera", "input", "bits"),
    )
    settings = {"image_topic": options.topic, **{name: getattr(options, name) for name in names}}
    suffix = "" if options.topic is None else f" {options.topic}"
    return _file_sources("bag", "bag", options.file, settings, suffix)


def _file_sources(
    kind: str, keyword: str, patterns: list[str], settings: dict[str, Any], suffix: str = ""
) -> list[SourceSpec]:
    """A source for each file or folder; ``keyword`` is its kind for `open_source`."""
    # A pattern without a match is kept: opening it reports the missing file.
    paths = [Path(path) for text in patterns for path in sorted(glob(text)) or [text]]
    return [
        SourceSpec(
            name=short_name(path) + suffix,
            provenance=f"{kind} {path}{suffix}",
            open=partial(open_source, keyword, path, **settings),
            path=path,
        )
        for path in paths
    ]
