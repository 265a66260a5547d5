"""Times in text: decimal numbers of seconds, or of a smaller unit that is recognized by its size.

Many tools write nanoseconds where a format has seconds. Stamps are parsed as decimals, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from statistics import median

from sfm_ros.errors import TrajectoryError

NS = 1_000_000_000
UNITS = {"seconds": NS, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}
"""Nanoseconds of each unit."""
_LARGEST_NS = 2**63 - 1
_ABSOLUTE = (("nanoseconds", 10**17), ("microseconds", 10**14), ("milliseconds", 10**11))
"""From this on a number is a time of day in that unit since 1970: 10^17 ns are the year 1973, and
10^17 us are as far away as 10^11 s."""
_LONGEST_PERIOD_S, _LONGEST_PERIOD_US, _SHORTEST_PERIOD_NS = 1_000, 1_000_000, 2_000_000
"""Whole numbers that count from zero: no camera takes an image every 1000 s, and none 500 per
second; microseconds are between them."""
_LEAST_TIMES = 3
_MOST_DIGITS = 28
"""Of a whole number: the precision of decimals, beyond which a remainder cannot be taken."""


def parse_number(text: str) -> Decimal:
    """A finite decimal number below 10^28; TrajectoryError if it is none."""
    try:
        value = Decimal(text)
    except (InvalidOperation, ValueError):
        value = Decimal("NaN")
    if not value.is_finite() or value.adjusted() >= _MOST_DIGITS:
        raise TrajectoryError(f"the stamp is {text!r}, expected a number of seconds")
    return value


def in_nanoseconds(value: Decimal, unit: str = "seconds") -> int:
    """Nanoseconds of a number of a unit; exact up to whole ones, then rounded.

    Raises:
        TrajectoryError: a stamp cannot hold it.
    """
    largest = _LARGEST_NS // UNITS[unit]
    if abs(value) > largest:
        raise TrajectoryError(
            f"the stamp {value:.19g} is beyond {largest} {unit}, the year 2262; expected "
            "seconds, or nanoseconds since 1970"
        )
    return int((value * UNITS[unit]).to_integral_value())


def unit_of(values: Sequence[Decimal]) -> str:
    """The unit of the times of one recording, in order: a key of `UNITS`.

    Raises:
        TrajectoryError: they are no seconds, and may be of several units.
    """
    largest = max(map(abs, values), default=Decimal(0))
    for unit, least in _ABSOLUTE:
        if largest >= least:
            return unit
    counts_from_zero = len(values) >= _LEAST_TIMES and 2 * abs(values[0]) < largest
    if not counts_from_zero or any(value % 1 for value in values):
        return "seconds"
    period = median(abs(after - before) for before, after in zip(values, values[1:], strict=False))
    if period < _LONGEST_PERIOD_S:
        return "seconds"
    if period < _LONGEST_PERIOD_US:
        return "microseconds"
    if period >= _SHORTEST_PERIOD_NS:
        return "nanoseconds"
    raise TrajectoryError(
        f"the times are whole numbers {period} apart, which are no seconds, but may be "
        "microseconds or nanoseconds; convert them to seconds"
    )


def converted(values: Sequence[Decimal], unit: str | None = None) -> tuple[list[int], str | None]:
    """Nanoseconds of times, and a remark if their unit is not seconds.

    Args:
        values: the times, in order.
        unit: their unit if it is stated, a key of `UNITS`.

    Raises:
        TrajectoryError: a time is out of range, their unit is unclear, or not the stated one.
    """
    if unit is None:
        found = unit_of(values)
        remark = None if found == "seconds" else f"the times are taken as {found}, by their size"
        return [in_nanoseconds(value, found) for value in values], remark
    if unit == "seconds" and (found := unit_of(values)) != unit:
        raise TrajectoryError(f"the header states seconds, but by their size these are {found}")
    if unit == "nanoseconds":
        fraction = next((value for value in values if value % 1), None)
        if fraction is not None:
            raise TrajectoryError(f"the header states nanoseconds, but a time is {fraction}")
    return [in_nanoseconds(value, unit) for value in values], None
