"""How a run fared, over time."""

from __future__ import annotations

import html
from collections.abc import Sequence

from sfm_ros.evaluation.report.charts import Stretch, time_line
from sfm_ros.evaluation.report.markup import legend, note, table
from sfm_ros.evaluation.runs.result import Outcome, Spell

_MAX_EVENTS = 40
_STYLES = {
    "tracking": "tracking",
    "degraded": "degraded",
    "lost": "lost",
    "no odometry": "lost",
    "rejected": "lost",
}


def health_of(outcome: Outcome) -> str:
    """A time line of a run and a table of what happened."""
    spells = outcome.spells
    if not spells:
        return note("Not available: no picture went in.")
    start_ns = min(spell.start_ns for spell in spells)
    end_ns = max(spell.end_ns for spell in spells)
    stretches = []
    for spell, following in zip(spells, [*spells[1:], None], strict=True):
        until = spell.end_ns if following is None else following.start_ns
        stretches.append(
            Stretch(
                start=(spell.start_ns - start_ns) * 1e-9,
                end=max(until - start_ns, spell.start_ns - start_ns) * 1e-9,
                style=_STYLES.get(spell.status, "waiting"),
                title=_words(spell),
            )
        )
    chart = time_line(stretches, (end_ns - start_ns) * 1e-9, "s")
    names = {_STYLES.get(s.status, "waiting"): s.status for s in spells}
    counts = {
        style: sum(s.frames for s in spells if _STYLES.get(s.status, "waiting") == style)
        for style in names
    }
    colours = legend(*((style, f"{name} ({counts[style]})") for style, name in names.items()))
    return f"<figure>{colours}{chart}</figure>{_events(spells, start_ns)}"


def _events(spells: Sequence[Spell], start_ns: int) -> str:
    told = [spell for spell in spells if spell.status != "tracking"]
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


def _words(spell: Spell) -> str:
    reasons = ", ".join(reason.replace("_", " ") for reason in spell.reasons)
    return f"{spell.status.replace('_', ' ')}{': ' if reasons else ''}{reasons}"
