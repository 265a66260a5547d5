"""Metrics of several runs side by side, with the differences in how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfm_ros.errors import SourceError, UnsafeFileError
from sfm_ros.evaluation.report.results import GROUND_TRUTH_FILE, TRAJECTORY_FILE
from sfm_ros.evaluation.report.summary import ROWS
from sfm_ros.evaluation.tables import (
    NOT_AVAILABLE,
    NOT_AVAILABLE_NOTE,
    distinct_names,
    format_table,
    format_value,
)
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import read_trajectory
from sfm_ros.safety.documents import read_json

MARK = "≠"
# What metrics depend on; the first ones are shown even if equal.
_ALWAYS_SHOWN = ("input", "model", "engine")
_FACTS = (
    *_ALWAYS_SHOWN,
    *("ground_truth", "mode", "rate", "interrupted", "model_sha256", "configuration", "machine"),
    "versions",
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """The files of a run.

    Attributes:
        name: the end of its path that distinguishes the runs.
        summary: ``summary.json``.
        trajectory: ``trajectory.tum``, or None.
        ground_truth: ``ground_truth.tum``, or None.
    """

    name: str
    summary: dict[str, Any]
    trajectory: Trajectory | None
    ground_truth: Trajectory | None


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Read the folders written by `sfm_evaluate bag` and the demo.

    Raises:
        SourceError: a folder has no summary, or it cannot be read.
        TrajectoryError: a trajectory is damaged.
    """
    return [
        Run(
            name=name,
            summary=_read_summary(folder / "summary.json"),
            trajectory=_read_optional(folder / TRAJECTORY_FILE),
            ground_truth=_read_optional(folder / GROUND_TRUTH_FILE),
        )
        for name, folder in zip(distinct_names(folders), folders, strict=True)
    ]


def _read_summary(file: Path) -> dict[str, Any]:
    try:
        summary = read_json(file)
    except FileNotFoundError:
        raise SourceError(
            f"there is no {file}, expected the folder of a run of sfm_evaluate bag or the demo"
        ) from None
    except (OSError, UnsafeFileError) as error:
        raise SourceError(f"cannot read {file}: {error}") from error
    if not isinstance(summary, dict):
        raise SourceError(
            f"{file} contains a {type(summary).__name__}, expected a summary with keys"
        )
    return summary


def _read_optional(file: Path) -> Trajectory | None:
    return read_trajectory(file) if file.is_file() else None


def flat_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    """How a run was made, as ``configuration.odometry.mode`` -> ``hybrid``."""
    found: dict[str, str] = {}
    for name in _FACTS:
        _flatten(name, summary.get(name), found)
    return found


def _flatten(name: str, value: Any, into: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _flatten(f"{name}.{key}", entry, into)
    elif isinstance(value, (list, tuple)):
        into[name] = ", ".join(map(str, value))
    elif isinstance(value, bool):
        into[name] = str(value).lower()
    elif value is not None:
        into[name] = str(value)


def comparison_table(runs: Sequence[Run]) -> str:
    """Metrics in one column per run, then how the runs were made; differences are marked."""
    rows = [["", *(run.name for run in runs)]]
    for row in ROWS:
        cells = [_figure(row.pattern, run.summary.get(row.key)) for run in runs]
        if set(cells) != {NOT_AVAILABLE}:
            rows.append([f"  {row.label}", *cells])
    facts = [flat_facts(run.summary) for run in runs]
    names = dict.fromkeys([*_ALWAYS_SHOWN, *(name for found in facts for name in found)])
    values = {name: [found.get(name, NOT_AVAILABLE) for found in facts] for name in names}
    differing = {name for name in names if len(set(values[name])) > 1}
    for name in names:
        if name in differing or name in _ALWAYS_SHOWN:
            mark = MARK if name in differing else " "
            label = f"{mark} {name.removeprefix('configuration.')}"
            rows.append([label, *map(_short, values[name])])
    return f"{format_table(rows)}\n\n{_remark(differing)}\n{NOT_AVAILABLE_NOTE}"


def _figure(pattern: str, value: Any) -> str:
    kinds = (str,) if pattern == "{}" else (int, float)
    return format_value(pattern, value if isinstance(value, kinds) else None)


def _short(value: str, longest: int = 40) -> str:
    return value if len(value) <= longest else f"…{value[1 - longest :]}"


def _remark(differing: set[str]) -> str:
    if not differing:
        return "the runs were made with the same model, engine, configuration, machine, versions"
    remark = f"{MARK} differs; facts that are not listed are equal in all runs"
    if {"input", "ground_truth"} & differing:
        remark += "\nthe inputs or ground truths differ: the metrics cannot be compared"
    return remark
