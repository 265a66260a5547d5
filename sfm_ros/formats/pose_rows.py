"""The lines of a table of poses, and what its columns are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfm_ros.errors import TrajectoryError
from sfm_ros.formats.files import read_text
from sfm_ros.formats.pose_columns import (
    EXPECTED_HEADER,
    TARTAN,
    TUM,
    PoseColumns,
    columns_of_header,
    fields_of,
    header_fields,
)

_EXPECTED = (
    "expected 8 (TUM: stamp tx ty tz qx qy qz qw), 7 (TartanAir: no stamp), 12 (KITTI), 13 (KITTI "
    f"with the frame index in front), or a header such as {EXPECTED_HEADER}"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of numbers."""

    location: str
    fields: list[str]
    has_marks: bool


def read_rows(path: Path) -> tuple[list[Row], PoseColumns | None]:
    """The lines of numbers, at least one, and the columns that a header names."""
    rows: list[Row] = []
    header: PoseColumns | None = None
    unclear: list[tuple[int, str]] = []
    text = read_text(path, "trajectory", TrajectoryError).removeprefix("\ufeff")
    for number, line in enumerate(text.splitlines(), start=1):
        location, fields = f"{path}, line {number}", fields_of(line)
        is_comment = line.lstrip().startswith(("#", "%"))
        if not fields:
            continue
        if not is_comment and (rows or any(map(_is_number, fields))):
            rows.append(Row(location, fields, "," in line or ";" in line))
            continue
        names = header_fields(line)
        try:
            found = columns_of_header(names)
        except TrajectoryError as error:
            unclear.append((len(names) if is_comment else 0, f"{location}: {error}"))
            continue
        if found is None and not is_comment:
            raise TrajectoryError(f"{location}: neither numbers nor a header: {line.strip()}")
        if found is not None and rows and found != header:
            raise TrajectoryError(f"{location}: other columns are named than for the lines before")
        header = found or header
    if not rows:
        raise TrajectoryError(f"{path} holds no pose")
    for count, reason in unclear:  # a comment of as many words as there are columns names these
        if header is None and count in (0, len(rows[0].fields)):
            raise TrajectoryError(reason)
    return rows, header


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def usual_columns(row: Row) -> PoseColumns:
    """The columns of a file without a header; TrajectoryError if they are unclear."""
    count = len(row.fields)
    if row.has_marks and count >= TARTAN.count:
        raise TrajectoryError(
            f"{row.location}: {count} columns between commas without a header: whether qx or qw "
            "comes first is unknown; name them with --columns, such as "
            f"{EXPECTED_HEADER} or timestamp,tx,ty,tz,qw,qx,qy,qz, or in a first line"
        )
    for usual in (TUM, TARTAN):
        if count == usual.count:
            return usual
    raise TrajectoryError(f"{row.location}: {count} columns, {_EXPECTED}")
