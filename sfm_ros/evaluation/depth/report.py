"""A depth evaluation as text, as JSON, and as a figure of its worst, median and best image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.evaluation.depth.baselines import CONSTANT, ROW_MEDIAN
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet
from sfm_ros.evaluation.depth.figure import DepthView, depth_figure
from sfm_ros.evaluation.depth.metrics import DepthMetrics, DepthSetMetrics
from sfm_ros.evaluation.depth.protocol import DepthPredictor, DepthReport
from sfm_ros.evaluation.depth.result import BASELINES, MODEL, PREDICTORS, DepthFigures
from sfm_ros.evaluation.plotting import save_figure
from sfm_ros.evaluation.remarks import beats, remarks
from sfm_ros.evaluation.tables import format_table

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
_SCALINGS = {
    "median": "each image scaled by its ratio of medians",
    "global": "all images scaled by one factor, the median of their ratios",
    "none": "not scaled",
}
UNSCALED = "none"
_SHORT = {"median": "median-scaled", "global": "scaled by one factor", UNSCALED: "unscaled"}
_FITS = {"stretch": "whole image resized", "crop": "border cut to the aspect ratio"}


def method_line(report: DepthReport) -> str:
    """The protocol in one line: figures of different protocols cannot be compared."""
    protocol = report.protocol
    crop = "whole image" if protocol.crop == "none" else f"{protocol.crop.capitalize()} crop"
    return (
        f"{_SCALINGS[protocol.scaling]}; {crop}; {protocol.min_depth:g} to "
        f"{protocol.max_depth:g} m; network input: {_FITS[protocol.fit]}; "
        f"{_heights(report.camera_heights_m)}; inverse depth upsampled bilinearly; mean over "
        "images"
    )


def _heights(camera_heights_m: tuple[float, ...]) -> str:
    if not camera_heights_m or not camera_heights_m[0]:
        return "height of the camera not known"
    low, high = camera_heights_m[0], camera_heights_m[-1]
    span = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    return f"camera {span} m above the road"


def text_report(report: DepthReport) -> str:
    """The table, with the protocol above, and below the baselines, the scale and the drives."""
    images = len(report.images)
    absent = f", {report.absent} more of the split not found" if report.absent else ""
    skipped = f", {report.skipped} without a pixel to compare" if report.skipped else ""
    unpredicted = 100.0 * report.points_unpredicted / max(report.points, 1)
    lines = [
        f"depth of {report.model} on {report.data}",
        f"ground truth: {report.ground_truth}; {images} images{skipped}{absent}",
        f"method: {method_line(report)}",
        "",
        format_table(_metric_rows(report)),
        "",
        *(f"{text}: {words}" for text, words in _remark_lines(report)),
        _scale_line(report.figures.scaled[MODEL]),
        f"{report.points} ground-truth pixels, {report.points_unpredicted} of them "
        f"({unpredicted:.2f} %) outside the view of the network and not compared",
    ]
    if len(report.drives) > 1:
        lines += ["", *_drive_lines(report)]
    return "\n".join(lines)


def _by_scaling(
    report: DepthReport, figures: DepthFigures
) -> dict[str, Mapping[str, DepthSetMetrics]]:
    """The figures by the name of their scaling: that of the protocol, and none."""
    return {report.protocol.scaling: figures.scaled, UNSCALED: figures.unscaled}


def _metric_rows(report: DepthReport) -> list[list[str]]:
    rows = [["", "scaling", *_COLUMNS.values()]]
    for scaling, found in _by_scaling(report, report.figures).items():
        for name, metrics in found.items():
            cells = [f"{getattr(metrics.mean, key):.4f}" for key in _COLUMNS]
            rows.append([report.model if name == MODEL else name, scaling, *cells])
    return rows


def _remarks_by_scaling(report: DepthReport) -> dict[str, list[str]]:
    """The abs_rel of the model beside that of each baseline, in words."""
    words = {}
    for scaling, found in _by_scaling(report, report.figures).items():
        abs_rel = {name: metrics.mean.abs_rel for name, metrics in found.items()}
        words[scaling] = remarks(abs_rel[MODEL], {name: abs_rel[name] for name in BASELINES})
    return words


def _remark_lines(report: DepthReport) -> list[tuple[str, str]]:
    return [
        (f"abs_rel, {_SHORT[scaling]}", f"{report.model} is {', '.join(words)}")
        for scaling, words in _remarks_by_scaling(report).items()
    ]


def _scale_line(model: DepthSetMetrics) -> str:
    return (
        f"scale (ground truth / prediction): median {model.scale_median:.4g}, mean "
        f"{model.scale_mean:.4g}; from image to image it spreads by {model.scale_std:.3g} "
        f"(standard deviation, {100 * model.scale_spread:.1f} % of the median)"
    )


def _drive_lines(report: DepthReport) -> list[str]:
    """abs_rel and scale of each drive, and where a baseline is as good."""
    whole = _by_scaling(report, report.figures)
    columns = [(scaling, name) for scaling in whole for name in PREDICTORS]
    short = {MODEL: "", CONSTANT: "constant", ROW_MEDIAN: "row median"}
    heading = [short[name] or _SHORT[scaling] for scaling, name in columns]
    rows = [["abs_rel by drive", "images", *heading, "scale", "spread"]]
    lost = []
    for drive, figures in {**report.drives, "all images": report.figures}.items():
        found, model = _by_scaling(report, figures), figures.scaled[MODEL]
        cells = [f"{found[scaling][name].mean.abs_rel:.4f}" for scaling, name in columns]
        scale = [f"{model.scale_median:.4g}", f"{100 * model.scale_spread:.1f} %"]
        rows.append([drive, str(model.images), *cells, *scale])
        lost += [
            f"{drive}, {_SHORT[scaling]}: not better than {name}"
            for scaling, name in columns
            if name != MODEL
            and drive in report.drives
            and not beats(found[scaling][MODEL].mean.abs_rel, found[scaling][name].mean.abs_rel)
        ]
    return [format_table(rows), *lost]


def json_report(report: DepthReport) -> dict[str, Any]:
    """Plain values: the metrics of the model on top, baselines, drives and images below.

    Metrics have the scaling of the protocol; those as predicted are under ``unscaled``.
    """
    return {
        "model": report.model,
        "data": report.data,
        "ground_truth": report.ground_truth,
        "method": method_line(report),
        "protocol": dataclasses.asdict(report.protocol),
        **_with_baselines(report.figures),
        "remarks": _remarks_by_scaling(report),
        "absent": report.absent,
        "skipped": report.skipped,
        "points": report.points,
        "points_unpredicted": report.points_unpredicted,
        "drives": {drive: _with_baselines(found) for drive, found in report.drives.items()},
        "per_image": [
            {
                "drive": image.drive,
                "name": image.name,
                **dataclasses.asdict(image.scaled[MODEL]),
                "unscaled": dataclasses.asdict(image.unscaled[MODEL]),
            }
            for image in report.images
        ],
    }


def _with_baselines(figures: DepthFigures) -> dict[str, Any]:
    by_name = {
        name: {
            **_means(figures.scaled[name]),
            **_scale(figures.scaled[name]),
            "unscaled": _means(figures.unscaled[name]),
        }
        for name in PREDICTORS
    }
    model = by_name.pop(MODEL)
    baselines = {name.replace(" ", "_"): values for name, values in by_name.items()}
    return {**model, "baselines": baselines}


def _means(metrics: DepthSetMetrics) -> dict[str, float]:
    means = dataclasses.asdict(metrics.mean)
    del means["scale"]  # the statistics replace the mean of the factors
    return means


def _scale(metrics: DepthSetMetrics) -> dict[str, float]:
    figures = dataclasses.asdict(metrics)
    del figures["mean"]
    return figures


def draw_extremes(
    path: Path, report: DepthReport, data: DepthSet, predictor: DepthPredictor
) -> None:
    """Draw the worst, the median and the best image, with prediction, ground truth and error.

    The predictor, with the fit of the report, predicts the chosen images once more. The folder of
    the file is made.
    """
    ranked = sorted(report.images, key=lambda image: -image.scaled[MODEL].abs_rel)
    chosen = {len(ranked) // 2: "median", len(ranked) - 1: "best", 0: "worst"}
    views = []
    for rank in sorted(chosen):
        image = ranked[rank]
        errors, name = image.scaled[MODEL], f"{image.drive} {image.name}"
        label = f"{chosen[rank]}: {name}" if len(ranked) > 1 else name
        unscaled = image.unscaled[MODEL].abs_rel
        title = f"{label}, abs_rel {errors.abs_rel:.3f}, unscaled {unscaled:.3f}"
        views.append(_view(title, data.samples[image.index], errors, report, predictor))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(depth_figure(views, "m"), path)


def _view(
    title: str,
    sample: DepthSample,
    errors: DepthMetrics,
    report: DepthReport,
    predictor: DepthPredictor,
) -> DepthView:
    far = report.protocol.max_depth
    frame, ground_truth = sample.frame(), sample.ground_truth()
    known = np.isfinite(ground_truth) & (ground_truth > 0) & (ground_truth < far)
    depth = predictor.depth(frame, sample.camera_height_m) * np.float32(errors.scale)
    return DepthView(
        title=title,
        rgb=frame.rgb,
        depth=np.clip(depth, 0, far),
        ground_truth=np.where(known, ground_truth, np.float32(np.nan)),
    )
