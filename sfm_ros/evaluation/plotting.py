"""Palette and file output of all figures.

The palette is that of Okabe and Ito, whose colors are distinct for color-blind readers as well.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfm_ros.datatypes import FloatArray

BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"
SKY, YELLOW, BLACK, GRAY = "#56b4e9", "#e69f00", "#000000", "#707070"
GROUND_TRUTH_COLOR, ESTIMATE_COLOR = GRAY, ORANGE
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, BLACK)
"""Colors of several runs in one figure."""

# Equal figures give equal bytes: no dates, and ids that do not depend on a random salt.
_STABLE: Any = {"svg.hashsalt": "sfm_ros", "svg.fonttype": "none"}
_UNDATED: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches."""
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def save_figure(figure: Figure, file: Path | io.BytesIO, kind: str | None = None) -> None:
    """Write a figure as ``png``, ``svg`` or ``pdf``; by default the suffix of the file decides.

    Raises:
        OSError, ValueError: the file cannot be written, or its suffix is unknown.
    """
    kind = kind or Path(str(file)).suffix.lstrip(".").lower()
    with matplotlib.rc_context(_STABLE):
        figure.savefig(file, format=kind, metadata=_UNDATED.get(kind))


def svg_uri(figure: Figure) -> str:
    """The figure as SVG in a data URI."""
    buffer = io.BytesIO()
    save_figure(figure, buffer, "svg")
    return data_uri(buffer.getvalue(), "image/svg+xml")


def data_uri(data: bytes, media_type: str) -> str:
    """A file as a URI that contains it."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"


def equal_axes(axes: Axes, points: FloatArray) -> None:
    """Set equal scales around (N, 2) points, with the margin that a straight path needs."""
    if not len(points):
        return
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, max(float((high - low).max()) * 0.55, 0.5)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")
