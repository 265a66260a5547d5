"""Several runs side by side: their figures, and what they differ in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfm_ros.errors import SourceError
from sfm_ros.evaluation.report.results import GROUND_TRUTH_FILE, TRAJECTORY_FILE
from sfm_ros.evaluation.report.summary import NOT_AVAILABLE, ROWS, format_value
from sfm_ros.formats.trajectory import Trajectory, read_tum

MARK = "≠"
# Facts that decide about the figures; the first ones are shown though they are the same.
_ALWAYS_SHOWN = ("input", "model", "engine")
_FACTS = (
    *_ALWAYS_SHOWN,
    *("ground_truth", "mode", "rate", "interrupted", "model_sha256", "configuration", "machine"),
    "versions",
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """What a run left in its folder.

    Attributes:
        name: the folder's, as far as it tells the runs apart.
        summary: ``summary.json``.
        trajectory: ``trajectory.tum``, or None where there is none.
        ground_truth: ``ground_truth.tum``, or None where there is none.
    """

    name: str
    summary: dict[str, Any]
    trajectory: Trajectory | None
    ground_truth: Trajectory | None


def load_runs(folders: Sequence[Path]) -> list[Run]:
    """Read the folders that `sfm_evaluate bag` and the demo write.

    Raises:
        SourceError: a folder holds no summary, or one that cannot be read.
        TrajectoryError: a trajectory beside it is damaged.
    """
    return [
        Run(
            name=name,
            summary=_read_summary(folder / "summary.json"),
            trajectory=_read_optional(folder / TRAJECTORY_FILE),
            ground_truth=_read_optional(folder / GROUND_TRUTH_FILE),
        )
        for name, folder in zip(_names(folders), folders, strict=True)
    ]


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as few as are different; numbered where none are."""
    paths = [folder.resolve().parts for folder in folders]
    for count in range(1, max(map(len, paths)) + 1):
        names = ["/".join(parts[-count:]) for parts in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{index}: {folder.name}" for index, folder in enumerate(folders, start=1)]


def _read_summary(file: Path) -> dict[str, Any]:
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SourceError(
            f"there is no {file}; expected the folder of a run of sfm_evaluate bag or the demo"
        ) from None
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read {file}: {error}") from error
    if not isinstance(summary, dict):
        raise SourceError(f"{file} holds a {type(summary).__name__}, expected the keys of a run")
    return summary


def _read_optional(file: Path) -> Trajectory | None:
    return read_tum(file) if file.is_file() else None


def flat_facts(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a run was made with, as ``configuration.refine.enabled`` -> ``true``."""
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


def differing_facts(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Fact -> its value in each run, of those that are not the same in all."""
    facts = [flat_facts(run.summary) for run in runs]
    names = list(dict.fromkeys(name for found in facts for name in found))
    rows = {name: [found.get(name, NOT_AVAILABLE) for found in facts] for name in names}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def comparison_table(runs: Sequence[Run]) -> str:
    """Figures in a column a run, then what the runs were made with; differences are marked."""
    rows = [["", *(run.name for run in runs)]]
    for row in ROWS:
        cells = [_figure(row.pattern, run.summary.get(row.key)) for run in runs]
        if set(cells) != {NOT_AVAILABLE}:
            rows.append([f"  {row.label}", *cells])
    differing = differing_facts(runs)
    facts = [flat_facts(run.summary) for run in runs]
    shown = {name: [found.get(name, NOT_AVAILABLE) for found in facts] for name in _ALWAYS_SHOWN}
    for name, values in (shown | differing).items():
        mark = MARK if name in differing else " "
        rows.append([f"{mark} {name.removeprefix('configuration.')}", *map(_short, values)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", _remark(differing)])


def _figure(pattern: str, value: Any) -> str:
    return format_value(pattern, value if isinstance(value, (int, float)) else None)


def _short(value: str, longest: int = 40) -> str:
    return value if len(value) <= longest else f"…{value[1 - longest :]}"


def _remark(differing: Mapping[str, list[str]]) -> str:
    if not differing:
        return "the runs were made with the same model, engine, configuration, machine, versions"
    said = f"{MARK} differs; what is not listed is the same in all runs"
    if {"input", "ground_truth"} & set(differing):
        said += "\nthe runs saw different inputs or ground truth: their figures cannot be compared"
    return said
