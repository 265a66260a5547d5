"""The two pictures of a run: the path from above, and frames with their depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray, RgbImage

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend must be chosen first)
from matplotlib.axes import Axes  # noqa: E402

_TRUTH_COLOUR = "#555555"
_ESTIMATE_COLOUR = "#d1495b"
_UNKNOWN_COLOUR = "#bbbbbb"
_DEPTH_COLOURS = matplotlib.colormaps["magma"].with_extremes(bad=_UNKNOWN_COLOUR)
_ERROR_COLOURS = matplotlib.colormaps["coolwarm"].with_extremes(bad=_UNKNOWN_COLOUR)
_FAR_M = 80.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthSample:
    """One frame of the depth picture; all images on the same grid.

    Attributes:
        stamp_ns: stamp of the frame.
        rgb: (H, W, 3) uint8 or None.
        depth: (H, W) float32, scaled to the truth where there is one; NaN where invalid.
        truth: (H, W) float32 metres, NaN where unknown; or None.
    """

    stamp_ns: int
    rgb: RgbImage | None
    depth: DepthMap
    truth: DepthMap | None


def draw_trajectory(
    path: Path, estimate: FloatArray, truth: FloatArray | None, unit: str, title: str
) -> None:
    """Seen from above, the first camera looking up the page.

    Args:
        path: PNG to write.
        estimate: (N, 3) positions, optical axes; aligned to the truth where there is one.
        truth: (M, 3) positions, or None.
        unit: what the axes count, for their labels.
        title: one line above the picture.
    """
    figure, axes = pyplot.subplots(figsize=(7.0, 7.0), dpi=120, layout="constrained")
    _draw_path(axes, estimate, truth, unit)
    axes.set_title(title, fontsize=12)
    figure.savefig(path)
    pyplot.close(figure)


def draw_overview(
    path: Path,
    sample: DepthSample,
    estimate: FloatArray,
    truth: FloatArray | None,
    units: tuple[str, str],
) -> None:
    """All at one glance: a picture, its depth, and the path from above.

    Args:
        path: PNG to write.
        sample: the frame to show.
        estimate, truth: as for `draw_trajectory`.
        units: of the depth and of the path.
    """
    figure = pyplot.figure(figsize=(11.0, 4.2), dpi=100, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1.0))
    limits = _depth_limits([sample])
    for row, kind in enumerate(("picture", "depth")):
        axes = figure.add_subplot(grid[row, 0])
        axes.set_axis_off()
        _draw_kind(axes, kind, sample, sample.stamp_ns, limits, units[0])
        _label(
            axes,
            kind if kind == "picture" else f"depth, {limits[0]:.0f} to {limits[1]:.0f} {units[0]}",
        )
    path_axes = figure.add_subplot(grid[:, 1])
    _draw_path(path_axes, estimate, truth, units[1])
    _label(path_axes, "path from above")
    figure.savefig(path)
    pyplot.close(figure)


def _draw_path(axes: Axes, estimate: FloatArray, truth: FloatArray | None, unit: str) -> None:
    if truth is not None:
        axes.plot(truth[:, 0], truth[:, 2], color=_TRUTH_COLOUR, lw=4, alpha=0.55, label="truth")
    axes.plot(estimate[:, 0], estimate[:, 2], color=_ESTIMATE_COLOUR, lw=2, label="sfm_ros")
    if len(estimate):
        axes.plot(*estimate[0, [0, 2]], "o", color="black", ms=7, label="start")
    _square_view(axes, [estimate] if truth is None else [estimate, truth])
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


def draw_depth(path: Path, samples: Sequence[DepthSample], unit: str) -> None:
    """Frames in two columns; under each its depth, the true depth and the error, where known.

    Args:
        path: PNG to write.
        samples: at least one.
        unit: of the depth, for the title.
    """
    columns = min(2, len(samples))
    blocks = [samples[i : i + columns] for i in range(0, len(samples), columns)]
    has_truth = any(sample.truth is not None for sample in samples)
    kinds = ["picture", "depth", "truth", "error"] if has_truth else ["picture", "depth"]
    height, width = samples[0].depth.shape
    size = (5.2 * columns, (5.2 * height / width + 0.27) * len(kinds) * len(blocks))
    figure, grid = pyplot.subplots(
        len(kinds) * len(blocks), columns, figsize=size, dpi=110, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    near, far = _depth_limits(samples)
    for axes in grid.flat:
        axes.set_axis_off()
    for b, block in enumerate(blocks):
        for column, sample in enumerate(block):
            for k, kind in enumerate(kinds):
                axes = grid[b * len(kinds) + k][column]
                _draw_kind(axes, kind, sample, samples[0].stamp_ns, (near, far), unit)
    figure.savefig(path)
    pyplot.close(figure)


def _depth_limits(samples: Sequence[DepthSample]) -> tuple[float, float]:
    shown = [s.depth if s.truth is None else s.truth for s in samples]
    values = np.concatenate([image[np.isfinite(image) & (image > 0)] for image in shown])
    if not values.size:
        return 1.0, _FAR_M
    return float(np.percentile(values, 2)), float(np.percentile(values, 98))


def _draw_kind(
    axes: Axes,
    kind: str,
    sample: DepthSample,
    start_ns: int,
    limits: tuple[float, float],
    unit: str,
) -> None:
    near, far = limits
    if kind == "picture" and sample.rgb is not None:
        axes.imshow(sample.rgb)
        _label(axes, f"picture at {(sample.stamp_ns - start_ns) * 1e-9:.1f} s")
    elif kind == "depth":
        axes.imshow(_inverse(sample.depth), cmap=_DEPTH_COLOURS, vmin=1 / far, vmax=1 / near)
        _label(axes, f"depth, bright = near ({near:.0f} to {far:.0f} {unit})")
    elif kind == "truth" and sample.truth is not None:
        axes.imshow(_inverse(sample.truth), cmap=_DEPTH_COLOURS, vmin=1 / far, vmax=1 / near)
        _label(axes, "true depth")
    elif kind == "error" and sample.truth is not None:
        relative = 100.0 * (sample.depth - sample.truth) / sample.truth
        axes.imshow(relative, cmap=_ERROR_COLOURS, vmin=-50, vmax=50)
        _label(axes, "error, -50 % (blue, too near) to +50 % (red, too far), grey unknown")


def _inverse(depth: DepthMap) -> DepthMap:
    return (1.0 / np.where(depth > 0, depth, np.nan)).astype(np.float32)


def _label(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=9, loc="left", pad=2)
