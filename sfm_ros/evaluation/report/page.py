"""Everything about a run on one page: a single file that loads nothing from anywhere."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.evaluation.report import depth_tiles
from sfm_ros.evaluation.report.charts import (
    Bar,
    Line,
    bar_chart,
    column_chart,
    line_chart,
    path_chart,
)
from sfm_ros.evaluation.report.health import health_of
from sfm_ros.evaluation.report.markup import (
    columns,
    figure,
    legend,
    note,
    option_rows,
    section,
    table,
)
from sfm_ros.evaluation.report.model_card import card_as_html
from sfm_ros.evaluation.report.summary import ROWS, format_value
from sfm_ros.evaluation.runs.result import OFFLINE, ONLINE, RunResult
from sfm_ros.evaluation.runs.scoring import Agreement, PathScore

_MODES = {OFFLINE: "offline", ONLINE: "two processes"}
_STYLE_FILE = Path(__file__).with_name("report.css")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredRun:
    """A run with its figures, as it goes into the report."""

    result: RunResult
    path: PathScore
    figures: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What the page says besides the runs.

    Attributes:
        title: heading.
        lead: what was run, in a sentence.
        unit: what a length of the estimate counts.
        ground_truth: where the ground-truth trajectory comes from; None where it is not known.
        depth_ground_truth: why there is no depth error; None where there is one.
        agreement: of the two runs, where there are two.
        card: the model card as text.
        metrics: figures the model was given when it was trained, by name.
        facts: name and value of what a figure depends on: machine, versions, command.
        configuration: option, value, and whether it is not the default.
    """

    title: str
    lead: str
    unit: str
    ground_truth: str | None
    depth_ground_truth: str | None
    agreement: Agreement | None
    card: str
    metrics: Mapping[str, float]
    facts: Sequence[tuple[str, str]]
    configuration: Sequence[tuple[str, str, bool]]


def write_page(path: Path, page: Page, runs: Sequence[ScoredRun]) -> None:
    """Write the page of one run, or of two over the same frames; the first is drawn."""
    first = runs[0]
    sections = [
        _summary(page, runs),
        columns(_trajectory(page, first), _errors(first)),
        columns(_drift(first), _latency(runs) + _health(runs)),
        _depth(page, first),
        _card(page),
        _configuration(page),
        _facts(page),
    ]
    title = html.escape(page.title)
    body = "\n".join(sections)
    path.write_text(
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n"
        f"<style>\n{_STYLE_FILE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body><header><h1>{title}</h1><p>{html.escape(page.lead)}</p></header>\n"
        f"{body}\n</body></html>\n",
        encoding="utf-8",
    )


def _summary(page: Page, runs: Sequence[ScoredRun]) -> str:
    tables = {group: _figures(group, runs) for group in dict.fromkeys(row.group for row in ROWS)}
    path = tables.pop("Path")
    notes = [f"True path: {page.ground_truth}."] if page.ground_truth else []
    if runs[0].path.problem:
        notes.append(f"Errors of the path are not available: {runs[0].path.problem}.")
    if page.depth_ground_truth:
        notes.append(f"Errors of the depth are not available: {page.depth_ground_truth}.")
    if page.agreement is not None:
        found = page.agreement
        notes.append(
            f"Both runs have {found.poses} poses in common and {found.only_one} that only one "
            f"has; the largest difference is {found.position:.2g} {page.unit} and "
            f"{found.rotation_deg:.2g}°."
        )
    if any(run.result.interrupted for run in runs):
        notes.append("The run was interrupted; the figures are of what was done until then.")
    body = columns("".join(tables.values()), path) + "".join(map(note, notes))
    return section("Summary", body)


def _figures(group: str, runs: Sequence[ScoredRun]) -> str:
    """A table of one group of figures, a column for each run."""
    names = [html.escape(_MODES[run.result.mode]) for run in runs] if len(runs) > 1 else [""]
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for row in ROWS:
        if row.group == group:
            values = [format_value(row.pattern, run.figures.get(row.key)) for run in runs]
            cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
            rows.append(
                f'<tr><th scope="row">{html.escape(row.label)}'
                f"<small>{html.escape(row.meaning)}</small></th>{cells}</tr>"
            )
    return table("figures", "".join(rows), f"<tr><th>{group}</th>{head}</tr>")


def _trajectory(page: Page, run: ScoredRun) -> str:
    score = run.path
    if not len(score.path):
        return section("Path from above", note("Not available: no odometry came back."))
    lines = [_seen_from_above("estimate", score.path)]
    if score.ground_truth_trajectory is not None:
        lines.insert(0, _seen_from_above("ground_truth", score.ground_truth_trajectory))
    unit = page.unit if score.ground_truth_trajectory is None else "m"
    text = "The first camera looks up the page; the dot is the start."
    if score.ground_truth_trajectory is not None:
        text += " The estimate is laid over the ground truth by a similarity."
    colors = legend(*((line.style, line.label) for line in lines))
    return section("Path from above", figure(path_chart(lines, unit), colors, text))


def _seen_from_above(style: str, positions: np.ndarray) -> Line:
    return Line(style=style, x=positions[:, 0], y=positions[:, 2], label=style)


