"""Figures of a trajectory against the ground truth: path, position error, drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from sfm_ros.datatypes import FloatArray
from sfm_ros.evaluation.plotting import (
    BLUE,
    ESTIMATE_COLOR,
    GREEN,
    GROUND_TRUTH_COLOR,
    equal_axes,
    new_figure,
    save_figure,
)
from sfm_ros.evaluation.trajectory.alignment import REBASED, align_trajectories
from sfm_ros.evaluation.trajectory.association import Pairs
from sfm_ros.evaluation.trajectory.metrics import position_errors
from sfm_ros.evaluation.trajectory.score import TrajectoryScore
from sfm_ros.evaluation.trajectory.segments import SEGMENT_LENGTHS_M, distance_travelled

FROM_ABOVE = (0, 2)
"""Optical axes of a path seen from above: to the right and ahead."""
DRIFT_LABELS = ("t_err [%]", "r_err [deg/100 m]")
ESTIMATE_COLORS = (ESTIMATE_COLOR, BLUE)
LINE_STYLES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))
"""Of several paths or curves, in turn, so that those that coincide stay visible."""
_DRIFT_STYLES = {
    "estimate": (ESTIMATE_COLOR, "o-"),
    "straight_line": (BLUE, "s-"),
    "mean_motion": (GREEN, "^--"),
}
_OPTICAL_AXES, _BODY_AXES, _WORLD_AXES = (
    ("right", "down", "ahead"),
    ("ahead", "left", "up"),
    ("x", "y", "z"),
)


def draw_score(
    path: Path, pairs: Pairs, score: TrajectoryScore, title: str, in_body_axes: bool = False
) -> None:
    """Draw the path, the position error along it, and the drift by segment length.

    See `save_figure` for the file; the title is one line above the figure. ``in_body_axes``: the
    poses have x ahead, in place of optical axes.
    """
    aligned = align_trajectories(pairs.estimate, pairs.ground_truth, score.estimate.alignment)
    ground_truth, estimate = aligned.ground_truth[:, :3, 3], aligned.poses[:, :3, 3]
    plane = widest_plane(ground_truth)
    figure = new_figure(11.0, 5.6)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1.0))
    figure.suptitle(title, fontsize=11)
    path_axes, error_axes, drift_axes = (
        figure.add_subplot(cell) for cell in (grid[:, 0], grid[0, 1], grid[1, 1])
    )
    names = _BODY_AXES if in_body_axes else _OPTICAL_AXES
    if score.estimate.alignment not in REBASED:
        names = _WORLD_AXES
    draw_paths(path_axes, {"estimate": estimate}, ground_truth, plane)
    path_axes.set(xlabel=f"{names[plane[0]]} [m]", ylabel=f"{names[plane[1]]} [m]")
    distance = distance_travelled(aligned.ground_truth)
    errors = position_errors(aligned.poses, aligned.ground_truth)
    draw_curves(error_axes, {"estimate": (distance, errors)}, "position error [m]")
    draw_drift(drift_axes, score, DRIFT_LABELS[0])
    save_figure(figure, path)


def widest_plane(positions: FloatArray) -> tuple[int, int]:
    """The two axes, in order, of the largest extents of (N, 3) positions."""
    first, second = sorted(np.argsort(np.ptp(positions, axis=0))[1:].tolist())
    return first, second


def draw_paths(
    axes: Axes,
    estimates: Mapping[str, FloatArray],
    ground_truth: FloatArray | None,
    plane: tuple[int, int] = FROM_ABOVE,
    colors: Sequence[str] = ESTIMATE_COLORS,
    unit: str = "m",
) -> None:
    """Draw paths with equal scales; a dot marks the start.

    Args:
        axes: where to draw.
        estimates: label -> (N, 3) positions.
        ground_truth: (M, 3) positions, or None.
        plane: the two axes to draw.
        colors: of the estimates; repeated if there are more estimates.
        unit: of the positions.
    """
    drawn = [positions[:, plane] for positions in estimates.values()]
    if ground_truth is not None:
        drawn.insert(0, ground_truth[:, plane])
        axes.plot(*drawn[0].T, color=GROUND_TRUTH_COLOR, lw=4, alpha=0.55, label="ground truth")
    for (label, positions), color, style in zip(
        estimates.items(), cycle(colors), cycle(LINE_STYLES), strict=False
    ):
        axes.plot(*positions[:, plane].T, color=color, ls=style, lw=1.8, label=label)
    axes.plot(*drawn[0][:1].T, "o", color="black", ms=6, label="start")
    equal_axes(axes, np.concatenate(drawn))
    axes.set(xlabel=f"right [{unit}]", ylabel=f"ahead [{unit}]")
    _finish(axes)


def draw_curves(
    axes: Axes,
    curves: Mapping[str, tuple[FloatArray, FloatArray]],
    label: str,
    colors: Sequence[str] = ESTIMATE_COLORS,
) -> None:
    """Draw errors over the distance travelled.

    Args:
        axes: where to draw.
        curves: label -> (N,) distances in meters and (N,) errors; a single one gets no legend.
        label: of the y axis.
        colors: of the curves; repeated if there are more curves.
    """
    for (name, curve), color, style in zip(
        curves.items(), cycle(colors), cycle(LINE_STYLES), strict=False
    ):
        axes.plot(*curve, color=color, ls=style, lw=1.6, label=name)
    axes.set(xlabel="distance travelled [m]", ylabel=label)
    axes.set_ylim(bottom=0)
    _finish(axes, legend=len(curves) > 1)


def draw_drift(axes: Axes, score: TrajectoryScore, label: str) -> None:
    """Draw the KITTI drift of one of `DRIFT_LABELS` by segment length, with the baselines."""
    if not score.estimate.segments:
        axes.set_axis_off()
        text = f"not applicable: the path has no segment of {SEGMENT_LENGTHS_M[0]} m"
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
        return
    which = DRIFT_LABELS.index(label)
    for name, metrics in score.all().items():
        color, style = _DRIFT_STYLES[name]
        values = [drift[which] for drift in metrics.segments.values()]
        axes.plot(list(metrics.segments), values, style, color=color, label=name.replace("_", " "))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="segment length [m]", ylabel=label, xticks=list(score.estimate.segments))
    _finish(axes)


def _finish(axes: Axes, legend: bool = True) -> None:
    axes.grid(alpha=0.3, which="both")
    if legend:
        axes.legend(loc="best", fontsize=9)
