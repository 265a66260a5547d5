"""The sources prepare.py knows, and how a command line names them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from glob import glob
from pathlib import Path

from sfm_ros.source import Source
from sfm_ros.sources.factory import open_source
from sfm_ros.synthetic.street import KINDS, SyntheticConfig, SyntheticStreet

SEVERAL = "may be given several times, and be a pattern such as 'rides/*'"


@dataclass(frozen=True, slots=True)
class Job:
    """One ride to prepare.

    Attributes:
        name: unique within the set.
        provenance: where it comes from, for whoever asks later what a model was trained on.
        open: makes the source; can be sent to another process.
        frames: how many it gives, where that is known without opening it.
    """

    name: str
    provenance: str
    open: Callable[[], Source]
    frames: int | None = None


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Declare a command for each kind of source; ``options.jobs_of(options)`` lists rides."""
    synthetic = commands.add_parser("synthetic", parents=[common], help="rendered streets")
    synthetic.add_argument("--seeds", type=seed_range, default=range(24), help="such as 0-23 or 7")
    synthetic.add_argument("--frames", type=int, default=150, help="frames of each street")
    synthetic.add_argument("--fps", type=float, default=10.0)
    synthetic.add_argument("--kind", choices=KINDS, default="mixed")
    synthetic.set_defaults(jobs_of=_synthetic_jobs)

    folder = commands.add_parser("folder", parents=[common], help="images in folders")
    folder.add_argument("--images", action="append", required=True, help=f"folder; {SEVERAL}")
    folder.add_argument("--calib", type=Path, help="calibration file")
    folder.add_argument("--camera", help="which camera of a KITTI calibration")
    folder.add_argument("--poses", type=Path, help="ground-truth poses, KITTI or TUM")
    folder.add_argument("--fps", type=float, default=10.0, help="where there is no file of times")
    folder.set_defaults(jobs_of=_folder_jobs)

    video = commands.add_parser("video", parents=[common], help="video files")
    video.add_argument("--file", action="append", required=True, help=SEVERAL)
    video.add_argument("--calib", type=Path, help="calibration file")
    video.add_argument("--fps", type=float, help="in place of the rate the file states")
    video.set_defaults(jobs_of=_video_jobs)

    bag = commands.add_parser("bag", parents=[common], help="ROS 1 or ROS 2 bags")
    bag.add_argument("--file", action="append", required=True, help=SEVERAL)
    bag.add_argument("--topic", help="images, raw or compressed; by default the only ones")
    bag.add_argument("--camera-info-topic")
    bag.add_argument("--pose-topic", help="ground-truth poses of the camera")
    bag.add_argument("--speed-topic", help="measured velocity, Odometry or a stamped Twist")
    bag.add_argument("--calib", type=Path, help="calibration file, in place of the bag's own")
    bag.set_defaults(jobs_of=_bag_jobs)


def seed_range(text: str) -> range:
    """``4-9`` (both included) or ``4``."""
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"'{text}' is not a range such as 0-23")
    return range(int(first), int(last or first) + 1)


def short_name(path: Path) -> str:
    """The last two parts of a path: what a ride is called in a set."""
    return "/".join(path.resolve().parts[-2:])


def _paths(patterns: list[str]) -> list[Path]:
    """What is named, patterns filled in; a name without a match stays, to be told as missing."""
    return [Path(path) for text in patterns for path in sorted(glob(text)) or [text]]


def _synthetic_jobs(options: argparse.Namespace) -> list[Job]:
    settings = {name: getattr(options, name) for name in ("width", "height", "frames", "fps")}
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    return [
        Job(
            name=f"street-{options.kind}-{seed}",
            provenance=f"rendered by sfm_ros, kind {options.kind}, seed {seed}, {told}",
            open=partial(
                SyntheticStreet, SyntheticConfig(seed=seed, kind=options.kind, **settings)
            ),
            frames=options.frames,
        )
        for seed in options.seeds
    ]


def _folder_jobs(options: argparse.Namespace) -> list[Job]:
    shared = {name: getattr(options, name) for name in ("calib", "poses", "fps", "camera")}
    return [
        Job(
            short_name(images),
            f"folder {images}",
            partial(open_source, "images", images, **shared),
        )
        for images in _paths(options.images)
    ]


def _video_jobs(options: argparse.Namespace) -> list[Job]:
    shared = {"calib": options.calib, "fps": options.fps}
    return [
        Job(short_name(file), f"video {file}", partial(open_source, "video", file, **shared))
        for file in _paths(options.file)
    ]


def _bag_jobs(options: argparse.Namespace) -> list[Job]:
    shared = {
        "image_topic": options.topic,
        "camera_info_topic": options.camera_info_topic,
        "pose_topic": options.pose_topic,
        "speed_topic": options.speed_topic,
        "calib": options.calib,
    }
    topic = "" if options.topic is None else f" {options.topic}"
    return [
        Job(
            short_name(file) + topic,
            f"bag {file}{topic}",
            partial(open_source, "bag", file, **shared),
        )
        for file in _paths(options.file)
    ]
