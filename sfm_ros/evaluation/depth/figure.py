"""Colored images of depth, ground truth and error, and figures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfm_ros.colormap import UNKNOWN_GRAY, color_of_depth, known_depths, limits_of
from sfm_ros.datatypes import DepthMap, RgbImage
from sfm_ros.evaluation.plotting import new_figure

IMAGE, DEPTH, GROUND_TRUTH, ERROR = "image", "depth", "ground truth", "error"
_FULL_ERROR = 0.5
"""Relative error with the strongest color."""
_SPARSE = 0.25
"""Fraction of known pixels below which points are enlarged."""
_PANEL_WIDTH, _TITLE_HEIGHT = 5.2, 0.28
"""Inches."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthView:
    """A frame to show.

    Attributes:
        title: above the image.
        rgb: (H, W, 3) uint8, or None.
        depth: (h, w), scaled to the ground truth if there is one; NaN if unknown.
        ground_truth: (h, w) meters, NaN if unknown; or None.
    """

    title: str
    rgb: RgbImage | None
    depth: DepthMap
    ground_truth: DepthMap | None


def depth_limits(views: Sequence[DepthView]) -> tuple[float, float]:
    """Depths of the brightest and of the darkest color, common to all views."""
    shown = [view.depth if view.ground_truth is None else view.ground_truth for view in views]
    known = [known_depths(depth) for depth in shown]
    return limits_of(np.concatenate([np.zeros(0, dtype=np.float32), *known]))


def panels(view: DepthView, limits: tuple[float, float]) -> dict[str, RgbImage]:
    """The images of a view by name, of those it has: image, depth, ground truth, error."""
    found = {} if view.rgb is None else {IMAGE: view.rgb}
    found[DEPTH] = color_of_depth(view.depth, limits)
    if view.ground_truth is not None:
        found[GROUND_TRUTH] = color_of_depth(enlarge_points(view.ground_truth), limits)
        found[ERROR] = error_colors(view.depth, view.ground_truth)
    return found


def error_colors(depth: DepthMap, ground_truth: DepthMap) -> RgbImage:
    """(H, W, 3) relative error: blue is too near, white is right, red is too far."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = enlarge_points(((depth - ground_truth) / ground_truth).astype(np.float32))
    known = np.isfinite(relative)
    level = np.clip(np.where(known, relative, 0.0) / _FULL_ERROR, -1.0, 1.0)[..., None]
    near, right, far = np.array([[40, 84, 196], [246, 246, 246], [196, 42, 58]], np.float32)
    colors = right + np.abs(level) * (np.where(level < 0, near, far) - right)
    rgb = np.rint(colors).astype(np.uint8)
    rgb[~known] = UNKNOWN_GRAY
    return rgb


def enlarge_points(values: DepthMap) -> DepthMap:
    """Sparse values (NaN if unknown) extended to the pixels around them, to make them visible."""
    known = np.isfinite(values)
    if not known.any() or known.mean() > _SPARSE:
        return values
    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.full(int(labels.max()) + 1, np.nan, dtype=np.float32)
    of_label[labels[known]] = values[known]
    radius = 1.0 + values.shape[1] / 800
    return np.where(distance <= radius, of_label[labels], np.float32(np.nan))


def depth_figure(views: Sequence[DepthView], unit: str) -> Figure:
    """All panels of at least one view, two beside each other; ``unit`` is that of the depth."""
    limits = depth_limits(views)
    height, width = views[0].depth.shape
    rows = 2 if any(view.ground_truth is not None for view in views) else 1
    panel_height = _PANEL_WIDTH * height / width + _TITLE_HEIGHT
    figure = new_figure(2 * _PANEL_WIDTH, rows * len(views) * panel_height)
    grid = figure.subplots(len(views) * rows, 2, squeeze=False)
    for view, axes in zip(views, grid.reshape(len(views), 2 * rows), strict=True):
        titles = {IMAGE: view.title, **panel_titles(limits, unit)}
        shown = panels(view, limits)
        for each, (kind, title) in zip(axes, titles.items(), strict=False):
            draw_panel(each, shown, kind, title)
    return figure


def panel_titles(limits: tuple[float, float], unit: str) -> dict[str, str]:
    """Captions of the panels: what the colors mean."""
    return {
        DEPTH: f"depth, {limits[0]:.0f} to {limits[1]:.0f} {unit}, bright = near",
        GROUND_TRUTH: "ground truth, gray = unknown",
        ERROR: f"error, blue = {100 * _FULL_ERROR:.0f} % too near, "
        f"red = {100 * _FULL_ERROR:.0f} % too far",
    }


def draw_panel(axes: Axes, shown: Mapping[str, RgbImage], kind: str, title: str) -> None:
    """Draw one of the panels without axes; only the title if the view does not have it."""
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, loc="left", pad=2)
    if kind in shown:
        axes.imshow(shown[kind])
