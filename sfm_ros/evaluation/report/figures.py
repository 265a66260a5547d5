"""The images of a run as files: the path from above, and frames with their depth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.evaluation.report.depth_tiles import choose, depth_limits, shown_depth
from sfm_ros.evaluation.report.page import ScoredRun
from sfm_ros.evaluation.runs.result import DepthSnapshot

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend must be chosen first)
from matplotlib.axes import Axes  # noqa: E402

_GROUND_TRUTH_COLOR = "#555555"
_ESTIMATE_COLOR = "#d1495b"
_UNKNOWN_COLOR = "#bbbbbb"
_DEPTH_COLORS = matplotlib.colormaps["magma"].with_extremes(bad=_UNKNOWN_COLOR)
_ERROR_COLORS = matplotlib.colormaps["coolwarm"].with_extremes(bad=_UNKNOWN_COLOR)


def draw_images(run: ScoredRun, unit: str, out: Path) -> None:
    """Draw what there is to show: ``trajectory.png``, ``depth.png`` and ``overview.png``.

    Args:
        run: what to draw.
        unit: what a length of the estimate counts.
        out: folder of the images.
    """
    score = run.path
    path_unit = unit if score.ground_truth_trajectory is None else "m"
    if len(score.path):
        title = "Path seen from above"
        if score.ground_truth_trajectory is not None:
            length, error = (run.figures[key] for key in ("path_length_m", "ate_m"))
            title += f": {length:.0f} m, error {error:.2f} m after alignment"
        draw_trajectory(
            out / "trajectory.png", score.path, score.ground_truth_trajectory, path_unit, title
        )
    shown = choose(run.result.snapshots)
    depth_unit = "m" if any(s.ground_truth is not None for s in shown) else unit
    if shown:
        draw_depth(out / "depth.png", shown, depth_unit)
    if shown and len(score.path):
        snapshot = shown[len(shown) // 2]
        units = (depth_unit, path_unit)
        draw_overview(
            out / "overview.png", snapshot, score.path, score.ground_truth_trajectory, units
        )


def draw_trajectory(
    path: Path, estimate: FloatArray, ground_truth: FloatArray | None, unit: str, title: str
) -> None:
    """Seen from above, the first camera looking up the page.

    Args:
        path: PNG to write.
        estimate: (N, 3) positions, optical axes; aligned to the ground truth where there is one.
        ground_truth: (M, 3) positions, or None.
        unit: what the axes count, for their labels.
        title: one line above the image.
    """
    figure, axes = pyplot.subplots(figsize=(7.0, 7.0), dpi=120, layout="constrained")
    _draw_path(axes, estimate, ground_truth, unit)
    axes.set_title(title, fontsize=12)
    figure.savefig(path)
    pyplot.close(figure)


def draw_overview(
    path: Path,
    snapshot: DepthSnapshot,
    estimate: FloatArray,
    ground_truth: FloatArray | None,
    units: tuple[str, str],
) -> None:
    """All at one glance: an image, its depth, and the path from above.

    Args:
        path: PNG to write.
        snapshot: the frame to show.
        estimate, ground_truth: as for `draw_trajectory`.
        units: of the depth and of the path.
    """
    figure = pyplot.figure(figsize=(11.0, 4.2), dpi=100, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1.0))
    limits = depth_limits([snapshot])
    for row, kind in enumerate(("image", "depth")):
        axes = figure.add_subplot(grid[row, 0])
        axes.set_axis_off()
        _draw_kind(axes, kind, snapshot, snapshot.stamp_ns, limits, units[0])
        _label(
            axes,
            kind if kind == "image" else f"depth, {limits[0]:.0f} to {limits[1]:.0f} {units[0]}",
        )
    path_axes = figure.add_subplot(grid[:, 1])
    _draw_path(path_axes, estimate, ground_truth, units[1])
    _label(path_axes, "path from above")
    figure.savefig(path)
    pyplot.close(figure)


def _draw_path(
    axes: Axes, estimate: FloatArray, ground_truth: FloatArray | None, unit: str
) -> None:
    if ground_truth is not None:
        axes.plot(
            ground_truth[:, 0],
            ground_truth[:, 2],
            color=_GROUND_TRUTH_COLOR,
            lw=4,
            alpha=0.55,
            label="ground_truth",
        )
    axes.plot(estimate[:, 0], estimate[:, 2], color=_ESTIMATE_COLOR, lw=2, label="sfm_ros")
    if len(estimate):
        axes.plot(*estimate[0, [0, 2]], "o", color="black", ms=7, label="start")
    _square_view(axes, [estimate] if ground_truth is None else [estimate, ground_truth])
    axes.set_xlabel(f"to the right [{unit}]")
    axes.set_ylabel(f"ahead [{unit}]")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def _square_view(axes: Axes, tracks: Sequence[FloatArray]) -> None:
    """Equal scales, and a margin that keeps a straight path from being a line on the frame."""
    points = np.concatenate([track[:, [0, 2]] for track in tracks])
    if not len(points):
        return
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) * 0.55, 0.5)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")


def draw_depth(path: Path, snapshots: Sequence[DepthSnapshot], unit: str) -> None:
    """Frames in two columns; under each its depth, the ground-truth depth and the error, where known.

    Args:
        path: PNG to write.
        snapshots: at least one.
        unit: of the depth, for the title.
    """
    columns = min(2, len(snapshots))
    blocks = [snapshots[i : i + columns] for i in range(0, len(snapshots), columns)]
    has_ground_truth = any(snapshot.ground_truth is not None for snapshot in snapshots)
    kinds = ["image", "depth", "ground_truth", "error"] if has_ground_truth else ["image", "depth"]
    height, width = snapshots[0].depth.shape
    size = (5.2 * columns, (5.2 * height / width + 0.27) * len(kinds) * len(blocks))
    figure, grid = pyplot.subplots(
        len(kinds) * len(blocks), columns, figsize=size, dpi=110, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    near, far = depth_limits(snapshots)
    for axes in grid.flat:
        axes.set_axis_off()
    for b, block in enumerate(blocks):
        for column, snapshot in enumerate(block):
            for k, kind in enumerate(kinds):
                axes = grid[b * len(kinds) + k][column]
                _draw_kind(axes, kind, snapshot, snapshots[0].stamp_ns, (near, far), unit)
    figure.savefig(path)
    pyplot.close(figure)


def _draw_kind(
    axes: Axes,
    kind: str,
    snapshot: DepthSnapshot,
    start_ns: int,
    limits: tuple[float, float],
    unit: str,
) -> None:
    near, far = limits
    if kind == "image" and snapshot.rgb is not None:
        axes.imshow(snapshot.rgb)
        _label(axes, f"image at {(snapshot.stamp_ns - start_ns) * 1e-9:.1f} s")
    elif kind == "depth":
        axes.imshow(
            _inverse(shown_depth(snapshot)), cmap=_DEPTH_COLORS, vmin=1 / far, vmax=1 / near
        )
        _label(axes, f"depth, bright = near ({near:.0f} to {far:.0f} {unit})")
    elif kind == "ground_truth" and snapshot.ground_truth is not None:
        axes.imshow(
            _inverse(snapshot.ground_truth), cmap=_DEPTH_COLORS, vmin=1 / far, vmax=1 / near
        )
        _label(axes, "ground-truth depth")
    elif kind == "error" and snapshot.ground_truth is not None:
        relative = 100.0 * (shown_depth(snapshot) - snapshot.ground_truth) / snapshot.ground_truth
        axes.imshow(relative, cmap=_ERROR_COLORS, vmin=-50, vmax=50)
        _label(axes, "error, -50 % (blue, too near) to +50 % (red, too far), gray unknown")


def _inverse(depth: DepthMap) -> DepthMap:
    return (1.0 / np.where(depth > 0, depth, np.nan)).astype(np.float32)


def _label(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=9, loc="left", pad=2)
