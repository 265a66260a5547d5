"""Which drives, cameras and frames of KITTI are prepared."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tqdm import tqdm

from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.splits import RAW_DRIVE_OF_SEQUENCE, SPLITS, frames_of_split
from sfm_ros.sources.factory import open_source
from sfm_ros.sources.folder import frame_number, list_images
from sfm_ros.sources.kitti.source import image_folder
from training.preparation.sources import Job, short_name

HOLD_OUT = ("auto", "eigen", "odometry", "both", "none")
_RAW_DRIVE = re.compile(r"\d{4}_\d\d_\d\d_drive_\d{4}")


def add_kitti_command(
    commands: argparse._SubParsersAction, common: argparse.ArgumentParser
) -> None:
    """Declare ``prepare.py kitti``."""
    kitti = commands.add_parser("kitti", parents=[common], help="KITTI drives, raw or odometry")
    kitti.add_argument("--root", type=Path, required=True, help="a drive, or a folder of drives")
    kitti.add_argument(
        "--camera",
        type=lambda text: text.split(","),
        default=[None],
        help="0 to 3, or several: 2,3 takes both color cameras; by default the left of them",
    )
    kitti.add_argument(
        "--hold-out",
        choices=HOLD_OUT,
        default="auto",
        help="drives that are left out to be measured on: Eigen's 28 test drives, odometry 09 and "
        "10 with the raw drives they are cut from, both, or none; auto: Eigen's raw drives, "
        "09 and 10 of the sequences",
    )
    kitti.add_argument("--split", choices=SPLITS, help="the frames of a split, and no others")
    kitti.add_argument(
        "--keep-static",
        action="store_true",
        help="keep the frames of raw drives that are listed as static",
    )
    kitti.set_defaults(jobs_of=kitti_jobs)


def kitti_jobs(options: argparse.Namespace) -> list[Job]:
    """A job for each camera of each drive that is to be prepared.

    Raises:
        SourceError: there is no drive, or none is left.
    """
    drives = _drives(options.root)
    if options.split is not None:
        listed = set(frames_of_split(options.split))
        drives = {name: drive for name, drive in drives.items() if name in listed}
        problem = f"is in the split {options.split}"
    else:
        left_out = _held_out(options.hold_out) & set(drives)
        drives = {name: drive for name, drive in drives.items() if name not in left_out}
        problem = f"is left by --hold-out {options.hold_out}; to take all, say --hold-out none"
        if left_out:
            tqdm.write(
                f"{len(left_out)} drives are left out, to be measured on: "
                f"{', '.join(sorted(left_out))} (--hold-out none takes them too)"
            )
    if not drives:
        raise SourceError(f"no KITTI drive in {options.root} {problem}")
    return [
        _job(name, drive, camera, options)
        for name, drive in drives.items()
        for camera in options.camera
    ]


def _drives(root: Path) -> dict[str, Path]:
    """Name of a drive as the splits have it -> its folder."""
    patterns = ("image_*", "*/image_*", "*/*/image_*")
    folders = sorted({found.parent for pattern in patterns for found in root.glob(pattern)})
    if not folders:
        raise SourceError(
            f"no KITTI drive in {root}: expected folders with image_02/data (raw) or with "
            "image_0 and calib.txt (odometry), at most two levels down"
        )
    drives: dict[str, Path] = {}
    for folder in folders:
        name = _split_name(folder)
        drives[short_name(folder) if name in drives else name] = folder
    return drives


def _split_name(drive: Path) -> str:
    match = _RAW_DRIVE.match(drive.resolve().name)
    return drive.resolve().name if match is None else f"{match[0]}_sync"


def _held_out(what: str) -> set[str]:
    eigen, test = set(frames_of_split("eigen")), set(frames_of_split("odometry_test"))
    if what == "auto":
        return eigen | test
    names = set()
    if what in ("eigen", "both"):
        names |= eigen | {s for s, drive in RAW_DRIVE_OF_SEQUENCE.items() if drive in eigen}
    if what in ("odometry", "both"):
        names |= test | {RAW_DRIVE_OF_SEQUENCE[sequence] for sequence in test}
    return names


def _job(name: str, drive: Path, camera: str | None, options: argparse.Namespace) -> Job:
    several = len(options.camera) > 1
    frames, told = _frames(name, drive, camera, options)
    source = partial(open_source, "kitti", drive, camera=camera, frames=frames)
    camera_told = f" camera {camera}" if several else ""
    return Job(
        name=short_name(drive) + (f" camera {camera}" if several else ""),
        provenance=f"KITTI {drive.resolve().name}{camera_told}{told}",
        open=source,
    )


def _frames(
    name: str, drive: Path, camera: str | None, options: argparse.Namespace
) -> tuple[frozenset[int] | None, str]:
    """Numbers of the frames to take (None: all), and what to note about the choice."""
    if options.split is not None:
        number = int(camera) if camera is not None and camera.isdecimal() else 2
        wanted = frames_of_split(options.split, number).get(name, [])
        return frozenset(wanted), f", split {options.split}"
    static = _static().get(name)
    if options.keep_static or not static:
        return None, ""
    try:
        folder = image_folder(drive, camera)
        images = list_images(folder / "data" if (folder / "data").is_dir() else folder)
    except SourceError:
        return None, ""  # opening the source says it, and the other drives go on
    numbers = (frame_number(image) for image in images)
    kept = frozenset(n for n in numbers if n is not None and n not in static)
    return kept, ", without static frames"


def _static() -> Mapping[str, set[int]]:
    return {drive: set(numbers) for drive, numbers in frames_of_split("static").items()}
