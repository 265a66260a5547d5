"""The report of a run as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from sfm_ros.evaluation.plotting import svg_uri
from sfm_ros.evaluation.report.charts import (
    drift_figure,
    error_figure,
    latency_figure,
    path_figure,
    status_figure,
)
from sfm_ros.evaluation.report.depth_tiles import make_strip
from sfm_ros.evaluation.report.model_card import card_as_html
from sfm_ros.evaluation.report.summary import ROWS, Row, format_value
from sfm_ros.evaluation.runs.result import RunResult, StatusInterval
from sfm_ros.evaluation.runs.scoring import Agreement, PathScore

_FOLDER = Path(__file__).parent
_MAX_EVENTS = 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredRun:
    """A run with its metrics.

    Attributes:
        result: the run.
        path: score of its trajectory.
        metrics: by key of the summary.
    """

    result: RunResult
    path: PathScore
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Content of the report besides the runs.

    Attributes:
        title: heading.
        lead: what was run, in one sentence.
        unit: of the lengths of the estimate.
        ground_truth: origin of the ground-truth trajectory; None if there is none.
        depth_problem: why there is no depth error; None if there is one.
        agreement: of the two runs, if there are two.
        card: the model card, Markdown.
        metrics: measured when the model was trained, by name.
        facts: name and value of what the figures depend on: machine, versions, command.
        configuration: option, value, and whether it is not the default.
    """

    title: str
    lead: str
    unit: str
    ground_truth: str | None
    depth_problem: str | None
    agreement: Agreement | None
    card: str
    metrics: Mapping[str, float]
    facts: Sequence[tuple[str, str]]
    configuration: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plots:
    """A section of figures: (heading or "", data URI) each, or the reason why there are none."""

    title: str
    caption: str
    images: tuple[tuple[str, str], ...] = ()
    problem: str | None = None


def write_page(path: Path, page: Page, runs: Sequence[ScoredRun]) -> None:
    """Write the report of one run, or of two over the same frames; figures are of the first."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("report.html.j2")
    path.write_text(template.render(_content(page, runs)), encoding="utf-8")


def _content(page: Page, runs: Sequence[ScoredRun]) -> dict[str, Any]:
    """The variables of the template."""
    first = runs[0]
    events = [
        event for run in runs for event in _events(run.result.intervals, _heading(run, runs))
    ]
    return {
        "style": (_FOLDER / "report.css").read_text(encoding="utf-8"),
        "page": page,
        "modes": [run.result.mode for run in runs] if len(runs) > 1 else [""],
        "metrics": _metrics(runs),
        "notes": _notes(page, runs),
        "path": _path(page, first.path),
        "errors": _errors(first.path),
        "drift": _drift(first.path),
        "latency": _latency(runs),
        "status": _status(runs),
        "events": events[:_MAX_EVENTS],
        "more_events": len(events) - _MAX_EVENTS,
        "depth": make_strip(first.result, page.unit),
        "card": card_as_html(page.card),
        "training_metrics": [(name, f"{v:.4g}", False) for name, v in page.metrics.items()],
    }


def _metrics(runs: Sequence[ScoredRun]) -> dict[str, list[tuple[Row, list[str]]]]:
    """Group -> rows with a value of each run."""
    groups: dict[str, list[tuple[Row, list[str]]]] = {}
    for row in ROWS:
        values = [format_value(row.pattern, run.metrics.get(row.key)) for run in runs]
        groups.setdefault(row.group, []).append((row, values))
    return groups


def _notes(page: Page, runs: Sequence[ScoredRun]) -> list[str]:
    """Remarks below the metrics."""
    notes = []
    if page.ground_truth:
        notes.append(f"Ground truth: {page.ground_truth}.")
    if runs[0].path.problem:
        notes.append(f"Trajectory errors are not available: {runs[0].path.problem}.")
    if page.depth_problem:
        notes.append(f"Depth errors are not available: {page.depth_problem}.")
    if page.agreement is not None:
        found = page.agreement
        notes.append(
            f"The runs have {found.poses} poses in common and {found.only_one} in only one of "
            f"them; the largest difference is {found.position:.2g} {page.unit} and "
            f"{found.rotation_deg:.2g} deg."
        )
    if any(run.result.interrupted for run in runs):
        notes.append("The run was interrupted; the metrics cover the frames until then.")
    return notes


def _path(page: Page, score: PathScore) -> _Plots:
    title = "Path from above"
    if not len(score.path):
        return _unavailable(title, "no odometry was received")
    caption, unit = "The first camera looks up.", page.unit
    if score.ground_truth_trajectory is not None:
        caption, unit = f"{caption} The estimate is aligned with the ground truth by Sim(3).", "m"
    figure = path_figure(score.path, score.ground_truth_trajectory, unit)
    return _plots(title, caption, {"": figure})


def _errors(score: PathScore) -> _Plots:
    title = "Error over distance"
    if not len(score.distance_m):
        return _unavailable(title, score.problem)
    caption = (
        "Position error after Sim(3) alignment, and error of the rotation since the first frame."
    )
    return _plots(title, caption, {"": error_figure(score)})


def _drift(score: PathScore) -> _Plots:
    title = "Drift by segment length"
    if score.score is None:
        return _unavailable(title, score.problem)
    metrics = score.score.estimate
    if not metrics.segments:
        problem = (
            f"Not applicable: the path has {metrics.path_length_m:.0f} m, the shortest segment "
            "100 m."
        )
        return _Plots(title=title, caption="", problem=problem)
    caption = "Mean drift over segments of this length, as in the KITTI odometry benchmark."
    return _plots(title, caption, {"": drift_figure(score.score)})


def _latency(runs: Sequence[ScoredRun]) -> _Plots:
    title = "Time per stage"
    timed = [run for run in runs if run.result.stages]
    if not timed:
        return _unavailable(title, "no image was processed")
    figures = {_heading(run, runs): latency_figure(run.result.stages) for run in timed}
    return _plots(title, "Median / 99th percentile.", figures)


def _status(runs: Sequence[ScoredRun]) -> _Plots:
    title = "Status over time"
    processed = [run for run in runs if run.result.intervals]
    if not processed:
        return _unavailable(title, "no image was processed")
    figures = {_heading(run, runs): status_figure(run.result.intervals) for run in processed}
    return _plots(title, "Number of frames in parentheses.", figures)


def _heading(run: ScoredRun, runs: Sequence[ScoredRun]) -> str:
    return run.result.mode if len(runs) > 1 else ""


def _plots(title: str, caption: str, figures: Mapping[str, Figure]) -> _Plots:
    images = tuple((heading, svg_uri(figure)) for heading, figure in figures.items())
    return _Plots(title=title, caption=caption, images=images)


def _unavailable(title: str, problem: str | None) -> _Plots:
    return _Plots(title=title, caption="", problem=f"Not available: {problem}.")


def _events(intervals: Sequence[StatusInterval], heading: str) -> list[tuple[float, int, str]]:
    """Seconds from the start, frames and description of the intervals without tracking."""
    return [
        ((each.start_ns - intervals[0].start_ns) * 1e-9, each.frames, _description(each, heading))
        for each in intervals
        if each.status != "tracking"
    ]


def _description(interval: StatusInterval, heading: str) -> str:
    words = [heading, interval.status, ", ".join(interval.reasons)]
    return ": ".join(word.replace("_", " ") for word in words if word)
