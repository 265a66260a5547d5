"""The network's depth and the measured one side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfm_ros.evaluation.depth.confidence import SIGMAS, scores_as_json
from sfm_ros.evaluation.runs.result import MULTIVIEW, NETWORK, RunResult
from sfm_ros.evaluation.tables import format_value

MethodFigures = Mapping[str, Mapping[str, Any]]
"""Method -> figure by key, see `compare_methods`."""

_SHOWN_SHARE = "0.5"


def compare_methods(result: RunResult) -> dict[str, dict[str, Any]]:
    """Figures of each method, with its ``flicker``; those without ground truth have no others."""
    found = {}
    for name in (NETWORK, MULTIVIEW):
        scores = [s.scores[name] for s in result.snapshots if name in s.scores]
        flicker = result.flicker_by_method.get(name)
        if scores or flicker is not None:
            errors = scores_as_json(scores) if scores else {}
            found[name] = {**errors, "flicker_median": flicker}
    return found


def method_rows(figures: MethodFigures) -> list[list[str]]:
    """A heading and a row for each method, as text."""
    distances = next((list(f["by_distance"]) for f in figures.values() if "by_distance" in f), [])
    heading = ["depth", "abs_rel", "median-scaled", "scale", "its spread", *distances]
    heading += [f"surest {float(_SHOWN_SHARE):.0%}", *(f"within {k} sigma" for k in SIGMAS)]
    return [[*heading, "flicker"], *(_row(name, f, distances) for name, f in figures.items())]


def _row(name: str, figures: Mapping[str, Any], distances: list[str]) -> list[str]:
    by_distance, surest, within = (
        figures.get(key) or {} for key in ("by_distance", "surest", "within_sigma")
    )
    errors = [figures.get(key) for key in ("abs_rel", "abs_rel_scaled", "scale_median")]
    by_part = [*(by_distance.get(each) for each in distances), surest.get(_SHOWN_SHARE)]
    fractions = [within.get(str(k)) for k in SIGMAS]
    return [
        name,
        *(format_value("{:.3f}", value) for value in errors),
        format_value("{:.1%}", figures.get("scale_spread")),
        *(format_value("{:.3f}", value) for value in by_part),
        *(format_value("{:.1%}", value) for value in fractions),
        format_value("{:.4f}", figures.get("flicker_median")),
    ]
