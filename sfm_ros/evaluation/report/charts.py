"""Small charts as SVG text: sharp on paper and on a phone, made in a millisecond.

Sizes are in units of which a chart is `WIDTH` wide; the page scales it. Colors come from the
page's style sheet, by class, so that a legend beside the chart has the same.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray

WIDTH = 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 10.0, 8.0, 38.0
_MAX_POINTS = 800
_CHARACTER = 7.0
"""About the width of a character."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Line:
    """Points joined by a line.

    Attributes:
        style: class of the style sheet, such as ``ground_truth``.
        x, y: (N,) coordinates; NaN interrupts the line.
        label: for the legend.
    """

    style: str
    x: FloatArray
    y: FloatArray
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A row of a chart of bars: a label, a full bar and the thin rest of it up to ``high``."""

    label: str
    value: float
    high: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of a time line."""

    start: float
    end: float
    style: str
    title: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where data lie on the paper: x and y from low to high, in data and in units."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: float

    def to_x(self, values: FloatArray) -> FloatArray:
        span = self.x[1] - self.x[0] or 1.0
        return _LEFT + (np.asarray(values) - self.x[0]) / span * (WIDTH - _LEFT - _RIGHT)

    def to_y(self, values: FloatArray) -> FloatArray:
        span = self.y[1] - self.y[0] or 1.0
        bottom = self.height - _BOTTOM
        return bottom - (np.asarray(values) - self.y[0]) / span * (bottom - _TOP)


def line_chart(lines: Sequence[Line], x_label: str, y_label: str, height: float = 230.0) -> str:
    """Lines over a common x axis; the y axis begins at zero where nothing is below."""
    xs, ys = (_finite([getattr(line, axis) for line in lines]) for axis in "xy")
    x_high = float(xs.max()) if xs.size else 1.0
    y_low, y_high = (float(ys.min()), float(ys.max())) if ys.size else (0.0, 1.0)
    frame = _Frame(
        (float(xs.min()) if xs.size else 0.0, x_high),
        (min(y_low, 0.0), y_high * 1.05 if y_high > 0 else 1.0),
        height,
    )
    parts = [_axes(frame, x_label, y_label), *(_polyline(line, frame) for line in lines)]
    return _svg(parts, height, f"{y_label} over {x_label}")


