"""Names of images that are times: ``1305031102.175304.png``, ``1403636579763555584.png``.

Recorders drop zeros at the end of seconds, or at the start of nanoseconds, so that neither the
order of the names nor that of the numbers in them is that of time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import median

from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.formats.time_units import NS, UNITS, in_nanoseconds, unit_of

_NAME = re.compile(r"(?P<prefix>\D*?)(?P<whole>\d+)(?:(?P<mark>[._-])(?P<part>\d+))?")
_EARLIEST_S, _LATEST_S = 631_152_000, 4_102_444_800
"""The years 1990 to 2100: other large numbers are dates or serial numbers."""
_SHORTEST_PERIOD_NS, _LONGEST_PERIOD_NS = 2 * 10**6, 60 * NS
"""Of images whose names count from zero; closer or farther ones are no times."""
_FRACTION_OF_NS = 9
_LEAST_NAMES = 3


@dataclass(frozen=True, slots=True)
class NamedTimes:
    """Images in order of the times in their names.

    Attributes:
        files: one or more.
        stamps_ns: of each, increasing.
        text: how the names are read, for people.
    """

    files: list[Path]
    stamps_ns: list[int]
    text: str


def times_in_names(files: Sequence[Path]) -> NamedTimes | None:
    """The times in the names of images; None if the names are no times.

    Raises:
        SourceError: two images have the same time, or some names are times and others are not.
    """
    matches = [_NAME.fullmatch(file.stem) for file in files]
    found = [match for match in matches if match is not None]
    if not found:
        return None
    usual = Counter(map(_style, found)).most_common(1)[0][0]
    same = [match is not None and _style(match) == usual for match in matches]
    named = [match for match in found if _style(match) == usual]
    read = _by_part(named) if usual[1] else _by_number(named)
    if read is None:
        return None
    if not all(same):
        odd = files[same.index(False)]
        raise SourceError(
            f"the names of {sum(same)} images in {odd.parent} are times, but not {odd.name}; move "
            "it out of the folder"
        )
    stamps, text = read
    order = sorted(range(len(files)), key=stamps.__getitem__)
    for before, after in zip(order, order[1:], strict=False):
        if stamps[before] == stamps[after]:
            raise SourceError(
                f"the images {files[before]} and {files[after].name} have the same time in their "
                "names"
            )
    return NamedTimes([files[i] for i in order], [stamps[i] for i in order], text)


def _style(match: re.Match[str]) -> tuple[str, str]:
    return match["prefix"], match["mark"] or ""


_Read = tuple[list[int], str]


def _by_number(names: Sequence[re.Match[str]]) -> _Read | None:
    """Whole numbers of nanoseconds to seconds since 1970, or of small units from zero."""
    values = [Decimal(name["whole"]) for name in names]
    for unit, factor in UNITS.items():
        if all(_EARLIEST_S * NS <= value * factor <= _LATEST_S * NS for value in values):
            stamps = [int(value) * factor for value in values]
            is_time = len(stamps) == 1 or _is_plausible(sorted(stamps))
            return (stamps, f"in {unit}") if is_time else None
    if max(values) > _LATEST_S or len(values) < _LEAST_NAMES:
        return None
    values_in_order = sorted(values)
    try:
        unit = unit_of(values_in_order)
    except TrajectoryError:
        return None
    if unit == "seconds" or not _is_plausible([int(v) * UNITS[unit] for v in values_in_order]):
        return None
    return [int(value) * UNITS[unit] for value in values], f"in {unit}"


def _by_part(names: Sequence[re.Match[str]]) -> _Read | None:
    """Seconds with decimals, or seconds and nanoseconds."""
    mark = names[0]["mark"]
    lengths = {len(name["part"]) for name in names}
    whole = [int(name["whole"]) for name in names]
    is_absolute = all(_EARLIEST_S <= value <= _LATEST_S for value in whole)
    may_be_seconds = is_absolute or (mark == "." and len(names) > 1)
    if max(lengths) > _FRACTION_OF_NS or max(whole) > _LATEST_S or not may_be_seconds:
        return None
    decimals = [in_nanoseconds(Decimal(f"{n['whole']}.{n['part']}")) for n in names]
    parts = [int(n["whole"]) * NS + int(n["part"]) for n in names]
    # Nanoseconds without leading zeros have mostly nine digits, decimals without trailing zeros of
    # a float's precision have at most seven.
    may_be_parts = is_absolute and max(lengths) == _FRACTION_OF_NS and len(lengths) > 1
    if may_be_parts and _unevenness(parts) < _unevenness(decimals):
        return parts, "in seconds and nanoseconds"
    if mark != "." and not (is_absolute and lengths == {_FRACTION_OF_NS}):
        return (parts, "in seconds and nanoseconds") if may_be_parts else None
    if not is_absolute and not _is_plausible(sorted(decimals)):
        return None
    return decimals, "in seconds"


def _steps(stamps: Sequence[int]) -> list[int]:
    return [after - before for before, after in zip(stamps, stamps[1:], strict=False)]


def _is_plausible(in_order: Sequence[int]) -> bool:
    steps = _steps(in_order)
    return bool(steps) and _SHORTEST_PERIOD_NS <= median(steps) <= _LONGEST_PERIOD_NS


def _unevenness(stamps: Sequence[int]) -> float:
    """Largest difference of a step from the median one, in order."""
    steps = _steps(sorted(stamps))
    usual = median(steps)
    return max(abs(step - usual) for step in steps)
