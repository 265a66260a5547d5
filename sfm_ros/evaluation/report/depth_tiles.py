"""Images of depth for a page: small, colored, and packed into the page itself."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.colormap import UNKNOWN_GRAY, color_of_depth, limits_of
from sfm_ros.datatypes import DepthMap, RgbImage
from sfm_ros.evaluation.runs.result import DepthSnapshot

SHOWN = 4
_FULL_ERROR = 0.5
"""Relative error that gets the strongest color."""
_SPARSE = 0.25
"""Share of known pixels below which points are drawn larger than they are."""
_QUALITY = 82


@dataclass(frozen=True, kw_only=True, slots=True)
class Tiles:
    """One frame of the strip; images as data URIs, None where there is nothing to show.

    Attributes:
        stamp_ns: of the frame.
        image, depth, ground_truth, error: the images.
        abs_rel: relative error of this frame after scaling by the ratio of medians, or None.
    """

    stamp_ns: int
    image: str | None
    depth: str
    ground_truth: str | None
    error: str | None
    abs_rel: float | None


def choose(snapshots: Sequence[DepthSnapshot], count: int = SHOWN) -> list[DepthSnapshot]:
    """A few, evenly spread over the run, the last one included."""
    if not snapshots:
        return []
    wanted = np.linspace(0, len(snapshots) - 1, min(count, len(snapshots))).round().astype(int)
    return [snapshots[index] for index in wanted]


def make_tiles(snapshots: Sequence[DepthSnapshot]) -> tuple[list[Tiles], tuple[float, float]]:
    """Images of some frames, all in the same colors.

    Depth is scaled to the ground truth where there is one.

    Returns:
        The images, and the depths of the brightest and the darkest color.
    """
    limits = depth_limits(snapshots)
    return [_tiles(snapshot, limits) for snapshot in snapshots], limits


def _tiles(snapshot: DepthSnapshot, limits: tuple[float, float]) -> Tiles:
    depth, ground_truth = shown_depth(snapshot), snapshot.ground_truth
    return Tiles(
        stamp_ns=snapshot.stamp_ns,
        image=None if snapshot.rgb is None else _uri(snapshot.rgb),
        depth=_uri(color_of_depth(depth, limits)),
        ground_truth=None
        if ground_truth is None
        else _uri(color_of_depth(_larger_points(ground_truth), limits)),
        error=None if ground_truth is None else _uri(error_colors(depth, ground_truth)),
        abs_rel=None if snapshot.scaled is None else snapshot.scaled.abs_rel,
    )


def shown_depth(snapshot: DepthSnapshot) -> DepthMap:
    """The depth, scaled to the ground truth where there is one."""
    scale = 1.0 if snapshot.scaled is None else snapshot.scaled.scale
    return snapshot.depth * np.float32(scale)


def depth_limits(snapshots: Sequence[DepthSnapshot]) -> tuple[float, float]:
    """The nearest and the farthest depth that get colors of their own."""
    shown = [shown_depth(s) if s.ground_truth is None else s.ground_truth for s in snapshots]
    none = np.zeros(0, dtype=np.float32)
    return limits_of(np.concatenate([none, *(d[np.isfinite(d) & (d > 0)] for d in shown)]))


def error_colors(depth: DepthMap, ground_truth: DepthMap) -> RgbImage:
    """(H, W, 3) blue where the depth is too near, white where right, red where too far."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = _larger_points(((depth - ground_truth) / ground_truth).astype(np.float32))
    known = np.isfinite(relative)
    level = np.clip(np.where(known, relative, 0.0) / _FULL_ERROR, -1.0, 1.0)[..., None]
    near, right, far = np.array([[40, 84, 196], [246, 246, 246], [196, 42, 58]], np.float32)
    colors = right + np.abs(level) * (np.where(level < 0, near, far) - right)
    rgb = np.rint(colors).astype(np.uint8)
    rgb[~known] = UNKNOWN_GRAY
    return rgb


def _larger_points(values: DepthMap) -> DepthMap:
    """Sparse values spread to their neighbors, so that a scan can be seen."""
    known = np.isfinite(values)
    if not known.any() or known.mean() > _SPARSE:
        return values
    kernel = np.ones((3, 3), dtype=np.uint8)
    spread = cv2.dilate(np.where(known, values, -np.inf).astype(np.float32), kernel)
    return np.where(np.isfinite(spread), spread, np.nan).astype(np.float32)


def _uri(rgb: RgbImage) -> str:
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
