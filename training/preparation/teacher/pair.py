"""Inverse depth of one image by the optical flow to another one, whose motion is known.

The point of a pixel at depth 1 / w is seen in the other image at the projection of R x + w t
(Hartley and Zisserman, Multiple View Geometry, 9.6): two equations for w, solved by least squares
along the epipolar line. What remains across the line is an error of the flow, or a mover.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from training.preparation.teacher.view import Map, Mask, View

Flow = npt.NDArray[np.float32]
"""(h, w, 2) pixels to the right and down."""

_BACKWARD_PX, _ACROSS_PX, _RELATIVE = 0.7, 0.8, 0.01
"""Largest error of following a pixel back, and across its epipolar line: pixels, and the fraction
of the flow that is added to each."""
_SIGMA_PX = 0.3
_BORDER = 2
_LEAST_DEPTH = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class PairDepth:
    """What one pair of images shows.

    Attributes:
        inv_depth, sigma: (h, w) inverse depth and its standard deviation, 1 / m.
        is_found: (h, w) whether the pixel is found in the other image and followed back.
        is_static: (h, w) found, and it moves as a point that stands would.
    """

    inv_depth: Map
    sigma: Map
    is_found: Mask
    is_static: Mask


def triangulate(
    view: View, forward: Flow, backward: Flow, T_source_target: FloatArray
) -> PairDepth:
    """Inverse depth of the target image.

    Args:
        view: camera of both images.
        forward, backward: optical flow from the target to the source, and from source to target.
        T_source_target: (4, 4) motion between them, meters.
    """
    fx, fy = np.float32(view.camera.fx), np.float32(view.camera.fy)
    t = T_source_target[:3, 3].astype(np.float32)
    u, v = view.columns + forward[..., 0], view.rows + forward[..., 1]
    tolerance = _RELATIVE * cv2.magnitude(forward[..., 0], forward[..., 1])
    is_found = _returns(u, v, forward, backward, tolerance) & _inside(u, v)
    x = (u - np.float32(view.camera.cx)) / fx
    y = (v - np.float32(view.camera.cy)) / fy
    rx, ry, rz = view.planes(T_source_target[:3, :3])
    # Along the epipolar line a point moves by a per inverse depth; b is where it is at w = 0.
    ax, ay = x * t[2] - t[0], y * t[2] - t[1]
    bx, by = rx - x * rz, ry - y * rz
    square = ax * ax + ay * ay + np.float32(1e-12)
    w = (ax * bx + ay * by) / square
    z = rz + t[2] * w
    pixels = np.sqrt(square) / np.maximum(z, _LEAST_DEPTH) * np.float32(np.sqrt(fx * fy))
    across = np.abs(ax * by - ay * bx) / square * pixels
    is_static = is_found & (across < _ACROSS_PX + tolerance) & (z > _LEAST_DEPTH)
    return PairDepth(w, (_SIGMA_PX + tolerance) / pixels, is_found, is_static)


def _returns(u: Map, v: Map, forward: Flow, backward: Flow, tolerance: Map) -> Mask:
    """Whether the flow back leads to where it came from (not occluded, not ambiguous)."""
    back = cv2.remap(backward, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = back + forward
    distance = cv2.magnitude(error[..., 0], error[..., 1])
    return np.asarray(distance < _BACKWARD_PX + tolerance)


def _inside(u: Map, v: Map) -> Mask:
    height, width = u.shape
    low = (u > _BORDER) & (v > _BORDER)
    return np.asarray(low & (u < width - 1 - _BORDER) & (v < height - 1 - _BORDER))
