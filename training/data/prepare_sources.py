"""The sources prepare.py knows, and how a command line names them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sfm_ros.errors import SourceError
from sfm_ros.sources.base import Source
from sfm_ros.sources.factory import open_source
from sfm_ros.sources.synthetic import KINDS


@dataclass(frozen=True, slots=True)
class Job:
    """One ride to prepare.

    Attributes:
        name: unique within the set.
        provenance: where it comes from, for whoever asks later what a model was trained on.
        open: makes the source; can be sent to another process.
    """

    name: str
    provenance: str
    open: Callable[[], Source]


def add_commands(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    """Declare a command for each kind of source; ``options.jobs_of(options)`` lists rides."""
    synthetic = commands.add_parser("synthetic", parents=[common], help="rendered streets")
    synthetic.add_argument("--seeds", type=seed_range, default=range(24), help="such as 0-23 or 7")
    synthetic.add_argument("--frames", type=int, default=150, help="frames of each street")
    synthetic.add_argument("--fps", type=float, default=10.0)
    synthetic.add_argument("--kind", choices=KINDS, default="mixed")
    synthetic.set_defaults(jobs_of=_synthetic_jobs)

    folder = commands.add_parser("folder", parents=[common], help="pictures in a folder")
    folder.add_argument("--images", type=Path, required=True, help="folder of pictures")
    folder.add_argument("--calib", type=Path, help="calibration file")
    folder.add_argument("--camera", help="which camera of a KITTI calibration")
    folder.add_argument("--poses", type=Path, help="true poses, KITTI or TUM")
    folder.add_argument("--fps", type=float, default=10.0, help="where there is no file of times")
    folder.set_defaults(jobs_of=_folder_jobs)

    kitti = commands.add_parser("kitti", parents=[common], help="KITTI drives, raw or odometry")
    kitti.add_argument("--root", type=Path, required=True, help="a drive, or a folder of drives")
    kitti.add_argument("--camera", help="0 to 3; by default the left colour camera")
    kitti.set_defaults(jobs_of=_kitti_jobs)

    video = commands.add_parser("video", parents=[common], help="a video file")
    video.add_argument("--file", type=Path, required=True)
    video.add_argument("--calib", type=Path, help="calibration file")
    video.add_argument("--fps", type=float, help="in place of the rate the file states")
    video.set_defaults(jobs_of=_video_jobs)

    bag = commands.add_parser("bag", parents=[common], help="a ROS 1 or ROS 2 bag")
    bag.add_argument("--file", type=Path, required=True)
    bag.add_argument("--topic", help="images; by default the only image topic")
    bag.add_argument("--camera-info-topic")
    bag.add_argument("--pose-topic", help="true poses of the camera")
    bag.add_argument("--calib", type=Path, help="calibration file, in place of the bag's own")
    bag.set_defaults(jobs_of=_bag_jobs)


def seed_range(text: str) -> range:
    """``4-9`` (both included) or ``4``."""
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()) or int(last or first) < int(first):
        raise argparse.ArgumentTypeError(f"'{text}' is not a range such as 0-23")
    return range(int(first), int(last or first) + 1)


def _synthetic_jobs(options: argparse.Namespace) -> list[Job]:
    settings = {name: getattr(options, name) for name in ("width", "height", "frames", "fps")}
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    return [
        Job(
            name=f"street-{options.kind}-{seed}",
            provenance=f"rendered by sfm_ros, kind {options.kind}, seed {seed}, {told}",
            open=partial(open_source, synthetic=seed, kind=options.kind, **settings),
        )
        for seed in options.seeds
    ]


def _folder_jobs(options: argparse.Namespace) -> list[Job]:
    source = partial(
        open_source,
        images=options.images,
        calib=options.calib,
        poses=options.poses,
        fps=options.fps,
        camera=options.camera,
    )
    return [Job(_short(options.images), f"folder {options.images}", source)]


def _kitti_jobs(options: argparse.Namespace) -> list[Job]:
    patterns = ("image_*", "*/image_*", "*/*/image_*")
    drives = sorted({p.parent for pattern in patterns for p in options.root.glob(pattern)})
    if not drives:
        raise SourceError(
            f"no KITTI drive in {options.root}: expected folders with image_02/data (raw) or with "
            "image_0 and calib.txt (odometry), at most two levels down"
        )
    return [
        Job(
            _short(drive),
            f"KITTI {drive.name}",
            partial(open_source, kitti=drive, camera=options.camera),
        )
        for drive in drives
    ]


def _video_jobs(options: argparse.Namespace) -> list[Job]:
    source = partial(open_source, video=options.file, calib=options.calib, fps=options.fps)
    return [Job(_short(options.file), f"video {options.file}", source)]


def _bag_jobs(options: argparse.Namespace) -> list[Job]:
    source = partial(
        open_source,
        bag=options.file,
        image_topic=options.topic,
        camera_info_topic=options.camera_info_topic,
        pose_topic=options.pose_topic,
        calib=options.calib,
    )
    topic = "" if options.topic is None else f" {options.topic}"
    return [Job(_short(options.file) + topic, f"bag {options.file}{topic}", source)]


def _short(path: Path) -> str:
    return "/".join(path.resolve().parts[-2:])
