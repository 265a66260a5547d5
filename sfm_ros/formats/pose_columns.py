"""Which columns of a table of poses hold what: by its header, by its format, or as stated.

Tools write the same eight numbers in different orders: TUM's files have qw last, those of EuRoC,
TUM-VI and VINS first. Nothing in the numbers shows which, so that only a header, a format without
commas, or the user decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sfm_ros.errors import TrajectoryError

EXPECTED_HEADER = "timestamp,tx,ty,tz,qx,qy,qz,qw"
SKIPPED = "-"
"""A column without meaning, in the columns that a user states."""
_AXES = ("x", "y", "z")
_POSE = ("tx", "ty", "tz", "qx", "qy", "qz", "qw")
_LEAST_NAMED = 3
"""Parts of a pose whose names make a line a header: a comment may hold a word such as x."""
_POSITION_WORDS = frozenset("p pos position t trans translation location".split())
_ROTATION_WORDS = frozenset("q quat quaternion orientation rot rotation".split())
_TIME_WORDS = ("timestamp", "stamp", "time", "timestamps", "t")
"""The best first: an exported message has the time of its recording as well."""
_UNITS = {
    **dict.fromkeys("s sec secs second seconds".split(), "seconds"),
    **dict.fromkeys("ms msec msecs milliseconds".split(), "milliseconds"),
    **dict.fromkeys("us usec usecs microseconds".split(), "microseconds"),
    **dict.fromkeys("ns nsec nsecs nanosec nanosecs nanoseconds".split(), "nanoseconds"),
}
_METERS = re.compile(r"(m|met(er|re)s?)?")
_BRACKETS = re.compile(r"[\[(]([^\])]*)[\])]")
_GLUED = re.compile(r"(q|quat|t|p|pos)_?([xyzw])")


@dataclass(frozen=True, kw_only=True, slots=True)
class PoseColumns:
    """The columns of a table of poses, from 0.

    Attributes:
        count: of all columns.
        position: of x, y and z.
        quaternion: of x, y, z and w.
        stamps: of the time; two if seconds and nanoseconds are apart, none if there is no time.
        unit: of the time if it is stated, one of `time_units.UNITS`; of two columns unused.
    """

    count: int
    position: tuple[int, ...]
    quaternion: tuple[int, ...]
    stamps: tuple[int, ...] = ()
    unit: str | None = None

    @property
    def text(self) -> str:
        """The columns in their order, such as ``stamp tx ty tz qx qy qz qw``."""
        names = [SKIPPED] * self.count
        for name, index in zip(_POSE, (*self.position, *self.quaternion), strict=True):
            names[index] = name
        for index in self.stamps:
            names[index] = "stamp"
        return " ".join(names)


TUM = PoseColumns(count=8, position=(1, 2, 3), quaternion=(4, 5, 6, 7), stamps=(0,))
"""``stamp tx ty tz qx qy qz qw``."""
TARTAN = PoseColumns(count=7, position=(0, 1, 2), quaternion=(3, 4, 5, 6))
"""``tx ty tz qx qy qz qw``, a line for each image, as in TartanAir."""


def fields_of(line: str) -> list[str]:
    """The fields of a line, between commas, semicolons or spaces, without an empty last one."""
    mark = next((mark for mark in ",;" if mark in line), None)
    fields = [field.strip() for field in line.split(mark)]
    return fields[:-1] if mark is not None and not fields[-1] else fields


def header_fields(line: str) -> list[str]:
    """The names in a header, without the marks of a comment in front, each with its unit."""
    text = line.lstrip("#%/ \t\ufeff")
    # Brackets may hold spaces, and a unit is beside its name.
    text = _BRACKETS.sub(lambda found: f"[{found[1].replace(' ', '')}]", text)
    return fields_of(re.sub(r"\s+\[", "[", text))


def columns_of_header(names: Sequence[str]) -> PoseColumns | None:
    """The columns that are named; None if these do not name those of a pose.

    Raises:
        TrajectoryError: a part of a pose is named and another is not, or one is named twice; or
            the unit is not meters.
    """
    units = [_unit(name) for name in names]
    words = [_words(_BRACKETS.sub("", name)) for name in names]
    roles = [_role(each) for each in words]
    found = {role: index for role in _POSE for index in _only(names, roles, role)}
    missing = [role for role in _POSE if role not in found]
    if len(found) < _LEAST_NAMED:
        return None
    if missing:
        raise TrajectoryError(
            f"the columns are named {', '.join(names)}, which lacks {', '.join(missing)}; "
            f"expected names such as {EXPECTED_HEADER}"
        )
    position = tuple(found[role] for role in _POSE[:3])
    for index in position:
        if _METERS.fullmatch(units[index]) is None:
            raise TrajectoryError(f"the column {names[index]} is not in meters; convert it")
    stamps, unit = _time(words, units, roles)
    return PoseColumns(
        count=len(names),
        position=position,
        quaternion=tuple(found[role] for role in _POSE[3:]),
        stamps=stamps,
        unit=unit,
    )


def stated_columns(text: str) -> PoseColumns:
    """The columns that a user states, such as ``timestamp,tx,ty,tz,qw,qx,qy,qz,-``.

    TrajectoryError if these are not the columns of a pose.
    """
    found = columns_of_header(fields_of(text))
    if found is None:
        raise TrajectoryError(
            f"the columns are '{text}', expected a list such as {EXPECTED_HEADER}, with "
            f"'{SKIPPED}' for a column to skip"
        )
    return found


def _unit(name: str) -> str:
    """What is in brackets behind a name; empty if nothing is."""
    found = _BRACKETS.search(name)
    return "" if found is None else found[1].strip().lower()


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def _role(words: Sequence[str]) -> str:
    """``tx`` to ``tz`` and ``qx`` to ``qw`` of the words of a name; empty if it is neither."""
    if not words:
        return ""
    glued = _GLUED.fullmatch(words[-1])
    if glued is not None:
        kind = "q" if glued[1].startswith("q") else "t"
        return f"{kind}{glued[2]}"
    if words[-1] not in (*_AXES, "w"):
        return ""
    if not _ROTATION_WORDS.isdisjoint(words[:-1]):
        return f"q{words[-1]}"
    is_position = len(words) == 1 or not _POSITION_WORDS.isdisjoint(words[:-1])
    return f"t{words[-1]}" if is_position else ""


def _only(names: Sequence[str], roles: Sequence[str], role: str) -> list[int]:
    """The column of a role, or none."""
    found = [index for index, each in enumerate(roles) if each == role]
    if len(found) > 1:
        twice = " and ".join(names[index] for index in found)
        raise TrajectoryError(f"the columns {twice} both hold {role}; keep the poses of one")
    return found


def _time(
    words: Sequence[Sequence[str]], units: Sequence[str], roles: Sequence[str]
) -> tuple[tuple[int, ...], str | None]:
    """The columns of the time, and its unit if it is stated."""
    others = [index for index, role in enumerate(roles) if not role]
    ranked = [
        (rank, index)
        for index in others
        for rank, word in enumerate(_TIME_WORDS)
        if word in words[index]
    ]
    best = [index for rank, index in sorted(ranked) if rank == min(ranked)[0]]
    named = {index: _UNITS.get(units[index] or (words[index] or [""])[-1]) for index in others}
    parts = [
        next((index for index in best or others if named[index] == unit), None)
        for unit in ("seconds", "nanoseconds")
    ]
    if None not in parts:
        return tuple(index for index in parts if index is not None), None
    if not best:
        best = [index for index in others if named[index] is not None]
    return tuple(best[:1]), named[best[0]] if best else None
