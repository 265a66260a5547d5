"""Figures of a run: path, errors, drift, time per stage, and status over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfm_ros.evaluation.plotting import BLUE, GRAY, GREEN, ORANGE, SKY, YELLOW, new_figure
from sfm_ros.evaluation.runs.result import Percentiles, StatusInterval
from sfm_ros.evaluation.runs.scoring import AFTER_SIM3, AS_PUBLISHED, PathScore
from sfm_ros.evaluation.trajectory.consistency import Consistency, fraction_within
from sfm_ros.evaluation.trajectory.plot import DRIFT_LABELS, draw_curves, draw_drift, draw_paths
from sfm_ros.evaluation.trajectory.score import TrajectoryScore

_WIDTH = 5.6
"""Inches: of the figures in one column of the report."""
_MARKED_SIGMAS = np.array([1.0, 2.0, 3.0])
_STATUS_COLORS = {
    "tracking": GREEN,
    "degraded": YELLOW,
    "lost": ORANGE,
    "no odometry": ORANGE,
    "rejected": ORANGE,
}


def path_figure(score: PathScore, unit: str) -> Figure:
    """The path from above as published, with the aligned one and the ground truth if known.

    The first camera looks up; ``unit`` is that of the path as published.
    """
    figure = new_figure(_WIDTH, 5.2)
    draw_score_paths(figure.subplots(), score, unit)
    return figure


def draw_score_paths(axes: Axes, score: PathScore, unit: str) -> None:
    """Draw the paths of `path_figure`; the axes are in meters if there is ground truth."""
    ground_truth = score.ground_truth_trajectory
    draw_paths(axes, score.paths(unit), ground_truth, unit=unit if ground_truth is None else "m")


def error_figure(score: PathScore) -> Figure:
    """Position and rotation error over the distance travelled."""
    figure = new_figure(_WIDTH, 4.6)
    position, rotation = figure.subplots(2, 1)
    errors = {AS_PUBLISHED: score.errors_m, AFTER_SIM3: score.aligned_errors_m}
    curves = {label: (score.distance_m, each) for label, each in errors.items()}
    draw_curves(position, curves, "position error [m]")
    draw_curves(rotation, {"": (score.distance_m, score.errors_deg)}, "rotation error [deg]")
    return figure


def drift_figure(score: TrajectoryScore) -> Figure:
    """t_err and r_err by segment length."""
    figure = new_figure(_WIDTH, 4.6)
    for axes, label in zip(figure.subplots(2, 1), DRIFT_LABELS, strict=True):
        draw_drift(axes, score, label)
    return figure


def reliability_figure(consistency: Consistency) -> Figure:
    """Fraction of the errors within k sigma against the fraction expected of normal errors."""
    figure = new_figure(_WIDTH, 4.2)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GRAY, ls="--", lw=1, label="covariance is right")
    curves = {"position": (consistency.position, BLUE), "rotation": (consistency.rotation, ORANGE)}
    k = np.linspace(0.0, 4.0, 161)
    for name, (sigmas, color) in curves.items():
        observed = np.mean(sigmas[None, :] <= k[:, None], axis=1)
        axes.plot(fraction_within(k), observed, color=color, label=name)
        whole = np.mean(sigmas[None, :] <= _MARKED_SIGMAS[:, None], axis=1)
        axes.plot(fraction_within(_MARKED_SIGMAS), whole, "o", color=color, ms=5)
    for at, sigma in zip(fraction_within(_MARKED_SIGMAS), _MARKED_SIGMAS, strict=True):
        axes.plot(at, at, "o", color=GRAY, ms=4)
        axes.annotate(
            f"{sigma:.0f}σ", (at, at), xytext=(6, -12), textcoords="offset points", fontsize=9
        )
    axes.set(xlabel="expected fraction", ylabel="observed fraction", xlim=(0, 1), ylim=(0, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    _legend_above(axes, columns=3)
    return figure


def latency_figure(stages: Mapping[str, Percentiles]) -> Figure:
    """Median and 99th percentile of each stage, milliseconds per frame."""
    figure = new_figure(_WIDTH, 0.9 + 0.3 * len(stages))
    axes = figure.subplots()
    rows = np.arange(len(stages))
    p50, p99 = ([getattr(stage, name) for stage in stages.values()] for name in ("p50", "p99"))
    axes.barh(rows, p50, height=0.6, color=BLUE, label="median", zorder=2)
    axes.barh(rows, p99, height=0.3, color=SKY, label="99th percentile", zorder=1)
    for row, (median, high) in enumerate(zip(p50, p99, strict=True)):
        axes.annotate(
            f"{median:.1f} / {high:.1f}", (max(median, high), row), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(rows, [name.replace("_", " ") for name in stages])
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlabel("ms per frame")
    axes.spines[["top", "right"]].set_visible(False)
    _legend_above(axes, columns=2)
    return figure


def status_figure(intervals: Sequence[StatusInterval]) -> Figure:
    """The status over time, with the number of frames of each status."""
    figure = new_figure(_WIDTH, 1.3)
    axes = figure.subplots()
    start_ns = intervals[0].start_ns
    starts = [(interval.start_ns - start_ns) * 1e-9 for interval in intervals]
    ends = [*starts[1:], (intervals[-1].end_ns - start_ns) * 1e-9]
    frames: Counter[str] = Counter()
    for interval in intervals:
        frames[interval.status] += interval.frames
    for status, count in frames.most_common():  # the rarest on top
        spans = [
            (start, max(end - start, 0.0))
            for start, end, interval in zip(starts, ends, intervals, strict=True)
            if interval.status == status
        ]
        color = _STATUS_COLORS.get(status, GRAY)
        # The outline keeps the shortest interval visible.
        label = f"{status.replace('_', ' ')} ({count})"
        axes.broken_barh(spans, (0, 1), color=color, edgecolor=color, lw=2, label=label)
    axes.margins(x=0.0)
    axes.set_yticks([])
    axes.set_xlabel("time [s]")
    axes.spines[:].set_visible(False)
    _legend_above(axes, columns=4)
    return figure


def _legend_above(axes: Axes, columns: int) -> None:
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=columns, fontsize=9, frameon=False
    )
