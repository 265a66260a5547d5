"""Stamps of a folder of images, from a file of times or from the frame rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.formats.files import read_text
from sfm_ros.formats.trajectory import parse_stamp

NS = 1_000_000_000
_TIME_FILES = ("times.txt", "timestamps.txt")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(\.\d+)?$")


def regular_stamps(count: int, fps: float) -> list[int]:
    """Stamps of frames at a constant rate from 0; SourceError if the rate is not positive."""
    if not 0 < fps < float("inf"):
        raise SourceError(
            f"the frame rate is {fps}, expected a positive number of frames per second"
        )
    return [round(index * NS / fps) for index in range(count)]


def find_times(images_dir: Path) -> Path | None:
    """The file of times in a folder of images or in its parent, as in KITTI's layouts."""
    files = (f / name for f in (images_dir, images_dir.parent) for name in _TIME_FILES)
    return next((file for file in files if file.is_file()), None)


def read_times(path: Path) -> list[int]:
    """Nanoseconds of each line: decimal seconds, or a date and time (KITTI raw).

    Raises:
        SourceError: the file cannot be read, a line is neither, or the times do not increase.
    """
    lines = read_text(path, "time", SourceError).splitlines()
    stamps: list[int] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        try:
            stamp = _parse_time(text)
        except (TrajectoryError, ValueError) as error:
            raise SourceError(f"{path}, line {number}: {error}") from None
        if stamps and stamp <= stamps[-1]:
            raise SourceError(f"{path}, line {number}: {text} is not later than the previous line")
        stamps.append(stamp)
    return stamps


def _parse_time(text: str) -> int:
    date = _DATE.match(text)
    if date is None:
        return parse_stamp(text)
    moment = datetime.fromisoformat(date[1]).replace(tzinfo=timezone.utc)
    return int(moment.timestamp()) * NS + parse_stamp(f"0{date[2] or ''}")


def stamps_of(files: Sequence[Path], times: Path) -> list[int]:
    """Stamp of each image, from a file with a line for each frame.

    If images are missing, the lines are found by the numbers of the others: ``000123.png`` takes
    line 124.

    Raises:
        SourceError: the file does not fit the images.
    """
    stamps = read_times(times)
    if len(stamps) == len(files):
        return stamps
    numbers = [int(file.stem) if file.stem.isdecimal() else len(stamps) for file in files]
    if max(numbers) < len(stamps):
        return [stamps[number] for number in numbers]
    raise SourceError(
        f"{times} has {len(stamps)} times, but {files[0].parent} has {len(files)} images; "
        "expected a line for each"
    )
