"""The report on a prepared set as one figure."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfm_ros.colormap import color_of_depth
from sfm_ros.datatypes import RgbImage
from training.data.sequence import MOVING, SKY_DEPTH_M
from training.preparation.checks import check
from training.preparation.set_statistics import BRIGHT, DARK, STATIC_CHANGE, SetStatistics

SAMPLES = (3, 4)
"""Rows and columns of the contact sheet."""
DEPTH_LIMITS_M = (3.0, 80.0)
MOVING_COLOR, SKY_COLOR = (230, 0, 230), (120, 190, 255)
WRAP = 150
"""Characters of a line of text."""


def draw(statistics: SetStatistics, path: Path) -> None:
    """Write the report as a PNG: results, curves over the set, a contact sheet."""
    rows, columns = SAMPLES
    has_depth = statistics.prepared.depth_m is not None
    sheet_height = (2.4 if has_depth else 1.25) * rows
    figure = Figure(figsize=(16, 7.25 + sheet_height), dpi=80, layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=(3.0, 2.4, sheet_height))
    _draw_text(figure.add_subplot(grid[0]), statistics)
    curves = grid[1].subgridspec(1, 3)
    _draw_motion(figure.add_subplot(curves[0]), statistics)
    _draw_flow(figure.add_subplot(curves[1]), statistics)
    _draw_exposure(figure.add_subplot(curves[2]), statistics)
    sheet = grid[2].subgridspec(rows, columns)
    frames = np.linspace(0, len(statistics.prepared.frames) - 1, rows * columns).astype(int)
    for i, frame in enumerate(frames):
        axes = figure.add_subplot(sheet[i // columns, i % columns])
        _draw_sample(axes, statistics, frame)
    # No version in the file: the same set gives the same bytes.
    figure.savefig(path, metadata={"Software": None})


def _draw_text(axes: Axes, statistics: SetStatistics) -> None:
    axes.set_axis_off()
    y = 1.0
    for text, color in _lines(statistics):
        axes.text(0, y, text, va="top", family="monospace", fontsize=11, color=color)
        y -= 0.085
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _lines(statistics: SetStatistics) -> list[tuple[str, str]]:
    """Text and color of each line."""
    lines = [(part, "black") for part in textwrap.wrap(statistics.headline(), WRAP)]
    for result in check(statistics):
        color = "darkgreen" if result.is_ok else "firebrick"
        parts = textwrap.wrap(result.line(), WRAP, subsequent_indent=" " * 9)
        lines += [(part, color) for part in parts]
    return lines


def _draw_motion(axes: Axes, statistics: SetStatistics) -> None:
    axes.plot(statistics.pairs, statistics.change, ".", markersize=2, label="gray change")
    axes.axhline(STATIC_CHANGE, color="firebrick", linewidth=1, label="static below")
    axes.set(xlabel="frame", title="mean gray change to the next frame")
    axes.legend(loc="upper right", fontsize=8)


def _draw_flow(axes: Axes, statistics: SetStatistics) -> None:
    axes.hist(statistics.flow_px, bins=40)
    axes.set(xlabel="px", ylabel="pairs", title="median optical flow of each pair")


def _draw_exposure(axes: Axes, statistics: SetStatistics) -> None:
    for values, label in (
        (statistics.level, "mean gray value"),
        (255 * statistics.dark, f"pixels <= {DARK} (of 255)"),
        (255 * statistics.bright, f"pixels >= {BRIGHT}"),
    ):
        axes.plot(statistics.pairs, values, ".", markersize=2, label=label)
    axes.set(xlabel="frame", ylim=(0, 255), title="exposure")
    axes.legend(loc="upper right", fontsize=8, markerscale=4)


def _draw_sample(axes: Axes, statistics: SetStatistics, frame: int) -> None:
    """One frame with its principal point, and its depth below it, if it has any."""
    prepared = statistics.prepared
    record = next(r for r in prepared.sequences if r.start <= frame < r.start + r.count)
    image: RgbImage = prepared.frames[frame]
    if prepared.depth_m is not None and record.has_depth:
        image = np.vstack([image, _depth_image(prepared.depth_m[frame])])
    axes.imshow(image)
    axes.plot(record.K[2], record.K[3], "+", color="red", markersize=10)
    axes.set_title(f"{record.name[-40:]}, frame {frame - record.start}", fontsize=8)
    axes.set(xlim=(-0.5, prepared.width - 0.5), ylim=(len(image) - 0.5, -0.5))
    axes.set_axis_off()


def _depth_image(depth_m: npt.NDArray[np.float16]) -> RgbImage:
    """Colors of depth; what moves and the sky have their own."""
    depth = depth_m.astype(np.float32)
    image = color_of_depth(np.where(depth < SKY_DEPTH_M, depth, 0), DEPTH_LIMITS_M)
    image[depth == MOVING], image[depth >= SKY_DEPTH_M] = MOVING_COLOR, SKY_COLOR
    return image
