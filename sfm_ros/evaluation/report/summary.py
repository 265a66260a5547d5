"""Figures of a run as ``summary.json`` and as tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
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

NOT_AVAILABLE = "–"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure as people read it: its group and name, how to print it, and what it means."""

    group: str
    key: str
    label: str
    pattern: str
    meaning: str


ROWS = (
    Row("Delivery", "frames", "Frames played", "{:d}", "Images that went in."),
    Row(
        "Delivery",
        "frames_lost",
        "Frames lost",
        "{:d}",
        "Images for which no odometry came back.",
    ),
    Row(
        "Delivery",
        "frames_per_second",
        "Frames per second",
        "{:.1f}",
        "Estimates over the time they took; over the middleware at most the rate of the input.",
    ),
    Row(
        "Delivery",
        "latency_p50_ms",
        "Latency, median",
        "{:.1f} ms",
        "Offline of one step; over the middleware from publishing an image to the arrival "
        "of its odometry in a third process.",
    ),
    Row(
        "Delivery",
        "latency_p99_ms",
        "Latency, 99th percentile",
        "{:.1f} ms",
        "One in a hundred is slower.",
    ),
    Row(
        "Path",
        "path_length_m",
        "Path length",
        "{:.1f} m",
        "Length of the ground-truth trajectory.",
    ),
    Row(
        "Path",
        "ate_m",
        "Trajectory error",
        "{:.2f} m",
        "Absolute trajectory error (RMSE) after alignment by a similarity.",
    ),
    Row(
        "Path", "ate_percent_of_path", "of the path", "{:.2f} %", "The same over the path length."
    ),
    Row(
        "Path",
        "sim3_scale",
        "Scale",
        "{:.3f}",
        "Factor that lays the path over the true one; 1 where lengths are right.",
    ),
    Row(
        "Path",
        "t_err_percent",
        "Drift of position",
        "{:.2f} %",
        "KITTI: mean over segments of 100 to 800 m, after alignment.",
    ),
    Row(
        "Path",
        "r_err_deg_per_100m",
        "Drift of rotation",
        "{:.2f} °/100 m",
        "The same segments; none where the path is shorter than 100 m.",
    ),
    Row("Path", "rpe_m", "Frame to frame, position", "{:.4f} m", "Mean error of a motion (RPE)."),
    Row("Path", "relative_pose_error_deg", "Frame to frame, rotation", "{:.3f}°", "The same."),
    Row(
        "Path",
        "snippet_ate_mean",
        "Snippet error",
        "{:.4f} m",
        "Mean error of 5-frame snippets, each with a scale of its own (SfMLearner's measure).",
    ),
    Row(
        "Path",
        "straight_line_ate_mean",
        "the same, straight line",
        "{:.4f} m",
        "What driving straight on without looking would score; to be beaten.",
    ),
    Row(
        "Depth",
        "depth_abs_rel",
        "Depth error",
        "{:.3f}",
        "Mean of |depth - ground truth| / ground truth up to 80 m, each frame scaled by the ratio of medians.",
    ),
    Row(
        "Depth",
        "depth_abs_rel_unscaled",
        "the same, not scaled",
        "{:.3f}",
        "With the meters that the model itself claims.",
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
    write_json(path, summary)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values; NaN and infinity become null."""
    text = json.dumps(_plain(values), indent=2, ensure_ascii=False, allow_nan=False)
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
        return NOT_AVAILABLE
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