def _errors(run: ScoredRun) -> str:
    score = run.path
    title = "Error over the way"
    if not len(score.distance_m):
        return section(title, note(f"Not available: {score.problem}."))
    charts = [
        line_chart(
            [Line(style="estimate", x=score.distance_m, y=values, label=label)],
            "true way from the start [m]",
            label,
            height=190,
        )
        for label, values in (
            ("position error [m]", score.errors_m),
            ("rotation error [°]", score.errors_deg),
        )
    ]
    text = (
        "Distance from the true position after alignment by a similarity, and angle from the true "
        "turn since the start."
    )
    return section(title, figure("".join(charts), "", text))


def _drift(run: ScoredRun) -> str:
    title = "Drift by length of segment"
    score = run.path.score
    if score is None:
        return section(title, note(f"Not available: {run.path.problem}."))
    segments = score.estimate.segments
    if not segments:
        length = score.estimate.path_length_m
        return section(title, note(f"Not applicable: the path has {length:.0f} m, the shortest "
                                     "segment 100 m."))  # fmt: skip
    labels = [f"{length} m" for length in segments]
    t_err = column_chart(labels, [("bar", [t for t, _ in segments.values()])], "position [%]")
    r_err = column_chart(
        labels, [("bar second", [r for _, r in segments.values()])], "rotation [°/100 m]"
    )
    text = "Mean error at the end of segments of so many meters, as KITTI measures it."
    return section(title, figure(t_err + r_err, "", text))


def _latency(runs: Sequence[ScoredRun]) -> str:
    body = []
    for run in runs:
        if not run.result.stages:
            continue
        bars = [
            Bar(
                label=name.replace("_", " "),
                value=p.p50,
                high=p.p99,
                text=f"{p.p50:.1f} / {p.p99:.1f}",
            )
            for name, p in run.result.stages.items()
        ]
        heading = f"<h3>{_MODES[run.result.mode]}</h3>" if len(runs) > 1 else ""
        body.append(heading + bar_chart(bars, "ms"))
    if not body:
        return section("Time by stage", note("Not available: no image went all the way."))
    colors = legend(("bar", "median"), ("rest", "99th percentile"))
    text = "Milliseconds a frame, median / 99th percentile."
    return section("Time by stage", figure("".join(body), colors, text))


def _depth(page: Page, run: ScoredRun) -> str:
    chosen = depth_tiles.choose(run.result.snapshots)
    if not chosen:
        return section("Depth", note("Not available: no depth came back."))
    tiles, (near, far) = depth_tiles.make_tiles(chosen)
    start_ns = int(run.result.image_stamps_ns[0])
    has_ground_truth = any(tile.ground_truth is not None for tile in tiles)
    unit = "m" if has_ground_truth else page.unit
    ramps = (
        f'<span>{near:.1f} {unit}<i class="ramp depth"></i>{far:.0f} {unit}</span>'
        '<span><i class="key unknown"></i>unknown</span>'
    )
    order = "From above: the image and its depth."
    if has_ground_truth:
        ramps += '<span>50 % too near<i class="ramp error"></i>50 % too far</span>'
        order = (
            "From above: the image, its depth scaled to the ground truth, the ground-truth depth, and how far "
            "the one is from the other; below the mean of |depth - ground truth| / ground truth."
        )
    frames = "".join(_frame(tile, start_ns) for tile in tiles)
    strip = f'<p class="legend">{ramps}</p><div class="strip">{frames}</div>'
    return section("Depth", strip + note(order))


def _frame(tile: depth_tiles.Tiles, start_ns: int) -> str:
    seconds = (tile.stamp_ns - start_ns) * 1e-9
    images = (
        ("image", tile.image),
        ("depth", tile.depth),
        ("ground-truth depth", tile.ground_truth),
        ("error", tile.error),
    )
    shown = "".join(f'<img alt="{name}" src="{uri}">' for name, uri in images if uri is not None)
    error = "" if tile.abs_rel is None else f", error {tile.abs_rel:.3f}"
    return f"<figure>{shown}<figcaption>{seconds:.1f} s{error}</figcaption></figure>"


def _health(runs: Sequence[ScoredRun]) -> str:
    parts = []
    for run in runs:
        if len(runs) > 1:
            parts.append(f"<h3>{_MODES[run.result.mode]}</h3>")
        parts.append(health_of(run.result))
    return section("Health", "".join(parts))


def _card(page: Page) -> str:
    card = note("The model has no card.")
    if page.card.strip():
        card = f'<div class="card">{card_as_html(page.card)}</div>'
    rows = option_rows([(name, f"{value:.4g}", False) for name, value in page.metrics.items()])
    measured = ""
    if rows:
        measured = note("Measured when it was trained:") + _in_halves(rows)
    return section("Model card", card + measured)


def _configuration(page: Page) -> str:
    changed = any(is_changed for _, _, is_changed in page.configuration)
    remark = "Bold: not the default." if changed else "All defaults."
    return section(
        "Configuration", note(remark) + _in_halves(option_rows(list(page.configuration)))
    )


def _in_halves(rows: list[str]) -> str:
    half = (len(rows) + 1) // 2
    return columns(*(table("options", "".join(part)) for part in (rows[:half], rows[half:])))


def _facts(page: Page) -> str:
    items = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in page.facts
    )
    return section("About this run", f"<dl>{items}</dl>")
