"""Metrics of a run as ``summary.json`` and as a text table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfm_ros.evaluation.tables import format_value

SUMMARY_KEYS = (
    "frames",
    "frames_lost",
    "frames_unreadable",
    "frames_per_second",
    "latency_p50_ms",
    "latency_p99_ms",
    "path_length_m",
    "t_err_unaligned_percent",
    "ate_unaligned_m",
    "scale_error_percent",
    "trajectory_remark",
    "ate_m",
    "depth_abs_rel_unscaled",
    "depth_abs_rel",
    "depth_remark",
    "snippet_ate_mean",
    "straight_line_ate_mean",
)
"""Keys of every summary; null if a metric is not available."""


@dataclass(frozen=True, slots=True)
class Row:
    """A metric in tables: its group, key in the summary, name, format and meaning."""

    group: str
    key: str
    label: str
    pattern: str
    meaning: str


def _rows(group: str, *rows: tuple[str, str, str, str]) -> tuple[Row, ...]:
    return tuple(Row(group, *row) for row in rows)


_RESULT = _rows(
    "Result",
    (
        "t_err_unaligned_percent",
        "t_err, unaligned",
        "{:.2f} %",
        "KITTI drift over segments of 100 to 800 m, with the lengths as published.",
    ),
    (
        "ate_unaligned_m",
        "ATE RMSE, unaligned",
        "{:.2f} m",
        "Absolute trajectory error from the same first pose, with the lengths as published.",
    ),
    (
        "scale_error_percent",
        "Scale error",
        "{:+.1f} %",
        "Length of the path as published against that of the ground truth; +: too long.",
    ),
    (
        "trajectory_remark",
        "Trajectory",
        "{}",
        "Beside the straight line with the ground truth's mean step, which uses no image.",
    ),
    (
        "depth_abs_rel_unscaled",
        "Depth abs_rel, unscaled",
        "{:.3f}",
        "Mean of |depth - gt| / gt up to 80 m, with the depth as published.",
    ),
    (
        "depth_remark",
        "Depth",
        "{}",
        "Beside a constant and the median depth of each image row, fitted to the ground truth.",
    ),
)
_RUN = _rows(
    "Run",
    ("frames", "Frames", "{:d}", "Images of the input that were read."),
    (
        "frames_lost",
        "Frames lost",
        "{:d}",
        "Images without odometry, except the first ones, which fill the networks' window.",
    ),
    ("frames_unreadable", "Frames unreadable", "{:d}", "Listed by the input, and not read."),
    ("frames_per_second", "Frames per second", "{:.1f}", "Online, at most the rate of the input."),
    ("step_time_p50_ms", "Time per step p50", "{:.1f} ms", "Offline: of the odometry alone."),
    ("step_time_p99_ms", "Time per step p99", "{:.1f} ms", "99th percentile."),
    (
        "latency_p50_ms",
        "Latency p50",
        "{:.1f} ms",
        "Online: from publishing an image to receiving its odometry in another process. Not at "
        "rate 0, where images wait in the node's queue.",
    ),
    ("latency_p99_ms", "Latency p99", "{:.1f} ms", "99th percentile."),
)
_TRAJECTORY = _rows(
    "Trajectory",
    ("path_length_m", "Path length", "{:.1f} m", "Ground truth."),
    ("ate_m", "ATE RMSE, aligned", "{:.2f} m", "After Sim(3) alignment, which hides the scale."),
    ("ate_percent_of_path", "ATE RMSE, aligned, relative", "{:.2f} %", "Over the path length."),
    ("t_err_percent", "t_err, aligned", "{:.2f} %", "After Sim(3) alignment."),
    ("sim3_scale", "Sim(3) scale", "{:.3f}", "Factor of that alignment; 1 if lengths are right."),
    ("r_err_deg_per_100m", "r_err", "{:.2f} deg/100 m", "Rotation over the segments of t_err."),
    ("rpe_m", "RPE trans", "{:.4f} m", "Relative pose error from frame to frame, mean, aligned."),
    ("relative_pose_error_deg", "RPE rot", "{:.3f} deg", "Mean rotation of that error."),
    (
        "nees_per_dimension",
        "NEES / 6",
        "{:.2f}",
        "Squared errors over the covariance since the first frame; 1 if it is right.",
    ),
    (
        "snippet_ate_mean",
        "Snippet ATE",
        "{:.4f} m",
        "Mean over 5-frame snippets, each with its own scale (SfMLearner).",
    ),
    (
        "straight_line_ate_mean",
        "Snippet ATE, straight line",
        "{:.4f} m",
        "Straight line baseline, which uses no image.",
    ),
)
_DEPTH = _rows(
    "Depth",
    (
        "depth_abs_rel",
        "Depth abs_rel, median-scaled",
        "{:.3f}",
        "Each frame scaled by its ratio of medians.",
    ),
    (
        "depth_scale_median",
        "Depth scale",
        "{:.3f}",
        "Median of these ratios; 1 if the depth is in meters.",
    ),
    (
        "depth_scale_spread",
        "Spread of the scale",
        "{:.1%}",
        "Their standard deviation from frame to frame, over their median.",
    ),
    (
        "depth_flicker",
        "Depth flicker",
        "{:.3f}",
        "Mean of |log depth - log depth of the frame before|, moved along the motion.",
    ),
)
ROWS = _RESULT + _RUN + _TRAJECTORY + _DEPTH
"""The metrics of all tables, in their order."""


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the metrics as JSON; NaN and infinity become null.

    Raises:
        ValueError: one of `SUMMARY_KEYS` is missing.
    """
    missing = [key for key in SUMMARY_KEYS if key not in summary]
    if missing:
        raise ValueError(f"the summary lacks {missing}, expected every key, with None if unknown")
    write_json(path, summary)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values; NaN and infinity become null."""
    text = json.dumps(_plain(values), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """The value with types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def text_table(summary: Mapping[str, Any]) -> str:
    """The available metrics, one per line, for the terminal."""
    known = [row for row in ROWS if summary.get(row.key) is not None]
    width = max((len(row.label) for row in known), default=0)
    return "\n".join(
        f"  {row.label.ljust(width)}  {format_value(row.pattern, summary[row.key])}"
        for row in known
    )
