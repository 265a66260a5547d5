"""The report of a run as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from sfm_ros.config import SfmConfig
from sfm_ros.evaluation.plotting import svg_uri
from sfm_ros.evaluation.report.charts import (
    drift_figure,
    error_figure,
    latency_figure,
    path_figure,
    reliability_figure,
    status_figure,
)
from sfm_ros.evaluation.report.confidence_chart import confidence_figure
from sfm_ros.evaluation.report.depth_tiles import depth_strip
from sfm_ros.evaluation.report.model_card import card_as_html
from sfm_ros.evaluation.report.summary import ROWS, Row
from sfm_ros.evaluation.runs.depth_methods import MethodFigures, method_rows
from sfm_ros.evaluation.runs.mode_comparison import mode_rows
from sfm_ros.evaluation.runs.online import options_as_text
from sfm_ros.evaluation.runs.result import MULTIVIEW, OFFLINE, ONLINE, RunResult, StatusInterval
from sfm_ros.evaluation.runs.scoring import PathScore
from sfm_ros.evaluation.tables import NOT_AVAILABLE_NOTE, format_value
from sfm_ros.model_spec import ModelSpec

_FOLDER = Path(__file__).parent
_MAX_EVENTS = 40
_MODES = {
    OFFLINE: "offline (every frame in order)",
    ONLINE: "online (through three processes)",
}
_FACTS = ("command", "input", "calibration", "ground_truth", "rate", "last_trouble", "model",
          "model_sha256", "engine", "machine", "versions")  # fmt: skip
_NOT_PROCESSED = "Not available: no image was processed."


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
class RunContext:
    """What was run.

    Attributes:
        title: heading of the report.
        input_name: what was played.
        command: how to repeat the run.
        spec: of the model.
        config: of the odometry.
        rate: playback rate of the online run; None without one.
        depth_problem: why there is no ground-truth depth; None if there is.
        calibration: the camera that is used and why; None if the images are rendered.
        remarks: what was unusual about the input, a sentence each.
        unreadable: frames that the input lists and that could not be read.
    """

    title: str
    input_name: str
    command: str
    spec: ModelSpec
    config: SfmConfig
    rate: float | None = None
    depth_problem: str | None = None
    calibration: str | None = None
    remarks: tuple[str, ...] = ()
    unreadable: int = 0


def write_page(
    path: Path, runs: Sequence[ScoredRun], context: RunContext, summary: Mapping[str, Any]
) -> None:
    """Write the report of one run, or of two over the same frames; figures are of the first.

    The summary is the content of ``summary.json``.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.get_template("report.html.j2")
    path.write_text(template.render(_content(runs, context, summary)), encoding="utf-8")


def _content(
    runs: Sequence[ScoredRun], context: RunContext, summary: Mapping[str, Any]
) -> dict[str, Any]:
    """The variables of the template."""
    first, spec = runs[0], context.spec
    modes = " and ".join(_MODES[run.result.mode] for run in runs)
    events = [
        event for run in runs for event in _events(run.result.intervals, _heading(run, runs))
    ]
    facts = {name.replace("_", " "): summary[name] for name in _FACTS}
    return {
        "style": (_FOLDER / "report.css").read_text(encoding="utf-8"),
        "title": context.title,
        "lead": f"{first.result.frames} frames, {modes}; model {spec.name}",
        "modes": [run.result.mode for run in runs] if len(runs) > 1 else [""],
        "metrics": _metrics(runs),
        "notes": _notes(runs, context, summary),
        "path": _path(first.path, first.result.unit),
        "errors": _errors(first.path),
        "drift": _drift(first.path),
        "reliability": _reliability(first),
        "method_rows": _method_rows(summary["depth_methods"]),
        "confidence": _confidence(summary["depth_methods"]),
        "mode_rows": mode_rows(summary["odometry_modes"]) if "odometry_modes" in summary else [],
        "latency": _latency(runs),
        "status": _status(runs),
        "events": events[:_MAX_EVENTS],
        "more_events": len(events) - _MAX_EVENTS,
        "depth": depth_strip(first.result, first.result.unit),
        "card": card_as_html(spec.card),
        "training_metrics": [(name, f"{v:.4g}", False) for name, v in spec.metrics.items()],
        "facts": [(name, _fact(value)) for name, value in facts.items() if value is not None],
        "configuration": options_as_text(context.config),
    }


def _metrics(runs: Sequence[ScoredRun]) -> dict[str, list[tuple[Row, list[str]]]]:
    """Group -> rows with a value of each run."""
    groups: dict[str, list[tuple[Row, list[str]]]] = {}
    for row in ROWS:
        values = [format_value(row.pattern, run.metrics.get(row.key)) for run in runs]
        groups.setdefault(row.group, []).append((row, values))
    return groups


