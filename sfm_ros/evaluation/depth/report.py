"""A depth evaluation as text, as JSON, and as a figure of its worst, median and best image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.evaluation.depth.baselines import CONSTANT, ROW_MEDIAN
from sfm_ros.evaluation.depth.datasets import DepthSample, DepthSet
from sfm_ros.evaluation.depth.figure import DepthView, depth_figure
from sfm_ros.evaluation.depth.metrics import DepthMetrics, DepthSetMetrics
from sfm_ros.evaluation.depth.protocol import MODEL, DepthPredictor, DepthReport
from sfm_ros.evaluation.plotting import save_figure
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
_FITS = {"stretch": "whole image resized", "crop": "border cut to the aspect ratio"}


def method_line(report: DepthReport) -> str:
    """The protocol in one line: figures of different protocols cannot be compared."""
    protocol = report.protocol
    crop = "whole image" if protocol.crop == "none" else f"{protocol.crop.capitalize()} crop"
    return (
        f"{_SCALINGS[protocol.scaling]}; {crop}; {protocol.min_depth:g} to "
        f"{protocol.max_depth:g} m; network input: {_FITS[protocol.fit]}; inverse depth upsampled "
        "bilinearly; mean over images"
    )


def text_report(report: DepthReport) -> str:
    """The table, with the protocol above and the scale below."""
    model = report.metrics[MODEL]
    absent = f", {report.absent} more of the split not found" if report.absent else ""
    skipped = f", {report.skipped} without a pixel to compare" if report.skipped else ""
    unpredicted = 100.0 * report.points_unpredicted / max(report.points, 1)
    rows = [["", *_COLUMNS.values()]]
    for name, metrics in report.metrics.items():
        cells = [f"{getattr(metrics.mean, key):.4f}" for key in _COLUMNS]
        rows.append([report.model if name == MODEL else name, *cells])
    return "\n".join(
        [
            f"depth of {report.model} on {report.data}",
            f"ground truth: {report.ground_truth}; {model.images} images{skipped}{absent}",
            f"method: {method_line(report)}",
            "",
            format_table(rows),
            "",
            f"scale (ground truth / prediction): median {model.scale_median:.4g}, mean "
            f"{model.scale_mean:.4g}, standard deviation {model.scale_std:.3g} "
            f"({100 * model.scale_spread:.1f} % of the median)",
            f"{report.points} ground-truth pixels, {report.points_unpredicted} of them "
            f"({unpredicted:.2f} %) outside the view of the network and not compared",
        ]
    )


def json_report(report: DepthReport) -> dict[str, Any]:
    """Plain values: the metrics of the model on top, the baselines and the images below."""
    return {
        "model": report.model,
        "data": report.data,
        "ground_truth": report.ground_truth,
        "method": method_line(report),
        "protocol": dataclasses.asdict(report.protocol),
        **_figures(report.metrics[MODEL]),
        "absent": report.absent,
        "skipped": report.skipped,
        "points": report.points,
        "points_unpredicted": report.points_unpredicted,
        "baselines": {
            name.replace(" ", "_"): _figures(report.metrics[name])
            for name in (CONSTANT, ROW_MEDIAN)
        },
        "per_image": [
            {"name": name, **dataclasses.asdict(errors)} for _, name, errors in report.images
        ],
    }


def _figures(metrics: DepthSetMetrics) -> dict[str, Any]:
    figures = dataclasses.asdict(metrics)
    mean = figures.pop("mean")
    del mean["scale"]  # the statistics replace the mean of the factors
    del figures["scale_spread"]
    return mean | figures


def draw_extremes(
    path: Path, report: DepthReport, data: DepthSet, predictor: DepthPredictor
) -> None:
    """Draw the worst, the median and the best image, with prediction, ground truth and error.

    The predictor, with the fit of the report, predicts the chosen images once more. The folder of
    the file is made.
    """
    ranked = sorted(report.images, key=lambda entry: -entry[2].abs_rel)
    chosen = {len(ranked) // 2: "median", len(ranked) - 1: "best", 0: "worst"}
    views = []
    for rank in sorted(chosen):
        index, name, errors = ranked[rank]
        label = f"{chosen[rank]}: {name}" if len(ranked) > 1 else name
        title = f"{label}, abs_rel {errors.abs_rel:.3f}"
        views.append(_view(title, data.samples[index], errors, report, predictor))
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
    depth = predictor.depth(frame) * np.float32(errors.scale)
    return DepthView(
        title=title,
        rgb=frame.rgb,
        depth=np.clip(depth, 0, far),
        ground_truth=np.where(known, ground_truth, np.float32(np.nan)),
    )
