"""One image of a trajectory beside the ground truth: the path, its error, its drift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from sfm_ros.datatypes import FloatArray
from sfm_ros.evaluation.trajectory.alignment import AlignedTrajectories, align_trajectories
from sfm_ros.evaluation.trajectory.association import Pairs
from sfm_ros.evaluation.trajectory.metrics import position_errors
from sfm_ros.evaluation.trajectory.score import TrajectoryScore

GROUND_TRUTH_COLOR = "#555555"
COLORS = {"estimate": "#d1495b", "straight_line": "#3a7ca5", "mean_motion": "#81a684"}
_AXIS_NAMES = "xyz"


def draw_score(path: Path, pairs: Pairs, score: TrajectoryScore, title: str) -> None:
    """Draw the path from above, the position error along it, and drift by segment length.

    Args:
        path: file to write; its ending chooses the format.
        pairs, score: what was scored, and how.
        title: one line above.

    Raises:
        OSError, ValueError: the file cannot be written, or its ending is unknown.
    """
    aligned = align_trajectories(pairs.estimate, pairs.ground_truth, score.estimate.alignment)
    figure = Figure(figsize=(11.0, 5.6), dpi=110, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1.0))
    figure.suptitle(title, fontsize=11)
    _draw_path(figure.add_subplot(grid[:, 0]), aligned)
    _draw_error(figure.add_subplot(grid[0, 1]), aligned)
    _draw_drift(figure.add_subplot(grid[1, 1]), score)
    figure.savefig(path)


def seen_from_above(positions: FloatArray) -> tuple[int, int]:
    """The two axes, in order, in which (N, 3) positions extend furthest."""
    extents = np.ptp(positions, axis=0)
    first, second = sorted(np.argsort(extents)[1:].tolist())
    return first, second


def square_view(axes: Axes, points: FloatArray) -> None:
    """Equal scales around (N, 2) points, with a margin that a straight path needs."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) * 0.55, 0.5)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")


def _draw_path(axes: Axes, aligned: AlignedTrajectories) -> None:
    ground_truth, estimate = aligned.ground_truth[:, :3, 3], aligned.poses[:, :3, 3]
    shown = seen_from_above(ground_truth)
    axes.plot(
        *ground_truth[:, shown].T, color=GROUND_TRUTH_COLOR, lw=4, alpha=0.5, label="ground_truth"
    )
    axes.plot(*estimate[:, shown].T, color=COLORS["estimate"], lw=1.6, label="estimate")
    axes.plot(
        *ground_truth[0, list(shown)], "o", color="black", ms=6, label="start of the ground truth"
    )
    square_view(axes, np.concatenate([ground_truth[:, shown], estimate[:, shown]]))
    axes.set_xlabel(f"{_AXIS_NAMES[shown[0]]} [m]")
    axes.set_ylabel(f"{_AXIS_NAMES[shown[1]]} [m]")
    axes.set_title("the path, in the plane of its largest extent", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=9)


def _draw_error(axes: Axes, aligned: AlignedTrajectories) -> None:
    steps = np.linalg.norm(np.diff(aligned.ground_truth[:, :3, 3], axis=0), axis=1)
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    axes.plot(
        distance, position_errors(aligned.poses, aligned.ground_truth), color=COLORS["estimate"]
    )
    axes.set_xlabel("distance travelled [m]")
    axes.set_ylabel("position error [m]")
    axes.set_ylim(bottom=0)
    axes.set_title("position error after alignment", fontsize=10)
    axes.grid(alpha=0.3)


def _draw_drift(axes: Axes, score: TrajectoryScore) -> None:
    axes.set_title("drift (t_err) by length of segment", fontsize=10)
    if not score.estimate.segments:
        axes.set_axis_off()
        text = "not applicable: the path has no segment of 100 m"
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
        return
    for name, metrics in score.all().items():
        lengths = list(metrics.segments)
        drift = [metrics.segments[length][0] for length in lengths]
        style = "o--" if name == "mean_motion" else "o-"  # the floors often lie on each other
        axes.plot(lengths, drift, style, color=COLORS[name], label=name.replace("_", " "))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("length of segment [m]")
    axes.set_ylabel("t_err [%]")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="best", fontsize=9)
