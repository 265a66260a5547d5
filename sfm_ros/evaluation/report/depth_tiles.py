"""Depth of some frames of a run as images within the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from sfm_ros.datatypes import RgbImage
from sfm_ros.evaluation.depth.figure import DepthView, depth_limits, panels
from sfm_ros.evaluation.plotting import data_uri
from sfm_ros.evaluation.runs.result import DepthSnapshot, RunResult

_MAX_SHOWN = 4
_JPEG_QUALITY = 82


def depth_strip(result: RunResult, unit: str) -> dict[str, Any]:
    """Some frames of a run, evenly spread, for the template of the report.

    ``tiles`` are in order of time, each with a caption and images by name, from top to bottom.
    ``near`` and ``far`` are the depths of the brightest and of the darkest color, in ``unit``;
    the argument is the unit of the estimate. ``how`` is how depth is scaled beside ground truth.
    """
    chosen = evenly_spread(result.snapshots)
    views = depth_views(chosen, result)
    near, far = limits = depth_limits(views)
    return {
        "tiles": [
            {
                "caption": view.title,
                "images": {name: _jpeg_uri(rgb) for name, rgb in panels(view, limits).items()},
            }
            for view in views
        ],
        "near": near,
        "far": far,
        "unit": depth_unit(chosen, unit),
        "how": "" if result.is_metric else ", median-scaled",
        "has_ground_truth": any(view.ground_truth is not None for view in views),
    }


def evenly_spread(snapshots: Sequence[DepthSnapshot]) -> list[DepthSnapshot]:
    """At most four of the snapshots, including the first and the last."""
    shown = min(_MAX_SHOWN, len(snapshots))
    indices = np.linspace(0, len(snapshots) - 1, shown).round().astype(int)
    return [snapshots[index] for index in indices]


def depth_views(snapshots: Sequence[DepthSnapshot], result: RunResult) -> list[DepthView]:
    """The snapshots of a run, as published in meters, or else scaled to the ground truth."""
    return [_view(each, int(result.image_stamps_ns[0]), result.is_metric) for each in snapshots]


def depth_unit(snapshots: Sequence[DepthSnapshot], unit: str) -> str:
    """Meters if any depth is scaled to the ground truth, otherwise the unit of the estimate."""
    return "m" if any(each.ground_truth is not None for each in snapshots) else unit


def _view(snapshot: DepthSnapshot, start_ns: int, is_metric: bool) -> DepthView:
    scaled, unscaled = snapshot.scaled, snapshot.unscaled
    title, factor = f"{(snapshot.stamp_ns - start_ns) * 1e-9:.1f} s", 1.0
    if scaled is not None and unscaled is not None:
        title += f", abs_rel {unscaled.abs_rel:.3f}, median-scaled {scaled.abs_rel:.3f}"
        factor = 1.0 if is_metric else scaled.scale
    return DepthView(
        title=title,
        rgb=snapshot.rgb,
        depth=snapshot.depth * np.float32(factor),
        ground_truth=snapshot.ground_truth,
    )


def _jpeg_uri(rgb: RgbImage) -> str:
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data_uri(data.tobytes(), "image/jpeg")
