"""Stamps of a folder of images: from a file of times, from their names, or from the frame rate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.formats.files import read_text
from sfm_ros.formats.time_units import NS, converted, in_nanoseconds, parse_number
from sfm_ros.sources.time_names import times_in_names

DEFAULT_FPS = 10.0
_TIME_FILES = ("times.txt", "timestamps.txt")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(\.\d+)?$")


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedFiles:
    """Images in order of time.

    Attributes:
        files: one or more.
        stamps_ns: of each, increasing.
        remarks: where the times come from if that is not a file or the stated frame rate, and what
            was unusual about them, a sentence each.
    """

    files: list[Path]
    stamps_ns: list[int]
    remarks: tuple[str, ...] = ()


def timed_files(
    files: Sequence[Path], times: Path | None = None, fps: float | None = None
) -> TimedFiles:
    """Images with their times: those of a file of times, else the stated frame rate, else those in
    their names, else `DEFAULT_FPS`. Names that are times give the order in any case.

    Args:
        files: in natural order of their names.
        times: file of times.
        fps: frame rate if it is known.

    Raises:
        SourceError: the times do not fit the images, or the frame rate is not positive.
    """
    named = times_in_names(files)
    if named is not None:
        files = named.files
    if times is not None:
        stamps, remarks = stamps_of(files, times)
        return TimedFiles(files=list(files), stamps_ns=stamps, remarks=remarks)
    folder = files[0].parent
    if fps is None and named is not None:
        remark = f"{folder}: the times are those in the names of the images, {named.text}"
        return TimedFiles(files=named.files, stamps_ns=named.stamps_ns, remarks=(remark,))
    remarks = ()
    if fps is None:
        remarks = (
            f"{folder}: no times are known, so that {DEFAULT_FPS:g} frames per second are "
            "assumed; state them with --fps",
        )
    elif named is not None:
        remarks = (f"{folder}: the times in the names are not used, but the stated frame rate",)
    stamps = regular_stamps(len(files), DEFAULT_FPS if fps is None else fps)
    return TimedFiles(files=list(files), stamps_ns=stamps, remarks=remarks)


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


def read_times(path: Path) -> tuple[list[int], tuple[str, ...]]:
    """Nanoseconds of each line, and remarks on them, a sentence each.

    A line is a number of seconds, or of a smaller unit that is recognized by its size, or a date
    and time (KITTI raw). ``#`` starts a comment.

    Raises:
        SourceError: the file cannot be read, a line is neither, or the times do not increase.
    """
    text = read_text(path, "time", SourceError).removeprefix("\ufeff")
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    dates = [_DATE.match(line) for _, line in lines]
    try:
        numbers = [
            _number(path, *line) for line, date in zip(lines, dates, strict=True) if date is None
        ]
        by_number, remark = converted(numbers)
    except TrajectoryError as error:
        raise SourceError(f"{path}: {error}") from None
    values = iter(by_number)
    stamps = [
        next(values) if date is None else _nanoseconds(path, number, date)
        for (number, _), date in zip(lines, dates, strict=True)
    ]
    for (number, line), before, after in zip(lines[1:], stamps, stamps[1:], strict=False):
        if after <= before:
            raise SourceError(f"{path}, line {number}: {line} is not later than the previous line")
    return stamps, () if remark is None else (f"{path}: {remark}",)


def _number(path: Path, number: int, line: str) -> Decimal:
    try:
        return parse_number(line)
    except TrajectoryError as error:
        raise SourceError(f"{path}, line {number}: {error}") from None


def _nanoseconds(path: Path, number: int, date: re.Match[str]) -> int:
    try:
        moment = datetime.fromisoformat(date[1]).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise SourceError(f"{path}, line {number}: {date[0]}: {error}") from None
    return int(moment.timestamp()) * NS + in_nanoseconds(parse_number(f"0{date[2] or ''}"))


def stamps_of(files: Sequence[Path], times: Path) -> tuple[list[int], tuple[str, ...]]:
    """Stamp of each image, from a file with a line for each frame; remarks as `read_times`.

    If images are missing, the lines are found by the numbers of the others: ``000123.png`` takes
    line 124.

    Raises:
        SourceError: the file does not fit the images.
    """
    stamps, remarks = read_times(times)
    if len(stamps) == len(files):
        return stamps, remarks
    numbers = [int(file.stem) if file.stem.isdecimal() else len(stamps) for file in files]
    if max(numbers) < len(stamps):
        return [stamps[number] for number in numbers], remarks
    raise SourceError(
        f"{times} has {len(stamps)} times, but {files[0].parent} has {len(files)} images; "
        "expected a line for each"
    )
