"""Figures of a run as ``summary.json``, and everything on one page as ``report.html``.

The page is a single file: its style and pictures are inside, it loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUMMARY_KEYS = (
    "frames",
    "frames_lost",
    "frames_per_second",
    "latency_p50_ms",
    "latency_p99_ms",
    "path_length_m",
    "ate_m",
    "depth_abs_rel",
    "snippet_ate_mean",
    "straight_line_ate_mean",
)
"""What every summary holds; null where there is nothing to measure it against."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure as people read it: its name, how to print it, and what it means."""

    key: str
    label: str
    pattern: str
    meaning: str


ROWS = (
    Row("frames", "Frames played", "{:d}", "Pictures that went in over the middleware."),
    Row("frames_lost", "Frames lost", "{:d}", "Pictures for which no odometry came back."),
    Row(
        "frames_per_second",
        "Frames per second",
        "{:.1f}",
        "Estimates that arrived over the time they took; at most the rate of the input.",
    ),
    Row(
        "latency_p50_ms",
        "Latency, median",
        "{:.1f} ms",
        "From publishing a picture to the arrival of its odometry in a third process.",
    ),
    Row("latency_p99_ms", "Latency, 99th percentile", "{:.1f} ms", "One in a hundred is slower."),
    Row("path_length_m", "Path length", "{:.1f} m", "Length of the true path."),
    Row(
        "ate_m",
        "Trajectory error",
        "{:.2f} m",
        "Absolute trajectory error (RMSE) after alignment by a similarity, Sim(3).",
    ),
    Row("ate_percent_of_path", "of the path", "{:.2f} %", "The same over the path length."),
    Row(
        "snippet_ate_mean",
        "Snippet error",
        "{:.4f} m",
        "Mean error of 5-frame snippets, each with a scale of its own (SfMLearner's measure).",
    ),
    Row(
        "straight_line_ate_mean",
        "the same, straight line",
        "{:.4f} m",
        "What driving straight on without looking would score; to be beaten.",
    ),
    Row(
        "depth_abs_rel",
        "Depth error",
        "{:.3f}",
        "Mean of |depth - truth| / truth up to 80 m, each frame scaled by the ratio of medians.",
    ),
)


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the figures as JSON; NaN and infinity become null.

    Raises:
        ValueError: one of ``SUMMARY_KEYS`` is missing.
    """
    missing = [key for key in SUMMARY_KEYS if key not in summary]
    if missing:
        raise ValueError(f"the summary lacks {missing}; every key is there, with null if unknown")
    text = json.dumps(_plain(summary), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """The value with plain types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def format_value(pattern: str, value: float | None) -> str:
    """A figure for people; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return pattern.format(value)


def text_table(summary: Mapping[str, Any]) -> str:
    """The figures that are known, one a line, for the terminal."""
    known = [row for row in ROWS if summary.get(row.key) is not None]
    width = max((len(row.label) for row in known), default=0)
    lines = [
        f"  {row.label.ljust(width)}  {format_value(row.pattern, summary[row.key])}"
        for row in known
    ]
    return "\n".join(lines)


def write_report(
    path: Path, summary: Mapping[str, Any], title: str, pictures: Sequence[tuple[str, Path]]
) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        summary: figures; keys other than those of ``ROWS`` are listed as facts about the run.
        title: heading.
        pictures: (caption, PNG file); files that are not there are left out.
    """
    parts = [_figures(summary)]
    parts += [_picture(caption, file) for caption, file in pictures if file.is_file()]
    parts.append(_facts(summary))
    page = _PAGE.replace("{title}", html.escape(title)).replace("{body}", "\n".join(parts))
    path.write_text(page, encoding="utf-8")


def _figures(summary: Mapping[str, Any]) -> str:
    cells = "\n".join(
        f"<tr><th>{html.escape(row.label)}<small>{html.escape(row.meaning)}</small></th>"
        f"<td>{html.escape(format_value(row.pattern, summary.get(row.key)))}</td></tr>"
        for row in ROWS
    )
    return f"<table>{cells}</table>"


def _picture(caption: str, file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    text = html.escape(caption)
    return (
        f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
        f"<figcaption>{text}</figcaption></figure>"
    )


def _facts(summary: Mapping[str, Any]) -> str:
    shown = {row.key for row in ROWS}
    items = "\n".join(
        f"<dt>{html.escape(key.replace('_', ' '))}</dt><dd>{html.escape(_fact(value))}</dd>"
        for key, value in summary.items()
        if key not in shown and value is not None
    )
    return f"<h2>About this run</h2><dl>{items}</dl>"


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_fact(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(_fact(entry) for entry in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 600; } td { text-align: right; white-space: nowrap; }
th, td { padding: .4rem .2rem; border-bottom: 1px solid #ddd; vertical-align: top; }
th small { display: block; font-weight: 400; color: #555; }
figure { margin: 1.5rem 0; } img { width: 100%; height: auto; border: 1px solid #ddd; }
figcaption { color: #555; font-size: .9rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 0; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""
