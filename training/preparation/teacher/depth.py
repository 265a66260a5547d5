"""The depth of one image by all its pairs, checked, with labels for sky and movers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.geometry import inverse
from training.data.sequence import MOVING, SKY_DEPTH_M
from training.preparation.teacher.checks import reliable, shows_motion
from training.preparation.teacher.consensus import combine
from training.preparation.teacher.flows import Flows
from training.preparation.teacher.movers import find_movers
from training.preparation.teacher.pair import triangulate
from training.preparation.teacher.road import fill_road
from training.preparation.teacher.sky import find_sky
from training.preparation.teacher.view import Gray, Map, Mask, View

_CHECKED_BY = 4
"""The second nearest images, before and after, are compared with."""
_LEAST_FILLED, _MOST_SPREAD = 0.4, 0.15
"""Of the pixels that are averaged into one of the set: the least fraction that is measured, and
the largest standard deviation of the logarithm of their depths."""
_LABELED = 0.5
"""Fraction of them that is sky, or moves, from which on the pixel of the set is."""


@dataclass(frozen=True, slots=True, eq=False)
class Numbered:
    """An image of the drive.

    Attributes:
        index: its number.
        gray: (h, w).
        T_world_camera: (4, 4), meters.
    """

    index: int
    gray: Gray
    T_world_camera: FloatArray


def measure_depth(
    view: View, flows: Flows, target: Numbered, sources: Sequence[Numbered], own: Mask
) -> Map:
    """(h, w) depth in meters, 0 unknown, `MOVING` and `SKY_DEPTH_M` as in a prepared set.

    Args:
        view: camera of the images.
        flows: computes optical flow.
        target: the image to measure.
        sources: at least one other image, the nearest first.
        own: (h, w) the vehicle that carries the camera.
    """
    compared, pairs = [], []
    for source in sources:
        T = inverse(source.T_world_camera) @ target.T_world_camera
        both = (target.index, target.gray), (source.index, source.gray)
        pairs.append(triangulate(view, *flows.between(*both, T), T))
        compared.append((source.gray, T))
    found = combine(view, pairs)
    sky = find_sky(view, target.gray, found.depth_m)
    usable = shows_motion(target.gray, flows.expected(compared[0][1])) & ~own
    moves = find_movers(view, found, usable) & ~own & ~sky.certain
    used = compared[:_CHECKED_BY][-2:]
    is_reliable = reliable(view, target.gray, used, found.depth_m)
    depth = np.where(is_reliable & ~own & ~sky.possible, found.depth_m, 0)
    depth[moves], depth[sky.certain] = MOVING, SKY_DEPTH_M
    return fill_road(view, target.gray, np.asarray(depth, dtype=np.float32), own)


def reduced(depth_m: Map, factor: int) -> DepthMap:
    """(h / factor, w / factor) geometric means of the depths, without silhouettes; labels stay."""
    height, width = depth_m.shape
    size = width // factor, height // factor
    is_sky = depth_m >= SKY_DEPTH_M
    known = (depth_m > 0) & ~is_sky
    log_depth = np.log(np.where(known, depth_m, 1)).astype(np.float32)
    layers = np.dstack([known, is_sky, depth_m < 0, log_depth, log_depth * log_depth])
    mean = np.asarray(cv2.resize(layers.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    filled = np.maximum(mean[..., 0], 1e-6)
    log_mean = mean[..., 3] / filled
    variance = mean[..., 4] / filled - log_mean**2
    clear = (mean[..., 0] >= _LEAST_FILLED) & (variance < _MOST_SPREAD**2)
    result = np.where(clear, np.exp(log_mean), 0)
    result[mean[..., 1] > _LABELED] = SKY_DEPTH_M
    result[mean[..., 2] > _LABELED] = MOVING
    return np.asarray(result, dtype=np.float32)