def path_chart(lines: Sequence[Line], unit: str, height: float = 370.0) -> str:
    """Paths seen from above, with the same scale along both axes; a dot marks the start."""
    xs, ys = (_finite([getattr(line, axis) for line in lines]) for axis in "xy")
    width = WIDTH - _LEFT - _RIGHT
    tall = height - _TOP - _BOTTOM
    span_x, span_y = (float(np.ptp(v)) if v.size else 0.0 for v in (xs, ys))
    # A straight path would be a line on the frame without room at its sides.
    per_unit = max(span_x / width, span_y / tall, 1.0 / tall) * 1.08
    center = [float((v.min() + v.max()) / 2) if v.size else 0.0 for v in (xs, ys)]
    frame = _Frame(
        (center[0] - per_unit * width / 2, center[0] + per_unit * width / 2),
        (center[1] - per_unit * tall / 2, center[1] + per_unit * tall / 2),
        height,
    )
    parts = [_axes(frame, f"to the right [{unit}]", f"ahead [{unit}]")]
    parts += [_polyline(line, frame) for line in lines]
    if lines and len(lines[0].x):
        x, y = frame.to_x(lines[0].x[:1])[0], frame.to_y(lines[0].y[:1])[0]
        parts.append(f'<circle class="start" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return _svg(parts, height, "path seen from above")


def bar_chart(bars: Sequence[Bar], unit: str) -> str:
    """Horizontal bars, one a row, with their figures written out."""
    row, top = 27.0, 4.0
    height = top + row * len(bars) + 4
    label_width = max((len(bar.label) for bar in bars), default=0) * _CHARACTER + 10
    text_width = max((len(bar.text) for bar in bars), default=0) * _CHARACTER + 8
    room = WIDTH - label_width - text_width
    longest = max((max(bar.high, bar.value) for bar in bars), default=0.0) or 1.0
    parts = []
    for index, bar in enumerate(bars):
        y = top + row * index
        thick, thin = (max(room * v / longest, 0.5) for v in (bar.value, bar.high))
        parts += [
            f'<text x="{label_width - 6:.1f}" y="{y + 16:.1f}" class="end">'
            f"{html.escape(bar.label)}</text>",
            f'<rect class="rest" x="{label_width:.1f}" y="{y + 8:.1f}" width="{thin:.1f}" '
            'height="7"/>',
            f'<rect class="bar" x="{label_width:.1f}" y="{y + 3:.1f}" width="{thick:.1f}" '
            'height="17"/>',
            f'<text x="{label_width + max(thick, thin) + 5:.1f}" y="{y + 16:.1f}">'
            f"{html.escape(bar.text)}</text>",
        ]
    return _svg(parts, height, f"bars in {unit}")


def column_chart(
    labels: Sequence[str], columns: Sequence[tuple[str, Sequence[float]]], y_label: str
) -> str:
    """Groups of columns, one group for each label.

    Args:
        labels: under the groups.
        columns: (class of the style sheet, a height for each label).
        y_label: of the axis.
    """
    height = 165.0
    heights = [value for _, values in columns for value in values]
    frame = _Frame((0.0, float(max(len(labels), 1))), (0.0, max([*heights, 1e-9]) * 1.15), height)
    parts = [_axes(frame, "", y_label, with_x=False)]
    slot = min(0.8, 0.14 * len(labels)) / max(len(columns), 1)
    side = (1 - slot * len(columns)) / 2
    for index, label in enumerate(labels):
        middle = frame.to_x(np.array([index + 0.5]))[0]
        parts.append(
            f'<text x="{middle:.1f}" y="{height - _BOTTOM + 16:.1f}" class="middle">'
            f"{html.escape(label)}</text>"
        )
        for number, (style, values) in enumerate(columns):
            left, right = frame.to_x(np.array([side + number * slot, side + (number + 1) * slot]))
            shift = frame.to_x(np.array([float(index)]))[0] - _LEFT
            top, bottom = frame.to_y(np.array([values[index], 0.0]))
            parts += [
                f'<rect class="{style}" x="{left + shift:.1f}" y="{top:.1f}" '
                f'width="{right - left - 2:.1f}" height="{max(bottom - top, 0.5):.1f}"/>',
                f'<text x="{(left + right) / 2 + shift - 1:.1f}" y="{top - 3:.1f}" '
                f'class="middle small">{values[index]:.3g}</text>',
            ]
    return _svg(parts, height, y_label)


def time_line(stretches: Sequence[Stretch], end: float, unit: str) -> str:
    """Stretches of time in colors; the shortest is still wide enough to be seen."""
    height = 62.0
    frame = _Frame((0.0, end or 1.0), (0.0, 1.0), height)
    left, width = 4.0, WIDTH - 8.0
    parts = []
    for stretch in stretches:
        x = left + width * stretch.start / (end or 1.0)
        wide = max(width * (stretch.end - stretch.start) / (end or 1.0), 2.0)
        parts.append(
            f'<rect class="{stretch.style}" x="{min(x, left + width - wide):.2f}" y="6" '
            f'width="{wide:.2f}" height="24"><title>{html.escape(stretch.title)}</title></rect>'
        )
    for tick in _ticks(*frame.x, 6):
        x = left + width * tick / (end or 1.0)
        anchor = "middle" if 12 < x < WIDTH - 30 else ("" if x <= 12 else "end")
        parts.append(
            f'<path class="tick" d="M{x:.1f} 30v5"/>'
            f'<text class="{anchor}" x="{x:.1f}" y="47">{_number(tick)}</text>'
        )
    parts.append(f'<text class="end" x="{WIDTH - 4}" y="60">{html.escape(unit)}</text>')
    return _svg(parts, height, "health over time")


def _finite(arrays: Sequence[FloatArray]) -> FloatArray:
    joined = np.concatenate([np.asarray(a, dtype=np.float64) for a in arrays] or [np.zeros(0)])
    return joined[np.isfinite(joined)]


def _svg(parts: Sequence[str], height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-label="{html.escape(title)}">{"".join(parts)}</svg>'
    )


def _polyline(line: Line, frame: _Frame) -> str:
    """The line, of a long one every n-th point and the last."""
    step = max(math.ceil(len(line.x) / _MAX_POINTS), 1)
    chosen = np.arange(0, len(line.x), step)
    if len(line.x) and chosen[-1] != len(line.x) - 1:
        chosen = np.append(chosen, len(line.x) - 1)
    x, y = frame.to_x(line.x[chosen]), frame.to_y(line.y[chosen])
    points, pen = [], "M"
    for px, py in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(px) and math.isfinite(py):
            points.append(f"{pen}{px:.1f} {py:.1f}")
            pen = "L"
        else:
            pen = "M"
    return f'<path class="{line.style}" d="{"".join(points)}"/>' if points else ""


def _axes(frame: _Frame, x_label: str, y_label: str, with_x: bool = True) -> str:
    bottom, right = frame.height - _BOTTOM, WIDTH - _RIGHT
    parts = []
    for tick in _ticks(*frame.y, 5):
        y = float(frame.to_y(np.array([tick]))[0])
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
            f'<text class="end" x="{_LEFT - 5}" y="{y + 4:.1f}">{_number(tick)}</text>'
        )
    for tick in _ticks(*frame.x, 6) if with_x else ():
        x = float(frame.to_x(np.array([tick]))[0])
        parts.append(
            f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>'
            f'<text class="middle" x="{x:.1f}" y="{bottom + 15}">{_number(tick)}</text>'
        )
    middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(
        f'<text class="middle label" x="{middle_x}" y="{frame.height - 5}">'
        f"{html.escape(x_label)}</text>"
        f'<text class="middle label" transform="translate(11 {middle_y}) rotate(-90)">'
        f"{html.escape(y_label)}</text>"
    )
    return "".join(parts)


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers within the range, about ``count`` of them."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value + 0.0:.6g}"
