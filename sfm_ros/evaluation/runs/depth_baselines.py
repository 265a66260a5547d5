"""The depth of a run beside the baselines that use no image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfm_ros.evaluation.depth.baselines import DepthBaselines
from sfm_ros.evaluation.depth.metrics import (
    MAX_DEPTH_M,
    MIN_DEPTH_M,
    compared_pixels,
    depth_errors,
    valid_pixels,
)
from sfm_ros.evaluation.depth.result import MODEL
from sfm_ros.evaluation.remarks import remarks
from sfm_ros.evaluation.runs.result import DepthSnapshot


def depth_remark(snapshots: Sequence[DepthSnapshot], scaling: str) -> str | None:
    """The abs_rel of the depth beside each baseline, in words; None without ground truth.

    Compared are the pixels of the network's grid with depth and ground truth; the baselines are
    fitted to all of them. ``scaling`` is ``none`` or ``median``.
    """
    known = [
        (
            each.depth,
            each.ground_truth,
            compared_pixels(each.depth, valid_pixels(each.ground_truth)),
        )
        for each in snapshots
        if each.ground_truth is not None
    ]
    baselines = DepthBaselines(MIN_DEPTH_M, MAX_DEPTH_M)
    for _, ground_truth, compared in known:
        baselines.add(ground_truth, compared)
    errors: dict[str, list[float]] = {}
    for depth, ground_truth, compared in known:
        for name, values in {MODEL: depth, **baselines.predict(*depth.shape)}.items():
            found = depth_errors(values, ground_truth, scaling, mask=compared)
            errors.setdefault(name, []).extend([] if found is None else [found.abs_rel])
    if not errors.get(MODEL):
        return None
    abs_rel = {name: float(np.mean(found)) for name, found in errors.items()}
    own = abs_rel.pop(MODEL)
    return ", ".join(remarks(own, abs_rel))
