"""Draws the frames of the node as SVG: who publishes which transform, and where the axes point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_WIDTH, _HEIGHT = 900, 470
_INK, _GRAY, _PAPER = "#1b1f24", "#6b7480", "#ffffff"
_COLORS = {"x": "#d1242f", "y": "#1a7f37", "z": "#0969da"}

# Directions of the robot on paper, seen from behind, from the right and above.
_FORWARD, _LEFT, _UP = (0.78, -0.42), (-0.80, -0.36), (0.0, -1.0)


def _minus(v: tuple[float, float]) -> tuple[float, float]:
    return (-v[0], -v[1])


BODY = {"x": _FORWARD, "y": _LEFT, "z": _UP}
OPTICAL = {"x": _minus(_LEFT), "y": _minus(_UP), "z": _FORWARD}


@dataclass(frozen=True)
class Box:
    """A frame: its name, its axes, the note beside it."""

    name: str
    axes: dict[str, tuple[float, float]]
    note: str


@dataclass(frozen=True)
class Panel:
    """A chain of frames from top to bottom, with who publishes each step."""

    title: str
    boxes: tuple[Box, ...]
    steps: tuple[str, ...]


_ODOM = Box("odom", BODY, "the body at its first image: x ahead, y left, z up")
_OPTICAL = Box("camera_optical", OPTICAL, "x right, y down, z ahead: images, ~/depth, ~/points")

PANELS = (
    Panel(
        "TF knows the camera's extrinsics",
        (
            _ODOM,
            Box("base_link", BODY, "node.base_frame: the robot, REP 103"),
            _OPTICAL,
        ),
        (
            "this node, /tf (node.publish_tf)",
            "the robot: URDF, or sfm_static_transform",
        ),
    ),
    Panel(
        "TF knows no extrinsics",
        (
            _ODOM,
            Box("camera_body", BODY, "the camera itself in body axes; no base_link is invented"),
            _OPTICAL,
        ),
        (
            "this node, /tf (node.publish_tf)",
            "this node, /tf_static, unless another places it",
        ),
    ),
)


def frames_svg() -> str:
    """The figure."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
        "<title>Frames of the node</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="{_PAPER}"/>',
        *_arrow_heads(),
    ]
    for index, panel in enumerate(PANELS):
        lines += _panel(panel, 20 + index * (_WIDTH // 2))
    lines += _legend()
    return "\n".join([*lines, "</svg>", ""])


def _arrow_heads() -> Iterator[str]:
    yield "<defs>"
    for name, color in {**_COLORS, "step": _GRAY}.items():
        yield (
            f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="{color}"/></marker>'
        )
    yield "</defs>"


def _panel(panel: Panel, left: int) -> Iterator[str]:
    yield _text(left, 32, panel.title, 17, _INK, "bold")
    for row, box in enumerate(panel.boxes):
        top = 56 + row * 132
        yield from _box(box, left, top)
        if row < len(panel.steps):
            x = left + 75
            yield (
                f'<path d="M{x} {top + 52}V{top + 128}" stroke="{_GRAY}" stroke-width="2" '
                'marker-end="url(#step)"/>'
            )
            yield _text(x + 12, top + 96, panel.steps[row], 13, _GRAY)


def _box(box: Box, left: int, top: int) -> Iterator[str]:
    yield (
        f'<rect x="{left}" y="{top}" width="150" height="52" rx="8" fill="#f3f5f7" '
        f'stroke="{_INK}" stroke-width="1.3"/>'
    )
    yield _text(left + 75, top + 32, box.name, 16, _INK, "bold", "middle")
    yield from _triad(left + 205, top + 34, box.axes)
    for line, words in enumerate(_wrapped(box.note, 24)):
        yield _text(left + 268, top + 14 + 17 * line, words, 13, _INK)


def _triad(x: int, y: int, axes: dict[str, tuple[float, float]]) -> Iterator[str]:
    for name, (dx, dy) in axes.items():
        end_x, end_y = x + 34 * dx, y + 34 * dy
        yield (
            f'<path d="M{x} {y}L{end_x:.1f} {end_y:.1f}" stroke="{_COLORS[name]}" '
            f'stroke-width="2.4" marker-end="url(#{name})"/>'
        )
        label_x, label_y = x + 44 * dx, y + 44 * dy + 4
        yield _text(round(label_x), round(label_y), name, 12, _COLORS[name], "bold", "middle")


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) + 1 > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _legend() -> Iterator[str]:
    text = (
        "Axes as seen from behind, right and above. An arrow leads from parent to child; "
        "T_parent_child maps points of the child into the parent."
    )
    yield _text(20, _HEIGHT - 18, text, 13, _GRAY)


def _text(
    x: int, y: int, text: str, size: int, color: str, weight: str = "normal", at: str = "start"
) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}" font-weight="{weight}" '
        f'text-anchor="{at}">{escaped}</text>'
    )
