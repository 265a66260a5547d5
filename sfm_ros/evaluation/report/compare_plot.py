"""One figure of the paths of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.plotting import CYCLE, new_figure, save_figure
from sfm_ros.evaluation.report.compare import Run
from sfm_ros.evaluation.trajectory.alignment import align_trajectories
from sfm_ros.evaluation.trajectory.association import pair_by_stamp
from sfm_ros.evaluation.trajectory.metrics import position_errors
from sfm_ros.evaluation.trajectory.plot import draw_curves, draw_paths
from sfm_ros.evaluation.trajectory.segments import distance_travelled
from sfm_ros.formats.trajectory import Trajectory


def draw_comparison(path: Path, runs: Sequence[Run]) -> bool:
    """Draw all paths from above, with the ground truth of the first run that has one.

    Paths are aligned with the ground truth by Sim(3), and their errors are drawn over distance.
    Without ground truth, each path starts at the origin, in its own unit.

    Args:
        path: file to write; its suffix selects the format.
        runs: what to draw; those without a trajectory are omitted.

    Returns:
        Whether there was anything to draw.
    """
    ground_truth = next((run.ground_truth for run in runs if run.ground_truth is not None), None)
    paths = {
        run.name: _aligned(run.trajectory, ground_truth)
        for run in runs
        if run.trajectory is not None
    }
    if not paths:
        return False
    curves = {name: curve for name, (_, curve) in paths.items() if curve is not None}
    figure = new_figure(11.0 if curves else 6.5, 5.8)
    above, *beside = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
    draw_paths(
        above,
        {
            name if ground_truth is None or name in curves else f"{name} (not aligned)": positions
            for name, (positions, _) in paths.items()
        },
        None if ground_truth is None else ground_truth.rebased().positions,
        colors=CYCLE,
        unit="m" if curves else "unit of each run",
    )
    for axes in beside:
        color_of = dict(zip(paths, cycle(CYCLE), strict=False))
        colors = [color_of[name] for name in curves]
        draw_curves(axes, curves, "position error after Sim(3) alignment [m]", colors)
    save_figure(figure, path)
    return True


def _aligned(
    estimate: Trajectory, ground_truth: Trajectory | None
) -> tuple[FloatArray, tuple[FloatArray, FloatArray] | None]:
    """(N, 3) positions, and if they could be aligned the (N,) distances and errors in meters."""
    positions = estimate.rebased().positions
    if ground_truth is None:
        return positions, None
    try:
        pairs = pair_by_stamp(estimate, ground_truth)
    except TrajectoryError:
        return positions, None
    aligned = align_trajectories(pairs.estimate, pairs.ground_truth, "7dof")
    # From the first common camera into the first camera of the ground truth, which is drawn.
    T_first_common = np.linalg.inv(ground_truth.poses[0]) @ pairs.ground_truth[0]
    distances = distance_travelled(aligned.ground_truth)
    errors = position_errors(aligned.poses, aligned.ground_truth)
    return (T_first_common @ aligned.poses)[:, :3, 3], (distances, errors)
