"""How a run fared, over time."""

from __future__ import annotations

import html
from collections.abc import Sequence

from sfm_ros.evaluation.report.charts import Stretch, time_line
from sfm_ros.evaluation.report.markup import legend, note, table
from sfm_ros.evaluation.runs.result import RunResult, StatusInterval

_MAX_EVENTS = 40
_STYLES = {
    "tracking": "tracking",
    "degraded": "degraded",
    "lost": "lost",
    "no odometry": "lost",
    "rejected": "lost",
}


def health_of(result: RunResult) -> str:
    """A time line of a run and a table of what happened."""
    intervals = result.intervals
    if not intervals:
        return note("Not available: no image went in.")
    start_ns = min(interval.start_ns for interval in intervals)
    end_ns = max(interval.end_ns for interval in intervals)
    stretches = []
    for interval, following in zip(intervals, [*intervals[1:], None], strict=True):
        until = interval.end_ns if following is None else following.start_ns
        stretches.append(
            Stretch(
                start=(interval.start_ns - start_ns) * 1e-9,
                end=max(until - start_ns, interval.start_ns - start_ns) * 1e-9,
                style=_STYLES.get(interval.status, "waiting"),
                title=_words(interval),
            )
        )
    chart = time_line(stretches, (end_ns - start_ns) * 1e-9, "s")
    names = {_STYLES.get(s.status, "waiting"): s.status for s in intervals}
    counts = {
        style: sum(s.frames for s in intervals if _STYLES.get(s.status, "waiting") == style)
        for style in names
    }
    colors = legend(*((style, f"{name} ({counts[style]})") for style, name in names.items()))
    return f"<figure>{colors}{chart}</figure>{_events(intervals, start_ns)}"


def _events(intervals: Sequence[StatusInterval], start_ns: int) -> str:
    told = [interval for interval in intervals if interval.status != "tracking"]
    if not told:
        return note("Nothing happened.")
    rows = "".join(
        f"<tr><td>{(s.start_ns - start_ns) * 1e-9:.2f}</td><td>{s.frames}</td>"
        f"<td>{html.escape(_words(s))}</td></tr>"
        for s in told[:_MAX_EVENTS]
    )
    more = len(told) - _MAX_EVENTS
    rest = note(f"… and {more} more, see health.json.") if more > 0 else ""
    head = "<tr><th>s</th><th>frames</th><th>what</th></tr>"
    return table("events", rows, head) + rest


def _words(interval: StatusInterval) -> str:
    reasons = ", ".join(reason.replace("_", " ") for reason in interval.reasons)
    return f"{interval.status.replace('_', ' ')}{': ' if reasons else ''}{reasons}"
