"""Finds the surface and depth that each ray of a camera hits: a z-buffer over planes.

In a pinhole image, the inverse depth of a plane is affine in the pixel coordinates, and so are its
texture coordinates times that inverse depth. With ``M = [u v o]`` (edges and corner of a
parallelogram in the camera) and the ray ``d = (x, y, 1)``, the hit ``a u + b v + o = z d`` is
``(a, b, 1) / z = M^-1 d``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.synthetic.atlas import LEVELS, WIDTH, Atlas, level_start
from sfm_ros.synthetic.quads import Quads

SKY, GROUND, FIRST_QUAD = 0, 1, 2
NEAR_M = 0.15
FAR_M = 170.0
"""Objects further away are not drawn."""
GROUND_FAR_M = 250.0
"""The ground ends at this depth; the panorama of the sky continues it."""

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RayGrid:
    """The sample grid of an image, as slopes of the rays ``(x, y, 1)``.

    Attributes:
        x: (W,) float32 slopes of the columns.
        y: (H,) float32 slopes of the rows.
        fx, fy: samples per unit of slope.
    """

    x: F32
    y: F32
    fx: float
    fy: float


@dataclass(frozen=True, eq=False)
class Hits:
    """The surfaces that the rays hit.

    Attributes:
        inv_depth: (H, W) float32, 1/m along +z, 0 for the sky.
        ident: (H, W) int32, SKY, GROUND, or FIRST_QUAD + an index into ``inverse``.
        inverse: (M, 3, 3) the matrices ``M^-1`` of the visible quads (see the module).
        quad: (M,) indices of these quads in the world.
    """

    inv_depth: F32
    ident: npt.NDArray[np.int32]
    inverse: FloatArray
    quad: npt.NDArray[np.int64]


def cast(
    quads: Quads, atlas: Atlas, grid: RayGrid, T_camera_world: FloatArray, ground_y: float
) -> Hits:
    """Intersect all rays with the ground and the quads."""
    R, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
    down = R[:, 1]  # normal of the ground in the camera
    camera_y = -float(R[:, 1] @ t)
    w = (down[0] * grid.x[None] + (down[1] * grid.y + down[2])[:, None]) / (ground_y - camera_y)
    w = w.astype(np.float32)
    w[w < 1.0 / GROUND_FAR_M] = 0.0
    ident = (w > 0).astype(np.int32)
    which, inverse, boxes = _visible(quads, grid, R, t)
    cutout = quads.cutout[which]
    for k in np.argsort(cutout, kind="stable"):
        x0, x1, y0, y1 = boxes[k]
        m = inverse[k].astype(np.float32)
        xs, ys = grid.x[x0:x1], grid.y[y0:y1]
        inv_z = _affine(m[2], xs, ys)
        front = w[y0:y1, x0:x1]
        hit = inv_z > front
        if not hit.any():
            continue
        a, b = _affine(m[0], xs, ys), _affine(m[1], xs, ys)
        for coordinate in (a, b):
            hit &= coordinate >= 0
            hit &= coordinate <= inv_z
        if cutout[k]:
            _cut_out(hit, a, b, inv_z, quads.page[which[k]], atlas)
        np.copyto(front, inv_z, where=hit)
        np.copyto(ident[y0:y1, x0:x1], np.int32(FIRST_QUAD + k), where=hit)
    return Hits(inv_depth=w, ident=ident, inverse=inverse, quad=which)


def _affine(m: F32, x: F32, y: F32) -> F32:
    """(h, w) ``m[0] x + m[1] y + m[2]`` at columns (w,) and rows (h,)."""
    return (m[0] * x)[None] + (m[1] * y + m[2])[:, None]


def _cut_out(
    hit: npt.NDArray[np.bool_], a: F32, b: F32, inv_z: F32, page: FloatArray, atlas: Atlas
) -> None:
    """Remove the samples with a transparent texel from ``hit``, in place.

    ``a`` and ``b`` are the coordinates in the quad over z; all arrays but ``page`` are (h, w).
    """
    rows, cols = np.nonzero(hit)
    z = 1.0 / inv_z[rows, cols]
    u = page[0] + a[rows, cols] * z * (page[2] - page[0])
    v = page[3] - b[rows, cols] * z * (page[3] - page[1])
    u = _texel_index(u, page[0], page[2], hit.shape[1], WIDTH)
    v = _texel_index(v, page[1], page[3], hit.shape[0], atlas.height)
    hit[rows, cols] = atlas.alpha[v, u] > 110


def _texel_index(
    at: npt.NDArray[np.floating], low: float, high: float, samples: int, extent: int
) -> npt.NDArray[np.int32]:
    """(N,) indices in the rip map along one axis, in the level that suits the size in the image.

    Args:
        at: (N,) texels at full resolution, in a page from ``low`` to ``high``.
        samples: of the grid that the page covers.
        extent: of the atlas at full resolution.
    """
    level = np.round(np.log2(max((high - low) / max(samples, 1), 1.0)))
    scale = 0.5 ** min(int(level), LEVELS - 1)
    last = max(int(high * scale) - 1, 0)
    inside = np.clip((at * scale).astype(np.int32), int(low * scale), last)
    return inside + int(extent * level_start(scale))


def _visible(
    quads: Quads, grid: RayGrid, R: FloatArray, t: FloatArray
) -> tuple[npt.NDArray[np.int64], FloatArray, npt.NDArray[np.int64]]:
    """Indices (M,), ``M^-1`` (M, 3, 3) and sample boxes x0, x1, y0, y1 (M, 4) of quads in view."""
    middle_z = (quads.origin + 0.5 * (quads.u + quads.v)) @ R[2] + t[2]
    near = np.flatnonzero((middle_z > -30.0) & (middle_z < FAR_M))
    o = quads.origin[near] @ R.T + t
    u, v = quads.u[near] @ R.T, quads.v[near] @ R.T
    volume = np.einsum("ni,ni->n", np.cross(u, v), o)
    faces = (volume < 0) | quads.two_sided[near]
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    faces &= np.abs(volume) > 1e-4 * size
    boxes = _boxes(np.stack([o, o + u, o + u + v, o + v], axis=1), grid)
    keep = faces & (boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])
    M = np.stack([u[keep], v[keep], o[keep]], axis=2)
    return near[keep], np.linalg.inv(M), boxes[keep]


def _boxes(corners: FloatArray, grid: RayGrid) -> npt.NDArray[np.int64]:
    """(N, 4) sample ranges of the part of (N, 4, 3) polygons beyond the near plane."""
    z = corners[..., 2]
    following = np.roll(corners, -1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = (NEAR_M - z) / (following[..., 2] - z)
        crossing = corners + fraction[..., None] * (following - corners)
    points = np.concatenate([corners, crossing], axis=1)
    real = np.concatenate([z >= NEAR_M, (fraction > 0) & (fraction < 1)], axis=1)
    depth = np.where(real, points[..., 2], 1.0)
    slopes = points[..., :2] / depth[..., None]
    low = np.where(real[..., None], slopes, np.inf).min(axis=1)
    high = np.where(real[..., None], slopes, -np.inf).max(axis=1)
    scale = np.array([grid.fx, grid.fy])
    start = np.array([grid.x[0], grid.y[0]])
    size = np.array([len(grid.x), len(grid.y)])
    first = np.clip(np.ceil((low - start) * scale), 0, size)
    last = np.clip(np.floor((high - start) * scale) + 1, 0, size)
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1).astype(np.int64)
