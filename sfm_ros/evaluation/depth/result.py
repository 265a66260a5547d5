"""Depth errors of images, of a model and of the baselines, and their means by drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sfm_ros.evaluation.depth.baselines import CONSTANT, ROW_MEDIAN
from sfm_ros.evaluation.depth.metrics import DepthMetrics, DepthSetMetrics, summarize

MODEL = "model"
BASELINES = (CONSTANT, ROW_MEDIAN)
PREDICTORS = (MODEL, *BASELINES)
"""Names of what is compared with the ground truth."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScoredImage:
    """Errors of one image, by `PREDICTORS`.

    Attributes:
        index: in the data set.
        name, drive: of the sample.
        scaled: with the scaling of the protocol.
        unscaled: as predicted.
        ratios: median of the ground truth over that of the prediction.
    """

    index: int
    name: str
    drive: str
    scaled: Mapping[str, DepthMetrics]
    unscaled: Mapping[str, DepthMetrics]
    ratios: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthFigures:
    """Means over images, by `PREDICTORS`: with the scaling of the protocol, and as predicted."""

    scaled: Mapping[str, DepthSetMetrics]
    unscaled: Mapping[str, DepthSetMetrics]


def mean_figures(images: Sequence[ScoredImage]) -> DepthFigures:
    """Means over at least one image."""
    ratios = {name: [image.ratios[name] for image in images] for name in PREDICTORS}
    scaled, unscaled = (
        {name: summarize([errors[name] for errors in found], ratios[name]) for name in PREDICTORS}
        for found in ([image.scaled for image in images], [image.unscaled for image in images])
    )
    return DepthFigures(scaled=scaled, unscaled=unscaled)


def figures_by_drive(images: Sequence[ScoredImage]) -> dict[str, DepthFigures]:
    """Means over the images of each drive, in order of the images."""
    drives: dict[str, list[ScoredImage]] = {}
    for image in images:
        drives.setdefault(image.drive, []).append(image)
    return {drive: mean_figures(found) for drive, found in drives.items()}
