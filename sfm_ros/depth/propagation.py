"""Carries inverse depth from one frame to the next along the motion between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import inverse

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
GrayImage = npt.NDArray[np.uint8]

_STEPS = 3
"""Of the search for the point of the older frame; each divides its error by about ten."""
_COARSE = 2
"""Every n-th row and column is moved forward to find what hides what."""
_AGREES = 0.03
"""Relative change of the last step from which on the older frame did not see the surface."""
_KINK = 0.06
"""Of the inverse depth: where it is less linear between neighbors, two surfaces meet."""
_NEAREST = np.float32(1e-3)
"""Depth in one camera over that in the other; a point nearer than that is out of view."""
_NOISE_GRAY, _EDGE_SHARE, _WINDOW = 8.0, 0.8, (5, 5)
"""A surface may look different by the noise and by this part of the contrast around it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Propagated:
    """Maps of an older frame as the newer one sees them.

    Attributes:
        inv_depth: (h, w) inverse depth in the newer camera.
        ratio: (h, w) of the inverse depth over that in the older camera.
        u, v: (h, w) pixel of the older frame.
        others: (h, w, n) the other maps of the older frame.
        seen: (h, w) the older frame saw the same surface there.
    """

    inv_depth: Map
    ratio: Map
    u: Map
    v: Map
    others: Map
    seen: Mask


class PixelRays:
    """The rays of the pixels of a grid.

    Attributes:
        K: (3, 3) of the grid.
        shape: its height and width.
        x: (1, w), y: (h, 1) slopes of the rays, x/z and y/z.
    """

    def __init__(self, K: FloatArray, shape: tuple[int, int]) -> None:
        self.K, self.shape = K, shape
        columns, rows = np.arange(shape[1])[None], np.arange(shape[0])[:, None]
        self.x: Map = ((columns - K[0, 2]) / K[0, 0]).astype(np.float32)
        self.y: Map = ((rows - K[1, 2]) / K[1, 1]).astype(np.float32)

    def project(self, inv_depth: Map, T_other_this: FloatArray) -> tuple[Map, Map, Map]:
        """Where the points of the pixels appear in another camera of the same K.

        Returns:
            Pixel coordinates u and v there, and z there over the depth here; (h, w) each.
        """
        T, K = T_other_this.astype(np.float32), self.K.astype(np.float32)
        # The point divided by its depth is R (x, y, 1) + t w.
        px, py, pz = (
            (T[i, 0] * self.x + T[i, 2]) + T[i, 1] * self.y + T[i, 3] * inv_depth for i in range(3)
        )
        pz = np.maximum(pz, _NEAREST)
        u = px / pz * K[0, 0] + K[0, 2]
        v = py / pz * K[1, 1] + K[1, 2]
        return u, v, pz


def propagate(
    rays: PixelRays, guess: Map, inv_depth: Map, others: Map, T_prev_curr: FloatArray
) -> Propagated:
    """The maps of the older frame along the motion.

    For each pixel of the newer frame the surface of the older one that its ray meets is found by
    a fixed-point search: the older depth at the projection of one guess is the next guess. It
    starts from the nearest point of the older frame that is moved to the pixel.

    Args:
        rays: of the grid.
        guess: (h, w) inverse depth in the newer frame, where no point is moved to.
        inv_depth: (h, w) in the older frame.
        others: (h, w, n) further maps of the older frame.
        T_prev_curr: (4, 4) motion in the unit of the depth.
    """
    moved, surfaces = _moved_forward(rays, inv_depth, T_prev_curr), _Surfaces(inv_depth)
    w = np.where(moved > 0, moved, guess)
    for _ in range(_STEPS):
        last = w
        u, v, ratio = rays.project(w, T_prev_curr)
        before = surfaces.sampled(u, v)
        w = np.where(before > 0, before * ratio, last)
    carried = cv2.remap(others, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return Propagated(
        inv_depth=w,
        ratio=ratio,
        u=u,
        v=v,
        others=carried.reshape(*rays.shape, -1).astype(np.float32),
        seen=(before > 0) & (np.abs(w - last) < _AGREES * w),
    )


def _moved_forward(rays: PixelRays, inv_depth: Map, T_prev_curr: FloatArray) -> Map:
    """(h, w) inverse depth of the nearest point that is moved near each pixel; 0 if none is."""
    u, v, ratio = rays.project(inv_depth, inverse(T_prev_curr))
    grid = (slice(None, None, _COARSE),) * 2
    height, width = u[grid].shape
    columns, rows = (np.rint(each[grid] / _COARSE).astype(np.int32) for each in (u, v))
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    nearest = np.zeros(height * width, dtype=np.float32)
    moved = (inv_depth[grid] / ratio[grid])[inside]
    np.maximum.at(nearest, (rows * width + columns)[inside], moved)
    points = nearest.reshape(height, width)
    closed = np.asarray(cv2.dilate(points, np.ones((3, 3), np.uint8)), dtype=np.float32)
    return np.repeat(np.repeat(closed, _COARSE, 0), _COARSE, 1)[: rays.shape[0], : rays.shape[1]]


class _Surfaces:
    """Inverse depth between pixels, without a mixture where two surfaces meet."""

    def __init__(self, inv_depth: Map) -> None:
        bend = np.abs(cv2.Laplacian(inv_depth, cv2.CV_32F, ksize=1))
        kinks = cv2.dilate((bend > _KINK * inv_depth).astype(np.uint8), np.ones((3, 3), np.uint8))
        self._inv_depth, self._kinks = inv_depth, kinks

    def sampled(self, u: Map, v: Map) -> Map:
        """(h, w) at the pixels (u, v); 0 out of view."""
        nearest, linear = (
            cv2.remap(self._inv_depth, u, v, how, borderMode=cv2.BORDER_CONSTANT)
            for how in (cv2.INTER_NEAREST, cv2.INTER_LINEAR)
        )
        kinks = cv2.remap(self._kinks, u, v, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
        return np.where(kinks > 0, nearest, linear)


def looks_alike(gray: GrayImage, gray_before: GrayImage, u: Map, v: Map) -> Mask:
    """(h, w) whether a frame shows what an older one shows at these pixels."""
    moved = cv2.remap(gray_before, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    contrast = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    difference = cv2.blur(cv2.absdiff(moved, gray).astype(np.float32), _WINDOW)
    allowed = _NOISE_GRAY + _EDGE_SHARE * cv2.blur(contrast.astype(np.float32), _WINDOW)
    return np.asarray(difference < allowed, dtype=np.bool_)
