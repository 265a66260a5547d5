"""Strict checks of a measured depth map: what stands alone, at a jump or unlike is left out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import cv2
import numpy as np

from sfm_ros.datatypes import FloatArray
from training.preparation.teacher.pair import Flow
from training.preparation.teacher.view import Gray, Map, Mask, View

_AROUND_PX, _LEAST_AROUND = 9, 0.5
"""Window around a pixel, and the least fraction of it that is measured."""
_JUMP_PX, _JUMP = 5, 1.3
"""Window, and the ratio of depths in it from which on there is a silhouette: optical flow smears
depth across it."""
_PATCH_PX = 7
_ALIKE, _ALIKE_CONTRAST = 6.0, 0.35
"""Largest mean difference of the images: gray levels, and the fraction of the contrast that is
added."""
_LEAST_SLOPE = 1.0
"""Gray levels per pixel in the direction of the motion; with less an image shows no motion."""
_LEAST_ALONG = 0.35
"""Of the slope in any direction."""

Source = tuple[Gray, FloatArray]
"""An image, and T_source_target (4, 4), meters."""


def reliable(view: View, target: Gray, sources: Sequence[Source], depth_m: Map) -> Mask:
    """(h, w) which measured depths pass all checks.

    Args:
        view: camera of the images.
        target: the image that the depth belongs to.
        sources: images before and after it, so that nothing is hidden in all of them.
        depth_m: (h, w), 0 where it is unknown.
    """
    known = depth_m > 0
    inv_depth = np.where(known, 1 / np.maximum(depth_m, 1e-3), 0).astype(np.float32)
    around = cv2.blur(known.astype(np.float32), (_AROUND_PX, _AROUND_PX))
    kernel = np.ones((_JUMP_PX, _JUMP_PX), np.uint8)
    front, behind = cv2.dilate(inv_depth, kernel), cv2.erode(np.where(known, inv_depth, 1), kernel)
    is_smooth = np.asarray(front) < _JUMP * np.asarray(behind)
    allowed = _ALIKE + _ALIKE_CONTRAST * contrast(target)
    is_alike = mismatch(view, target, sources, inv_depth) < allowed
    return known & (np.asarray(around) > _LEAST_AROUND) & is_smooth & is_alike


def shows_motion(gray: Gray, flow: Flow) -> Mask:
    """(h, w) where the image changes along a flow: a plain wall, or a line along it, does not."""
    return slope_along(gray, flow) > _LEAST_SLOPE


def slope_along(gray: Gray, flow: Flow) -> Map:
    """(h, w) mean slope of the image along a flow, gray levels per pixel; 0 if mainly across."""
    dx, dy = (cv2.Sobel(gray, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    length = cv2.magnitude(flow[..., 0], flow[..., 1]) + np.float32(1e-6)
    along = np.abs(dx * flow[..., 0] + dy * flow[..., 1]) / length
    size = (_PATCH_PX, _PATCH_PX)
    mean_along, mean = cv2.blur(along, size), cv2.blur(cv2.magnitude(dx, dy), size)
    clear = np.asarray(mean_along) > _LEAST_ALONG * np.asarray(mean)
    return np.where(clear, mean_along, 0).astype(np.float32)


def difference(first: Gray, second: Gray) -> Map:
    """(h, w) mean gray difference around each pixel."""
    size = (_PATCH_PX, _PATCH_PX)
    return np.asarray(cv2.blur(cv2.absdiff(first, second).astype(np.float32), size))


def contrast(gray: Gray) -> Map:
    """(h, w) standard deviation of the gray levels around each pixel."""
    size = (_PATCH_PX, _PATCH_PX)
    mean = np.asarray(cv2.blur(gray.astype(np.float32), size))
    square = np.asarray(cv2.sqrBoxFilter(gray, cv2.CV_32F, size))
    return np.asarray(np.sqrt(np.maximum(square - mean * mean, 0)), dtype=np.float32)


def mismatch(view: View, target: Gray, sources: Sequence[Source], inv_depth: Map) -> Map:
    """(h, w) mean gray difference around each pixel to the source that is most alike."""
    errors = []
    for image, T_source_target in sources:
        u, v = view.project(inv_depth, T_source_target)
        warped = cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        errors.append(difference(target, np.asarray(warped, dtype=np.uint8)))
    return np.asarray(reduce(np.minimum, errors), dtype=np.float32)
