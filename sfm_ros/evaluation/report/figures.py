"""The figures of a run as PNG files: the path, depth, and an overview of both."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from sfm_ros.evaluation.depth.figure import (
    DEPTH,
    IMAGE,
    DepthView,
    depth_figure,
    depth_limits,
    draw_panel,
    panel_titles,
    panels,
)
from sfm_ros.evaluation.plotting import new_figure, save_figure
from sfm_ros.evaluation.report.charts import draw_score_paths, path_figure
from sfm_ros.evaluation.report.depth_tiles import depth_unit, depth_views, evenly_spread
from sfm_ros.evaluation.report.page import ScoredRun
from sfm_ros.evaluation.runs.scoring import PathScore
from sfm_ros.evaluation.tables import format_value

FIGURE_FILES = ("trajectory.png", "depth.png", "overview.png")


def draw_images(run: ScoredRun, unit: str, out: Path) -> None:
    """Write `FIGURE_FILES`, as far as there is data.

    ``unit`` is that of the lengths of the estimate.
    """
    score, snapshots = run.path, evenly_spread(run.result.snapshots)
    views = depth_views(snapshots, run.result)
    trajectory, depth, both = (out / name for name in FIGURE_FILES)
    if len(score.path):
        save_figure(_trajectory(run, unit), trajectory)
    if views:
        save_figure(depth_figure(views, depth_unit(snapshots, unit)), depth)
    if views and len(score.path):
        units = (depth_unit(snapshots, unit), unit)
        save_figure(overview(views[len(views) // 2], score, units), both)


def _trajectory(run: ScoredRun, unit: str) -> Figure:
    score, metrics = run.path, run.metrics
    figure = path_figure(score, unit)
    if score.score is not None:
        ates = [format_value("{:.2f} m", metrics[key]) for key in ("ate_unaligned_m", "ate_m")]
        title = f"{metrics['path_length_m']:.0f} m, ATE RMSE {ates[0]}, aligned {ates[1]}"
        figure.suptitle(title, fontsize=11)
    return figure


def overview(view: DepthView, score: PathScore, units: tuple[str, str]) -> Figure:
    """An image, its depth, and the path from above, with the units of depth and path."""
    figure = new_figure(11.0, 4.2)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1.0))
    limits = depth_limits([view])
    titles = {IMAGE: IMAGE, DEPTH: panel_titles(limits, units[0])[DEPTH]}
    for row, (kind, title) in enumerate(titles.items()):
        draw_panel(figure.add_subplot(grid[row, 0]), panels(view, limits), kind, title)
    axes = figure.add_subplot(grid[:, 1])
    draw_score_paths(axes, score, units[1])
    return figure