def _notes(
    runs: Sequence[ScoredRun], context: RunContext, summary: Mapping[str, Any]
) -> list[str]:
    """Remarks below the metrics."""
    notes, first = [f"{NOT_AVAILABLE_NOTE}."], runs[0]
    if first.result.is_metric:
        source = first.result.scale_source.value.replace("_", " ")
        notes.append(f"Lengths are in meters; source of the scale: {source}.")
    else:
        notes.append("Nothing defines the unit of length: there are no unaligned errors.")
    if summary["ground_truth"]:
        notes.append(f"Ground truth: {summary['ground_truth']}.")
    if first.path.problem:
        notes.append(f"Trajectory errors are not available: {first.path.problem}.")
    if first.metrics.get("depth_abs_rel") is None:
        problem = context.depth_problem or "no ground-truth depth is known"
        notes.append(f"Depth errors are not available: {problem}.")
    if "agreement" in summary:
        found = summary["agreement"]
        notes.append(
            f"The runs have {found['poses']} poses in common and {found['poses_of_only_one']} in "
            f"only one of them; the largest difference is {found['largest_difference']:.2g} "
            f"{first.result.unit} and {found['largest_difference_deg']:.2g} deg."
        )
    notes += [f"{remark[:1].upper()}{remark[1:]}." for remark in summary["input_remarks"]]
    if summary["interrupted"]:
        notes.append("The run was interrupted; the metrics cover the frames until then.")
    return notes


def _path(score: PathScore, unit: str) -> dict[str, Any]:
    caption = "The first camera looks up."
    if score.aligned is not None:
        caption += (
            " As published: from the ground truth's first pose. Beside it the path after Sim(3) "
            "alignment, which hides errors of scale and heading."
        )
    figure = path_figure(score, unit) if len(score.path) else None
    problem = "Not available: no odometry was received."
    return _section("Path from above", caption, {"": figure}, problem)


def _errors(score: PathScore) -> dict[str, Any]:
    figure = error_figure(score) if len(score.distance_m) else None
    caption = (
        "Position error as published and after Sim(3) alignment, and error of the rotation since "
        "the first frame."
    )
    problem = f"Not available: {score.problem}."
    return _section("Error over distance", caption, {"": figure}, problem)


def _drift(score: PathScore) -> dict[str, Any]:
    figure, problem = None, f"Not available: {score.problem}."
    if score.score is not None:
        metrics = score.score.estimate
        figure = drift_figure(score.score) if metrics.segments else None
        length_m = f"{metrics.path_length_m:.0f} m"
        problem = f"Not applicable: the path has {length_m}, the shortest segment 100 m."
    caption = "Mean drift over segments of this length, as in the KITTI odometry benchmark."
    return _section("Drift by segment length", caption, {"": figure}, problem)


def _reliability(run: ScoredRun) -> dict[str, Any]:
    found, problem = run.path.consistency, run.path.problem
    figure = None if found is None else reliability_figure(found)
    caption = (
        "Fraction of the errors since the first frame within k sigma. Above the dashed line the "
        "covariance is too large, below it too small; the errors of one run are much alike."
    )
    problem = problem or "there is no covariance in the ground truth's unit"
    return _section("Errors and covariance", caption, {"": figure}, f"Not available: {problem}.")


def _method_rows(methods: MethodFigures) -> list[list[str]]:
    return method_rows(methods) if any("abs_rel" in f for f in methods.values()) else []


def _confidence(methods: MethodFigures) -> dict[str, Any]:
    measured = methods.get(MULTIVIEW, {})
    figure = confidence_figure(methods) if measured.get("surest") else None
    caption = (
        "abs_rel, unscaled, of the surest part of the pixels by their stated uncertainty, and by "
        "distance. The uncertainty means something if the curve falls to the left."
    )
    problem = "Not available: no ground-truth depth is known, or depth is not measured."
    return _section("Depth and its uncertainty", caption, {"": figure}, problem)


def _latency(runs: Sequence[ScoredRun]) -> dict[str, Any]:
    stages = {_heading(run, runs): run.result.stages for run in runs}
    figures = {heading: latency_figure(each) for heading, each in stages.items() if each}
    return _section("Time per stage", "Median / 99th percentile.", figures, _NOT_PROCESSED)


def _status(runs: Sequence[ScoredRun]) -> dict[str, Any]:
    intervals = {_heading(run, runs): run.result.intervals for run in runs}
    figures = {heading: status_figure(each) for heading, each in intervals.items() if each}
    caption = "Number of frames in parentheses."
    return _section("Status over time", caption, figures, _NOT_PROCESSED)


def _heading(run: ScoredRun, runs: Sequence[ScoredRun]) -> str:
    return run.result.mode if len(runs) > 1 else ""


def _section(
    title: str, caption: str, figures: Mapping[str, Figure | None], problem: str
) -> dict[str, Any]:
    """A section of figures by heading; if there are none, of the reason."""
    images = [(heading, svg_uri(figure)) for heading, figure in figures.items() if figure]
    return {"title": title, "caption": caption, "images": images, "problem": problem}


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


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(_fact(entry) for entry in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
