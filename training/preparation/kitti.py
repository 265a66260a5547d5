"""Which drives, cameras and frames of KITTI are prepared."""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path

from tqdm import tqdm

from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.splits import RAW_DRIVE_OF_SEQUENCE, SPLITS, frames_of_split
from sfm_ros.sources.factory import open_source
from sfm_ros.sources.folder import frame_number, list_images
from sfm_ros.sources.kitti.source import image_folder
from training.preparation.sources import SourceSpec, short_name

HOLD_OUT = ("auto", "eigen", "odometry", "both", "none")
_RAW_DRIVE = re.compile(r"\d{4}_\d\d_\d\d_drive_\d{4}")


def add_kitti_command(
    commands: argparse._SubParsersAction, common: argparse.ArgumentParser
) -> None:
    """Declare ``prepare.py kitti``."""
    parser = commands.add_parser("kitti", parents=[common], help="KITTI drives, raw or odometry")
    parser.add_argument("--root", type=Path, required=True, help="a drive, or a folder of drives")
    parser.add_argument(
        "--camera", type=lambda text: text.split(","), default=[None],
        help="0 to 3, or several: 2,3 takes both color cameras; default: the left one of them",
    )  # fmt: skip
    parser.add_argument(
        "--hold-out", choices=HOLD_OUT, default="auto",
        help="drives to leave out for evaluation: Eigen's 28 test drives, odometry 09 and 10 with "
        "the raw drives they are cut from, both, or none; auto: Eigen's raw drives, 09 and 10 of "
        "the sequences",
    )  # fmt: skip
    parser.add_argument("--split", choices=SPLITS, help="only the frames of this split")
    parser.add_argument(
        "--keep-static", action="store_true", help="keep frames of raw drives listed as static"
    )
    parser.set_defaults(list_sources=_list_sources)


def _list_sources(options: argparse.Namespace) -> list[SourceSpec]:
    """A source for each camera of each drive to prepare; SourceError if there is none."""
    drives = _find_drives(options.root)
    if options.split is not None:
        names = drives.keys() & frames_of_split(options.split)
        problem = f"is in the split {options.split}"
    else:
        names = drives.keys() - _held_out(options.hold_out)
        problem = f"is left by --hold-out {options.hold_out}; --hold-out none takes all"
        left_out = sorted(drives.keys() - names)
        if left_out:
            tqdm.write(
                f"{len(left_out)} drives are left out for evaluation: {', '.join(left_out)} "
                "(--hold-out none takes them too)"
            )
    if not names:
        raise SourceError(f"no KITTI drive in {options.root} {problem}")
    return [
        _source(name, drive, camera, options)
        for name, drive in drives.items()
        if name in names
        for camera in options.camera
    ]


def _find_drives(root: Path) -> dict[str, Path]:
    """Name of a drive as in the splits -> its folder."""
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


def _held_out(choice: str) -> set[str]:
    eigen, test = set(frames_of_split("eigen")), set(frames_of_split("odometry_test"))
    if choice == "auto":
        return eigen | test
    names = set()
    if choice in ("eigen", "both"):
        names |= eigen | {s for s, drive in RAW_DRIVE_OF_SEQUENCE.items() if drive in eigen}
    if choice in ("odometry", "both"):
        names |= test | {RAW_DRIVE_OF_SEQUENCE[sequence] for sequence in test}
    return names


def _source(name: str, drive: Path, camera: str | None, options: argparse.Namespace) -> SourceSpec:
    frames, note = _frames(name, drive, camera, options)
    suffix = f" camera {camera}" if len(options.camera) > 1 else ""
    return SourceSpec(
        name=short_name(drive) + suffix,
        provenance=f"KITTI {drive.resolve().name}{suffix}{note}",
        open=partial(
            open_source,
            "kitti",
            drive,
            camera=camera,
            frames=frames,
            input=options.input,
            bits=options.bits,
        ),
    )


def _frames(
    name: str, drive: Path, camera: str | None, options: argparse.Namespace
) -> tuple[frozenset[int] | None, str]:
    """Numbers of the frames to take (None: all), and a note on the choice for the provenance."""
    if options.split is not None:
        number = int(camera) if camera is not None and camera.isdecimal() else 2
        listed = frames_of_split(options.split, number).get(name, [])
        return frozenset(listed), f", split {options.split}"
    static = set(frames_of_split("static").get(name, ()))
    if options.keep_static or not static:
        return None, ""
    try:
        folder = image_folder(drive, camera)
        images = list_images(folder / "data" if (folder / "data").is_dir() else folder)
    except SourceError:
        return None, ""  # opening the source reports it, and the other drives are prepared
    numbers = {frame_number(image) for image in images} - static
    return frozenset(n for n in numbers if n is not None), ", without static frames"
