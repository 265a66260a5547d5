"""A depth evaluation as text, as JSON, and as an image of its worst, median and best frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np

from sfm_ros.datatypes import DepthMap, RgbImage
from sfm_ros.evaluation.depth.datasets import DepthSet
from sfm_ros.evaluation.depth.metrics import DepthMetrics, DepthSetMetrics
from sfm_ros.evaluation.depth.protocol import (
    CONSTANT,
    MODEL,
    ROWS,
    DepthPredictor,
    DepthReport,
)

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend must be chosen first)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

_COLUMNS = {
    "abs_rel": "abs_rel",
    "sq_rel": "sq_rel",
    "rmse": "RMSE",
    "rmse_log": "RMSE_log",
    "a1": "d<1.25",
    "a2": "d<1.25^2",
    "a3": "d<1.25^3",
    "abs_diff": "abs_diff",
    "abs_log": "abs_log",
}
_UNKNOWN = "#bbbbbb"
_NEARNESS = matplotlib.colormaps["magma"].with_extremes(bad=_UNKNOWN)
_ERROR = matplotlib.colormaps["coolwarm"].with_extremes(bad=_UNKNOWN)
_SPARSE = 0.25
"""Share of known pixels below which points are drawn larger than they are."""
_POINT_RADIUS = 2.5
_IMAGE_WIDTH, _LABEL_HEIGHT, _GAP = 5.5, 0.24, 0.12
"""Inches."""


def method_line(report: DepthReport) -> str:
    """How the figures came about, in one line: a figure without it cannot be compared."""
    protocol = report.protocol
    scaling = {
        "median": "each image scaled by its ratio of medians",
        "global": "all images scaled by one factor, the median of their ratios",
        "none": "not scaled",
    }[protocol.scaling]
    crop = "whole image" if protocol.crop == "none" else f"{protocol.crop.capitalize()} crop"
    fit = "whole image squeezed" if protocol.fit == "stretch" else "border cut to the aspect"
    return (
        f"{scaling}; {crop}; {protocol.min_depth:g} to {protocol.max_depth:g} m; "
        f"network input: {fit}; inverse depth enlarged bilinearly; mean over images"
    )


def text_report(report: DepthReport) -> str:
    """The table, with the method above and the scale below."""
    model = report.rows[MODEL]
    missing = f", {report.absent} more of the split are not here" if report.absent else ""
    skipped = f", {report.skipped} have nothing to compare" if report.skipped else ""
    width = max(len(name) for name in (*report.rows, report.model))
    lines = [
        f"depth of {report.model} on {report.data}",
        f"ground truth:  {report.ground_truth}; {model.images} images{skipped}{missing}",
        f"method: {method_line(report)}",
        "",
        " " * width + "".join(f"{title:>10}" for title in _COLUMNS.values()),
    ]
    for name, row in report.rows.items():
        figures = "".join(f"{getattr(row.mean, key):10.4f}" for key in _COLUMNS)
        lines.append(f"{report.model if name == MODEL else name:<{width}}{figures}")
    unseen = 100.0 * report.points_unpredicted / max(report.points, 1)
    lines += [
        "",
        f"ground truth / prediction: median {model.scale_median:.4g}, mean {model.scale_mean:.4g}, "
        f"standard deviation {model.scale_std:.3g} ({100 * model.scale_spread:.1f} % of the "
        "median)",
        f"{report.points} ground-truth depths compared with, {report.points_unpredicted} of them "
        f"({unseen:.2f} %) outside of what the network sees and left out",
    ]
    return "\n".join(lines)


def json_report(report: DepthReport) -> dict[str, Any]:
    """Plain values: the model's figures on top, the floors and the images below."""
    return {
        "model": report.model,
        "data": report.data,
        "ground_truth": report.ground_truth,
        "method": method_line(report),
        "protocol": dataclasses.asdict(report.protocol),
        **_figures(report.rows[MODEL]),
        "absent": report.absent,
        "skipped": report.skipped,
        "points": report.points,
        "points_unpredicted": report.points_unpredicted,
        "baselines": {
            "constant_depth": _figures(report.rows[CONSTANT]),
            "row_median_depth": _figures(report.rows[ROWS]),
        },
        "per_image": [
            {"name": name, **dataclasses.asdict(errors)} for _, name, errors in report.images
        ],
    }


