"""The report on a prepared set as one image."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from training.preparation.checks import check
from training.preparation.set_statistics import BRIGHT, DARK, STATIC_CHANGE, Examination

SAMPLES = (3, 4)
"""Rows and columns of the contact sheet."""
WRAP = 150


def draw(found: Examination, path: Path) -> None:
    """Write the report as a PNG: results, curves over the set, a contact sheet."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    rows, columns = SAMPLES
    figure = Figure(figsize=(16, 11), dpi=80, layout="constrained")
    grid = figure.add_gridspec(3, 1, height_ratios=(3.0, 2.4, 1.25 * rows))
    _draw_text(figure.add_subplot(grid[0]), found)
    curves = grid[1].subgridspec(1, 3)
    _draw_motion(figure.add_subplot(curves[0]), found)
    _draw_flow(figure.add_subplot(curves[1]), found)
    _draw_exposure(figure.add_subplot(curves[2]), found)
    sheet = grid[2].subgridspec(rows, columns)
    chosen = np.linspace(0, len(found.prepared.frames) - 1, rows * columns).astype(int)
    for place, frame in enumerate(chosen):
        _draw_sample(figure.add_subplot(sheet[place // columns, place % columns]), found, frame)
    # Nothing of the moment: the same set gives the same bytes.
    figure.savefig(path, metadata={"Software": None})


def _draw_text(axes: Any, found: Examination) -> None:
    axes.set_axis_off()
    y = 1.0
    for text, color in _lines(found):
        axes.text(0, y, text, va="top", family="monospace", fontsize=11, color=color)
        y -= 0.085
    axes.set_ylim(0, 1)
    axes.set_xlim(0, 1)


def _lines(found: Examination) -> list[tuple[str, str]]:
    lines = [(part, "black") for part in textwrap.wrap(found.headline(), WRAP)]
    for result in check(found):
        color = "darkgreen" if result.is_ok else "firebrick"
        parts = textwrap.wrap(result.line(), WRAP, subsequent_indent=" " * 9)
        lines += [(part, color) for part in parts]
    return lines


def _draw_motion(axes: Any, found: Examination) -> None:
    axes.plot(found.places, found.change, ".", markersize=2, label="gray change")
    axes.axhline(STATIC_CHANGE, color="firebrick", linewidth=1, label="standing still below")
    axes.set(xlabel="frame", title="mean gray change to the next frame")
    axes.legend(loc="upper right", fontsize=8)


def _draw_flow(axes: Any, found: Examination) -> None:
    axes.hist(found.flow_px, bins=40)
    axes.set(xlabel="px", ylabel="pairs", title="median optical flow of each pair")


def _draw_exposure(axes: Any, found: Examination) -> None:
    axes.plot(found.places, found.level, ".", markersize=2, label="mean gray value")
    axes.plot(
        found.places, 255 * found.dark, ".", markersize=2, label=f"pixels <= {DARK} (of 255)"
    )
    axes.plot(found.places, 255 * found.bright, ".", markersize=2, label=f"pixels >= {BRIGHT}")
    axes.set(xlabel="frame", ylim=(0, 255), title="exposure")
    axes.legend(loc="upper right", fontsize=8, markerscale=4)


def _draw_sample(axes: Any, found: Examination, frame: int) -> None:
    prepared = found.prepared
    record = next(r for r in prepared.sequences if r.start <= frame < r.start + r.count)
    axes.imshow(prepared.frames[frame])
    axes.plot(record.K[2], record.K[3], "+", color="red", markersize=10)
    axes.set_title(f"{record.name[-40:]}, frame {frame - record.start}", fontsize=8)
    axes.set_xlim(-0.5, prepared.width - 0.5)
    axes.set_ylim(prepared.height - 0.5, -0.5)
    axes.set_axis_off()
