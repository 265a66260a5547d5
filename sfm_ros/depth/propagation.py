"""Carries inverse depth from one frame to the next along the motion between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.depth.filter_kernels import find_surface, move_forward
from sfm_ros.depth.maps import GrayImage, Map, Mask, new_maps, select
from sfm_ros.geometry import inverse

_STEPS = 3
"""Of the search for the point of the older frame; each divides its error by about ten."""
_COARSE = 2
"""Every n-th row and column is moved forward to find what hides what."""
_AGREES = 0.03
"""Relative change of the last step from which on the older frame did not see the surface."""
_KINK = 0.06
"""Of the inverse depth: where it is less linear between neighbors, two surfaces meet."""
_NOISE_GRAY, _EDGE_SHARE, _WINDOW = 8.0, 0.8, (5, 5)
"""A surface may look different by the noise and by this part of the contrast around it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Propagated:
    """Inverse depth of an older frame as the newer one sees it.

    Attributes:
        inv_depth: (h, w) inverse depth in the newer camera.
        ratio: (h, w) of the inverse depth over that in the older camera.
        u, v: (h, w) pixel of the older frame.
        seen: (h, w) the older frame saw the same surface there.
    """

    inv_depth: Map
    ratio: Map
    u: Map
    v: Map
    seen: Mask


class PixelRays:
    """The rays of the pixels of a grid.

    Attributes:
        K: (3, 3) of the grid.
        shape: its height and width.
        camera: (4,) fx, fy, cx, cy.
        x: (1, w), y: (h, 1) slopes of the rays, x/z and y/z.
    """

    def __init__(self, K: FloatArray, shape: tuple[int, int]) -> None:
        self.K, self.shape = K, shape
        self.camera: Map = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], dtype=np.float32)
        columns, rows = np.arange(shape[1])[None], np.arange(shape[0])[:, None]
        self.x: Map = ((columns - K[0, 2]) / K[0, 0]).astype(np.float32)
        self.y: Map = ((rows - K[1, 2]) / K[1, 1]).astype(np.float32)


def propagate(rays: PixelRays, guess: Map, inv_depth: Map, T_prev_curr: FloatArray) -> Propagated:
    """The inverse depth of the older frame along the motion.

    For each pixel of the newer frame the surface of the older one that its ray meets is found by
    a fixed-point search: the older depth at the projection of one guess is the next guess. It
    starts from the nearest point of the older frame that is moved to the pixel.

    Args:
        rays: of the grid.
        guess: (h, w) inverse depth in the newer frame, where no point is moved to.
        inv_depth: (h, w) in the older frame.
        T_prev_curr: (4, 4) motion in the unit of the depth.
    """
    moved = _moved_forward(rays, inv_depth, T_prev_curr)
    start = select(moved > 0, moved, guess)
    w, ratio, u, v = new_maps(4, rays.shape)
    seen = np.empty(rays.shape, dtype=bool)
    motion = np.ascontiguousarray(T_prev_curr[:3], dtype=np.float32)
    find_surface(
        start, inv_depth, _kinks(inv_depth), motion, rays.camera, _STEPS, np.float32(_AGREES),
        w, ratio, u, v, seen,
    )  # fmt: skip
    return Propagated(inv_depth=w, ratio=ratio, u=u, v=v, seen=seen)


def _moved_forward(rays: PixelRays, inv_depth: Map, T_prev_curr: FloatArray) -> Map:
    """(h, w) inverse depth of the nearest point that is moved near each pixel; 0 if none is."""
    height, width = (-(-side // _COARSE) for side in rays.shape)
    nearest = np.zeros((height, width), dtype=np.float32)
    motion = np.ascontiguousarray(inverse(T_prev_curr)[:3], dtype=np.float32)
    move_forward(inv_depth, motion, rays.camera, _COARSE, nearest)
    closed = cv2.dilate(nearest, np.ones((3, 3), np.uint8))
    size = (width * _COARSE, height * _COARSE)
    full = cv2.resize(closed, size, interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(full[: rays.shape[0], : rays.shape[1]], dtype=np.float32)


def _kinks(inv_depth: Map) -> npt.NDArray[np.uint8]:
    """(h, w) not 0 where two surfaces meet, between which nothing is interpolated."""
    bend = np.abs(cv2.Laplacian(inv_depth, cv2.CV_32F, ksize=1))
    kinks = cv2.dilate((bend > _KINK * inv_depth).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(kinks, dtype=np.uint8)


def looks_alike(gray: GrayImage, gray_before: GrayImage, u: Map, v: Map) -> Mask:
    """(h, w) whether a frame shows what an older one shows at these pixels."""
    moved = cv2.remap(gray_before, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    contrast = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    difference = cv2.blur(cv2.absdiff(moved, gray).astype(np.float32), _WINDOW)
    allowed = _NOISE_GRAY + _EDGE_SHARE * cv2.blur(contrast.astype(np.float32), _WINDOW)
    return np.asarray(difference < allowed, dtype=np.bool_)
