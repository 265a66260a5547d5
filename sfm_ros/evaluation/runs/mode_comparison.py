"""The modes of the odometry side by side, with the straight line that uses no image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfm_ros.evaluation.runs.scoring import ALIGNMENT, PathScore
from sfm_ros.evaluation.tables import format_value
from sfm_ros.evaluation.trajectory.metrics import SNIPPET_LENGTHS, OdometryMetrics, main_figures
from sfm_ros.evaluation.trajectory.score import UNALIGNED

STRAIGHT_LINE = "straight_line"
COLUMNS = (
    ("t_err_percent", "t_err [%]", "{:.2f}"),
    ("r_err_deg_per_100m", "r_err [deg/100 m]", "{:.2f}"),
    ("ate_m", "ATE [m]", "{:.2f}"),
    ("rpe_m", "RPE [m]", "{:.4f}"),
    ("rpe_deg", "RPE [deg]", "{:.3f}"),
    ("snippet_ate_m", "snippet ATE [m]", "{:.4f}"),
    ("scale", "scale", "{:.3f}"),
)
"""Key, heading and format of each figure."""

ModeFigures = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Mode -> alignment -> figure by key."""


def compare_modes(scores: Mapping[str, PathScore]) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of each mode, as they are and with a similarity fitted (`ModeFigures`).

    The straight line has the ground truth's mean step; a mode without errors is omitted.
    """
    found = {name: path.by_alignment() for name, path in scores.items() if path.score is not None}
    lines = [path.straight_line for path in scores.values() if path.straight_line]
    if lines:
        found[STRAIGHT_LINE] = lines[0]
    return {
        name: {alignment: _figures(metrics[alignment]) for alignment in (UNALIGNED, ALIGNMENT)}
        for name, metrics in found.items()
    }


def _figures(metrics: OdometryMetrics) -> dict[str, Any]:
    snippets = metrics.snippet_ates.get(SNIPPET_LENGTHS[0])
    return {
        **main_figures(metrics),
        "snippet_ate_m": None if snippets is None else snippets.mean,
        "scale": metrics.scale,
    }


def mode_rows(figures: ModeFigures) -> list[list[str]]:
    """A heading and a row for each mode and alignment, as text."""
    rows = [["mode", "alignment", *(heading for _, heading, _ in COLUMNS)]]
    for name, alignments in figures.items():
        for alignment, values in alignments.items():
            cells = [format_value(pattern, values[key]) for key, _, pattern in COLUMNS]
            rows.append([name.replace("_", " "), alignment, *cells])
    return rows
