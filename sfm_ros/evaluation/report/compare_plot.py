"""One figure of the paths of several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.plotting import CYCLE, new_figure, save_figure
from sfm_ros.evaluation.report.compare import Run
from sfm_ros.evaluation.runs.scoring import AFTER_SIM3, ALIGNMENT, AS_PUBLISHED
from sfm_ros.evaluation.trajectory.alignment import align_trajectories
from sfm_ros.evaluation.trajectory.association import Pairs, pair_by_stamp
from sfm_ros.evaluation.trajectory.metrics import position_errors
from sfm_ros.evaluation.trajectory.plot import draw_curves, draw_paths
from sfm_ros.evaluation.trajectory.score import UNALIGNED
from sfm_ros.evaluation.trajectory.segments import distance_travelled
from sfm_ros.formats.trajectory import Trajectory

_ALIGNMENTS = {UNALIGNED: AS_PUBLISHED, ALIGNMENT: AFTER_SIM3}
"""The rows of the figure."""
_Curve = tuple[FloatArray, FloatArray]


def draw_comparison(path: Path, runs: Sequence[Run]) -> bool:
    """Draw all paths from above, with the ground truth of the first run that has one.

    The first row has the paths as published, from the first pose of the ground truth, and their
    errors over distance, the second both after alignment by Sim(3). Without ground truth, each
    path starts at the origin, in its own unit, and there is one figure.

    Args:
        path: file to write; its suffix selects the format.
        runs: what to draw; those without a trajectory are omitted.

    Returns:
        Whether there was anything to draw.
    """
    ground_truth = next((run.ground_truth for run in runs if run.ground_truth is not None), None)
    estimates = {run.name: run.trajectory for run in runs if run.trajectory is not None}
    if not estimates:
        return False
    pairs = {name: _pairs(estimate, ground_truth) for name, estimate in estimates.items()}
    if ground_truth is None or not any(pairs.values()):
        figure = new_figure(6.5, 5.8)
        plain = {name: estimate.rebased().positions for name, estimate in estimates.items()}
        own = None if ground_truth is None else ground_truth.rebased().positions
        draw_paths(figure.subplots(), plain, own, colors=CYCLE, unit="unit of each run")
    else:
        figure = new_figure(11.0, 11.0)
        grid = figure.subplots(2, 2)
        for (alignment, title), row in zip(_ALIGNMENTS.items(), grid, strict=True):
            _draw_row(row, alignment, estimates, pairs, ground_truth)
            row[0].set_title(f"paths {title}", fontsize=11)
            row[1].set_title(f"errors {title}", fontsize=11)
    save_figure(figure, path)
    return True


def _draw_row(
    row: Sequence[Axes],
    alignment: str,
    estimates: Mapping[str, Trajectory],
    pairs: Mapping[str, Pairs | None],
    ground_truth: Trajectory,
) -> None:
    """Paths and errors with an alignment; a run that cannot be paired has no errors."""
    paths: dict[str, FloatArray] = {}
    curves: dict[str, _Curve] = {}
    for name, estimate in estimates.items():
        paired = pairs[name]
        if paired is None:
            label, nothing = f"{name} (not compared)", np.zeros(0)
            paths[label], curves[label] = estimate.rebased().positions, (nothing, nothing)
        else:
            paths[name], curves[name] = _aligned(paired, ground_truth, alignment)
    draw_paths(row[0], paths, ground_truth.rebased().positions, colors=CYCLE)
    draw_curves(row[1], curves, "position error [m]", CYCLE)


def _pairs(estimate: Trajectory, ground_truth: Trajectory | None) -> Pairs | None:
    if ground_truth is None:
        return None
    try:
        return pair_by_stamp(estimate, ground_truth)
    except TrajectoryError:
        return None


def _aligned(pairs: Pairs, ground_truth: Trajectory, alignment: str) -> tuple[FloatArray, _Curve]:
    """(N, 3) positions, and the (N,) distances and errors in meters."""
    aligned = align_trajectories(pairs.estimate, pairs.ground_truth, alignment)
    # From the first common camera into the first camera of the ground truth, which is drawn.
    T_first_common = np.linalg.inv(ground_truth.poses[0]) @ pairs.ground_truth[0]
    distances = distance_travelled(aligned.ground_truth)
    errors = position_errors(aligned.poses, aligned.ground_truth)
    return (T_first_common @ aligned.poses)[:, :3, 3], (distances, errors)
