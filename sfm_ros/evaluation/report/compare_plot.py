"""One image of the paths of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.report.compare import Run
from sfm_ros.evaluation.trajectory.alignment import align_trajectories
from sfm_ros.evaluation.trajectory.association import pair_by_stamp
from sfm_ros.evaluation.trajectory.metrics import position_errors
from sfm_ros.evaluation.trajectory.plot import GROUND_TRUTH_COLOR, square_view
from sfm_ros.formats.trajectory import Trajectory

_FROM_ABOVE = [0, 2]
_COLORS = [matplotlib.colormaps["tab10"](index) for index in range(10)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Path:
    """(N, 3) positions of a run, and where they were laid over a ground truth (N,) errors and ways."""

    name: str
    positions: FloatArray
    distance_m: FloatArray | None = None
    errors_m: FloatArray | None = None


def draw_comparison(path: Path, runs: Sequence[Run]) -> bool:
    """Draw all paths from above, over the ground truth where a run knows it.

    With a ground truth (of the first run that has one) every path is laid over it by a similarity, and
    its error is drawn along the way. Without, each begins at the origin in its own unit.

    Args:
        path: file to write.
        runs: what to draw; those without a trajectory are left out.

    Returns:
        Whether there was anything to draw.
    """
    ground_truth = next((run.ground_truth for run in runs if run.ground_truth is not None), None)
    paths = [
        _aligned(run.name, run.trajectory, ground_truth)
        for run in runs
        if run.trajectory is not None
    ]
    if not paths:
        return False
    with_errors = [found for found in paths if found.errors_m is not None]
    figure = Figure(figsize=(11.0 if with_errors else 6.5, 5.8), dpi=110, layout="constrained")
    above, *beside = figure.subplots(1, 2 if with_errors else 1, squeeze=False)[0]
    tracks = [found.positions[:, _FROM_ABOVE] for found in paths]
    if ground_truth is not None:
        tracks.append(ground_truth.rebased().positions[:, _FROM_ABOVE])
        above.plot(*tracks[-1].T, color=GROUND_TRUTH_COLOR, lw=5, alpha=0.4, label="ground_truth")
    for index, found in enumerate(paths):
        color = _COLORS[index % len(_COLORS)]
        above.plot(*tracks[index].T, color=color, lw=1.6, label=found.name)
        if found.errors_m is not None:
            beside[0].plot(found.distance_m, found.errors_m, color=color, label=found.name)
    square_view(above, np.concatenate(tracks))
    unit = "m" if with_errors else "each run's own unit"
    above.set(xlabel=f"to the right [{unit}]", ylabel=f"ahead [{unit}]")
    above.set_title("paths from above, first camera looking up", fontsize=10)
    for axes in beside:
        axes.set(xlabel="distance travelled [m]", ylabel="position error [m]")
        axes.set_title("error after alignment by a similarity", fontsize=10)
        axes.set_ylim(bottom=0)
    for axes in (above, *beside):
        axes.grid(alpha=0.3)
        axes.legend(loc="best", fontsize=9)
    figure.savefig(path)
    return True


def _aligned(name: str, estimate: Trajectory, ground_truth: Trajectory | None) -> _Path:
    own = _Path(name=f"{name} (not aligned)", positions=estimate.rebased().positions)
    if ground_truth is None:
        return _Path(name=name, positions=own.positions)
    try:
        pairs = pair_by_stamp(estimate, ground_truth)
    except TrajectoryError:
        return own
    aligned = align_trajectories(pairs.estimate, pairs.ground_truth, "7dof")
    # From the first common camera into that of the whole ground truth, which is drawn.
    T_first_common = np.linalg.inv(ground_truth.poses[0]) @ pairs.ground_truth[0]
    steps = np.linalg.norm(np.diff(aligned.ground_truth[:, :3, 3], axis=0), axis=1)
    return _Path(
        name=name,
        positions=(T_first_common @ aligned.poses)[:, :3, 3],
        distance_m=np.concatenate([[0.0], np.cumsum(steps)]),
        errors_m=position_errors(aligned.poses, aligned.ground_truth),
    )
