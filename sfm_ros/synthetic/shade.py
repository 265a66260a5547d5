"""Shades the samples: ground, quads, sky, shadows, haze, and the imperfections of the camera."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray, RgbImage
from sfm_ros.synthetic import ground
from sfm_ros.synthetic.atlas import LEVELS, WIDTH, level_start
from sfm_ros.synthetic.path import BEHIND_M, STEP_M
from sfm_ros.synthetic.quads import Polygons
from sfm_ros.synthetic.raster import F32, FIRST_QUAD, GROUND, NEAR_M, SKY, Hits, RayGrid
from sfm_ros.synthetic.world import World

TEXTURE_FAR_M = 160.0
"""Ground further away has the texture of this depth."""
SHADOW_FAR_M = 90.0
"""Shadows further away are not drawn."""
REMAP_COLS = 512


def shade(world: World, hits: Hits, grid: RayGrid, T_world_camera: FloatArray, s: float) -> F32:
    """(H, W, 3) float32 light of all samples; ``s`` is the arc length of the camera, meters."""
    out = np.empty((*hits.ident.shape, 3), dtype=np.float32)
    flat_out, ident = out.reshape(-1, 3), hits.ident.ravel()
    index = np.flatnonzero(ident >= FIRST_QUAD)
    flat_out[index] = _quad_light(world, hits, grid, index)
    index = np.flatnonzero(ident == GROUND)
    flat_out[index] = _ground_light(world, hits, grid, T_world_camera, s, index)
    index = np.flatnonzero(ident == SKY)
    flat_out[index] = _sky_light(world, grid, T_world_camera[:3, :3], index)
    depth = 1.0 / np.maximum(hits.inv_depth, 1e-3)
    haze = 1.0 - np.exp(-depth / world.appearance.haze_m)
    opacity = np.where(hits.inv_depth > 0, haze, 0.0)[..., None]
    out += opacity * (world.haze.astype(np.float32) - out)
    return out


def _rays(grid: RayGrid, index: npt.NDArray[np.int64]) -> tuple[F32, F32]:
    row, col = np.divmod(index, len(grid.x))
    return grid.x[col], grid.y[row]


def _sample(image: RgbImage, x: F32, y: F32) -> F32:
    """(N, 3) bilinear samples at (N,) columns and rows."""
    count = len(x)
    columns, rows = _as_maps(x), _as_maps(y)
    found = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found.reshape(-1, 3)[:count].astype(np.float32)


def _as_maps(values: F32) -> F32:
    """(rows, REMAP_COLS) of (N,) values, because OpenCV limits the length of a row."""
    rows = max(-(-len(values) // REMAP_COLS), 1)
    padded = np.zeros((rows, REMAP_COLS), dtype=np.float32)
    padded.ravel()[: len(values)] = values
    return padded


def _quad_light(world: World, hits: Hits, grid: RayGrid, index: npt.NDArray[np.int64]) -> F32:
    which = hits.ident.ravel()[index] - FIRST_QUAD
    x, y = _rays(grid, index)
    w = hits.inv_depth.ravel()[index]
    m = hits.inverse.reshape(-1, 9).astype(np.float32).T[:, which]
    page = world.quads.page[hits.quad].astype(np.float32).T[:, which]
    a = (m[0] * x + m[1] * y + m[2]) / w
    b = (m[3] * x + m[4] * y + m[5]) / w
    wide, tall = page[2] - page[0], page[3] - page[1]
    # The derivative of a = A/w along the image is (A' - a w') / w, here in texels per sample.
    step_u = np.abs(m[0] - a * m[6]) / grid.fx + np.abs(m[1] - a * m[7]) / grid.fy
    step_v = np.abs(m[3] - b * m[6]) / grid.fx + np.abs(m[4] - b * m[7]) / grid.fy
    u = _rip_coordinates(page[0] + a * wide, page[0], page[2], step_u * wide / w, WIDTH)
    height = world.atlas.height
    v = _rip_coordinates(page[3] - b * tall, page[1], page[3], step_v * tall / w, height)
    tint = world.quads.tint[hits.quad].astype(np.float32)
    return _sample(world.atlas.rgb, u, v) * tint[which]


def _rip_coordinates(at: F32, low: F32, high: F32, texels: F32, extent: int) -> F32:
    """(N,) coordinate in the rip map along one axis, on the level that suits the sample size."""
    level = np.clip(np.floor(np.log2(np.maximum(texels, 1e-3)) + 0.6), 0, LEVELS - 1)
    scale = np.exp2(-level)
    inside = np.clip(at * scale - 0.5, low * scale, np.maximum(high * scale - 1, low * scale))
    return (inside + extent * level_start(scale)).astype(np.float32)


def _ground_light(
    world: World,
    hits: Hits,
    grid: RayGrid,
    T_world_camera: FloatArray,
    s: float,
    index: npt.NDArray[np.int64],
) -> F32:
    x, y = _rays(grid, index)
    reach = np.minimum(1.0 / hits.inv_depth.ravel()[index], TEXTURE_FAR_M)
    R, t = T_world_camera[:3, :3].astype(np.float32), T_world_camera[:3, 3].astype(np.float32)
    at_x = (R[0, 0] * x + R[0, 1] * y + R[0, 2]) * reach + t[0]
    at_z = (R[2, 0] * x + R[2, 1] * y + R[2, 2]) * reach + t[2]
    along, lateral = _street_coordinates(world, at_x, at_z, T_world_camera, s)
    camera_height = world.ground_y - float(T_world_camera[1, 3])
    texels = reach * reach / (grid.fy * camera_height * ground.ROW_M)
    color = _ground_color(world.ground, along, lateral, texels)
    _add_grain(color, world.ground.detail, along, lateral, reach)
    return color * (world.ground_light * _shadows(world, grid, T_world_camera, index))[:, None]


def _ground_color(texture: ground.GroundTexture, along: F32, lateral: F32, texels: F32) -> F32:
    """(N, 3) color at street coordinates (N,), of samples that are ``texels`` (N,) long."""
    fold = ground.HALF_M - 8.0  # the outer verge is mirrored beyond the painted strip
    beyond = np.abs(lateral) - fold
    folded = fold + np.abs((beyond + 7.5) % 15.0 - 7.5)
    inside = np.where(beyond > 0, np.sign(lateral) * folded, lateral)
    exact = np.clip(np.log2(np.maximum(texels, 1e-3)) + 0.3, 0, ground.LEVELS - 1.001)
    level = exact.astype(np.int32)
    fraction = (exact - level)[:, None]
    phase = along % ground.PERIOD_M
    color = np.zeros((len(along), 3), dtype=np.float32)
    for step, weight in ((level, 1.0 - fraction), (level + 1, fraction)):
        rows = phase * texture.row_scale[step] + texture.first_row[step]
        cols = (inside + ground.HALF_M) * texture.col_scale[step] - 0.5
        color += weight * _sample(texture.rgb, cols.astype(np.float32), rows.astype(np.float32))
    return color


def _add_grain(color: F32, detail: F32, along: F32, lateral: F32, reach: F32) -> None:
    """Multiply the detail into the color (N, 3) of ground nearby, in place."""
    near = np.flatnonzero(reach < 14.0)
    size = detail.shape[0]
    rows = (along[near] * size / 4.0).astype(np.int32) % size
    cols = (lateral[near] * size / 4.0).astype(np.int32) % size
    fade = np.clip((14.0 - reach[near]) / 8.0, 0, 1)
    color[near] *= (1 + fade * (detail[rows, cols] - 1))[:, None]


def _street_coordinates(
    world: World, x: F32, z: F32, T_world_camera: FloatArray, s: float
) -> tuple[F32, F32]:
    """(N,) arc length and lateral offset of ground points, by a coarse map and one refinement."""
    line, cell, reach = world.line, 4.0, 176.0
    origin = np.floor(T_world_camera[[0, 2], 3] / cell) * cell - reach
    count = int(2 * reach / cell) + 1
    knots = np.arange(count) * cell
    points = np.stack(np.meshgrid(knots + origin[0], knots + origin[1]), axis=-1).reshape(-1, 2)
    first = max(int((s - BEHIND_M) / STEP_M), 0) // 4 * 4
    last = min(int((s + 1.1 * TEXTURE_FAR_M) / STEP_M) + 1, len(line.xz))
    coarse = line.nearest(points, first, last)[:, 0].reshape(count, count).astype(np.float32)
    columns = _as_maps((x - np.float32(origin[0])) / cell)
    rows = _as_maps((z - np.float32(origin[1])) / cell)
    guess = cv2.remap(coarse, columns, rows, cv2.INTER_LINEAR).ravel()[: len(x)]
    k = np.clip((guess / STEP_M + 0.5).astype(np.int32), 0, len(line.xz) - 1)
    dx = x - line.xz[:, 0].astype(np.float32)[k]
    dz = z - line.xz[:, 1].astype(np.float32)[k]
    sin = np.sin(line.heading).astype(np.float32)[k]
    cos = np.cos(line.heading).astype(np.float32)[k]
    bend = line.curvature.astype(np.float32)[k]
    forward, right = dx * sin + dz * cos, dx * cos - dz * sin
    shrink = np.maximum(1.0 - bend * right, 0.3)
    along = k * np.float32(STEP_M) + forward / shrink
    return along, right - 0.5 * bend * forward * forward / shrink


def _shadows(
    world: World, grid: RayGrid, T_world_camera: FloatArray, index: npt.NDArray[np.int64]
) -> F32:
    """(N,) factors on the light of the ground, for cast shadows and hidden sky."""
    T_camera_world = np.linalg.inv(T_world_camera).astype(np.float64)
    factor = np.ones(len(index), dtype=np.float32)
    for polygons, dark in (
        (world.quads.shadows, world.appearance.shadow), (world.quads.contacts, 0.35),
    ):  # fmt: skip
        if dark > 0.97:
            continue
        mask: npt.NDArray = np.zeros((len(grid.y), len(grid.x)), dtype=np.uint8)
        for k in _in_view(polygons, grid, T_camera_world):
            outline = _project(world, polygons.outlines[k], grid, T_camera_world)
            if len(outline) > 2:
                cv2.fillConvexPoly(mask, outline, 255, cv2.LINE_AA, shift=4)
        mask = cv2.GaussianBlur(mask, (3, 3), 0)
        factor *= 1.0 + (dark - 1.0) / 255.0 * mask.ravel()[index]
    return factor


def _in_view(
    polygons: Polygons, grid: RayGrid, T_camera_world: FloatArray
) -> npt.NDArray[np.int64]:
    """Indices of the ground polygons that may be visible within SHADOW_FAR_M."""
    R, t, radius = T_camera_world[:3, :3], T_camera_world[:3, 3], polygons.radius
    x, z = (polygons.center @ R[i, [0, 2]] + t[i] for i in (0, 2))
    margin = radius + 2.0  # pitch and roll move a point on the ground by less
    visible = (z + margin > 1.0) & (z - margin < SHADOW_FAR_M)
    ahead = np.maximum(z, 0.0) + margin
    visible &= (x - margin < ahead * float(grid.x[-1])) & (x + margin > ahead * float(grid.x[0]))
    return np.flatnonzero(visible)


def _project(
    world: World, polygon: FloatArray, grid: RayGrid, T_camera_world: FloatArray
) -> npt.NDArray[np.int32]:
    """(K, 2) outline of a ground polygon on the sample grid, in 1/16 samples; may be empty."""
    R = T_camera_world[:3, :3]
    points = polygon @ R[:, [0, 2]].T + (R[:, 1] * world.ground_y + T_camera_world[:3, 3])
    if float(points[:, 2].min()) < NEAR_M:
        points = _clip_near(points)
    slopes = points[:, :2] / points[:, 2:]
    pixels = (slopes - [grid.x[0], grid.y[0]]) * [grid.fx, grid.fy]
    return np.clip(np.round(pixels * 16.0), -(2**20), 2**20).astype(np.int32)


def _clip_near(points: FloatArray) -> FloatArray:
    """The part of a convex polygon (K, 3) beyond the near plane; may be empty."""
    kept = []
    for p, q in zip(points, np.roll(points, -1, axis=0), strict=True):
        if p[2] >= NEAR_M:
            kept.append(p)
        if (p[2] - NEAR_M) * (q[2] - NEAR_M) < 0:
            kept.append(p + (NEAR_M - p[2]) / (q[2] - p[2]) * (q - p))
    return np.array(kept).reshape(-1, 3)


def _sky_light(
    world: World, grid: RayGrid, R_world_camera: FloatArray, index: npt.NDArray[np.int64]
) -> F32:
    x, y = _rays(grid, index)
    R = R_world_camera.astype(np.float32)
    right, down, ahead = (R[i, 0] * x + R[i, 1] * y + R[i, 2] for i in range(3))
    azimuth = np.arctan2(right, ahead)
    elevation = np.arctan2(-down, np.hypot(right, ahead))
    span = ground.SKY_TOP_RAD - ground.SKY_BOTTOM_RAD
    rows = (ground.SKY_TOP_RAD - elevation) / span * ground.SKY_ROWS - 0.5
    cols = (azimuth / (2 * np.pi)) % 1.0 * (ground.SKY_COLS - 1)
    light = _sample(world.sky, cols.astype(np.float32), rows.astype(np.float32))
    return light * np.float32(world.appearance.sky_gain)


def expose(world: World, light: F32, noise_seed: tuple[int, int]) -> RgbImage:
    """The image (H, W, 3) uint8 of the light of (2 H + 1, 2 W + 1, 3) samples."""
    tent = np.array([0.25, 0.5, 0.25], dtype=np.float32)
    image = cv2.sepFilter2D(light, -1, tent, tent)[1::2, 1::2]
    appearance = world.appearance
    height, width = image.shape[:2]
    image = image * (appearance.exposure / 255.0 * appearance.white).astype(np.float32)
    gray = image.mean(axis=2, keepdims=True)
    image = np.maximum(gray + appearance.saturation * (image - gray), 0.0)
    image = cv2.pow(image, appearance.gamma)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    image *= (255.0 * (1.0 - 0.5 * appearance.vignette * (x * x + y * y)))[..., None]
    if appearance.blur_px > 0.2:
        image = cv2.GaussianBlur(image, (3, 3), appearance.blur_px)
    rng = np.random.default_rng(noise_seed)
    image += appearance.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)