def _figures(row: DepthSetMetrics) -> dict[str, Any]:
    mean = dataclasses.asdict(row.mean)
    del mean["scale"]  # the mean of factors says less than what follows
    return {
        **mean,
        "images": row.images,
        "scale_median": row.scale_median,
        "scale_mean": row.scale_mean,
        "scale_std": row.scale_std,
    }


def draw_extremes(
    path: Path, report: DepthReport, data: DepthSet, predictor: DepthPredictor
) -> None:
    """The worst, the median and the best image, each with prediction, ground truth and error.

    Args:
        path: PNG to write; its folder is made.
        report: of this set.
        data: the set.
        predictor: with the fit of the report; predicts the chosen images once more.
    """
    ranked = sorted(report.images, key=lambda entry: -entry[2].abs_rel)
    titles = {len(ranked) // 2: "median", len(ranked) - 1: "best", 0: "worst"}
    places = sorted(titles)
    first = data.samples[ranked[0][0]].frame().intrinsics
    height = _IMAGE_WIDTH * first.height / first.width + _LABEL_HEIGHT
    figure = pyplot.figure(
        figsize=(2 * _IMAGE_WIDTH + _GAP, len(places) * (2 * height + _GAP) - _GAP), dpi=120
    )
    try:
        for block, place in enumerate(places):
            index, name, errors = ranked[place]
            sample = data.samples[index]
            frame = sample.frame()
            depth = predictor.depth(frame) * np.float32(errors.scale)
            title = f"{titles[place]}: {name}" if len(ranked) > 1 else name
            axes = _place_four(figure, block * (2 * height + _GAP), height)
            _draw_frame(axes, title, errors, frame.rgb, sample.ground_truth(), depth, report)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)
    finally:
        pyplot.close(figure)


def _place_four(figure: Figure, top: float, height: float) -> list[Axes]:
    """Two by two axes with room for a label above each, from ``top`` inches below the edge."""
    page_width, page_height = figure.get_size_inches()
    return [
        figure.add_axes(
            (
                column * (_IMAGE_WIDTH + _GAP) / page_width,
                1 - (top + (row + 1) * height) / page_height,
                _IMAGE_WIDTH / page_width,
                (height - _LABEL_HEIGHT) / page_height,
            )
        )
        for row in range(2)
        for column in range(2)
    ]


def _draw_frame(
    axes: Sequence[Axes],
    title: str,
    errors: DepthMetrics,
    rgb: RgbImage,
    ground_truth: DepthMap,
    depth: DepthMap,
    report: DepthReport,
) -> None:
    far = report.protocol.max_depth
    known = np.isfinite(ground_truth) & (ground_truth > 0) & (ground_truth < far)
    near, farthest = (float(np.percentile(ground_truth[known], q)) for q in (2, 98))
    true = np.where(known, ground_truth, np.float32(np.nan))
    error = np.asarray(100.0 * (np.clip(depth, 0, far) - true) / true, dtype=np.float32)
    nearness = {"cmap": _NEARNESS, "vmin": -np.log(farthest), "vmax": -np.log(near)}
    axes[0].imshow(rgb)
    axes[1].imshow(-np.log(depth), **nearness)
    axes[2].imshow(-np.log(_with_larger_points(true)), **nearness)
    axes[3].imshow(_with_larger_points(error), cmap=_ERROR, vmin=-50, vmax=50)
    labels = (
        f"{title}, abs_rel {errors.abs_rel:.3f}",
        f"prediction x {errors.scale:.3g}, bright = near",
        f"ground truth, {near:.0f} to {farthest:.0f} m, gray unknown",
        "error: blue 50 % too near, red 50 % too far",
    )
    for axis, label in zip(axes, labels, strict=True):
        axis.set_axis_off()
        axis.set_title(label, fontsize=9, loc="left", pad=2)


def _with_larger_points(values: DepthMap) -> DepthMap:
    """Sparse values (NaN unknown) spread to the pixels around them, so that they can be seen."""
    known = np.isfinite(values)
    if not known.any() or known.mean() > _SPARSE:
        return values
    distance, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.full(int(labels.max()) + 1, np.nan, dtype=np.float32)
    of_label[labels[known]] = values[known]
    return np.where(distance <= _POINT_RADIUS, of_label[labels], np.float32(np.nan))
