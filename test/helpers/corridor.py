"""A textured street with a closed form: road, two walls, and upright boards that may move.

It is drawn in milliseconds, from any pose, by one ray per pixel and a texture pyramid. World axes
are optical ones; the road is the plane ``y = HEIGHT_M``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, Frame
from sfm_ros.geometry import make_transform, so3_exp

CAMERA = CameraIntrinsics(width=704, height=224, fx=400, fy=400, cx=351.5, cy=100.0)
SMALL_CAMERA = CameraIntrinsics(width=352, height=112, fx=200, fy=200, cx=175.5, cy=50.0)
HEIGHT_M = 1.6
PERIOD_NS = 100_000_000
HALF_WIDTH_M = 5.0
_END_M = 400.0
_TEXELS_PER_M = 48.0
_LEVELS = 7
_SIZE = 1024
_SKY = 255.0


@dataclass(frozen=True, kw_only=True)
class Board:
    """An upright textured rectangle across the street, meters: its left, right and distance."""

    left: float
    right: float
    z: float
    top: float = -2.0
    bottom: float = HEIGHT_M


def ahead(steps_m: Sequence[float], yaw_deg: float = 0.0, pitch_deg: float = 0.0) -> FloatArray:
    """(N + 1, 4, 4) poses T_world_camera of a camera that moves along the street by these steps.

    It turns by ``yaw_deg`` in every step, and looks down by ``pitch_deg``.
    """
    poses = [np.eye(4)]
    step_turn = so3_exp([0.0, np.radians(yaw_deg), 0.0])
    for step_m in steps_m:
        poses.append(poses[-1] @ make_transform(step_turn, [0.0, 0.0, step_m]))
    tilt = make_transform(so3_exp([-np.radians(pitch_deg), 0.0, 0.0]), np.zeros(3))
    return np.stack([pose @ tilt for pose in poses])


def frames(poses: FloatArray, camera: CameraIntrinsics = CAMERA) -> Iterator[Frame]:
    """Frames at 10 Hz from these poses."""
    for index, pose in enumerate(poses):
        yield frame(index, draw(pose, camera, seed=index), camera)


def frame(index: float, rgb: np.ndarray, camera: CameraIntrinsics = CAMERA) -> Frame:
    """An image with the stamp of its index."""
    return Frame(stamp_ns=round((index + 1) * PERIOD_NS), rgb=rgb, intrinsics=camera)


def draw(
    T_world_camera: FloatArray,
    camera: CameraIntrinsics = CAMERA,
    boards: Sequence[Board] = (),
    seed: int = 0,
) -> np.ndarray:
    """(H, W, 3) uint8 with sensor noise of this seed."""
    depth, u, v, lod = _hits(T_world_camera, camera, boards)
    gray = _sampled(u, v, lod)
    gray[np.isinf(depth)] = _SKY
    noise = np.random.default_rng(seed).normal(0.0, 1.5, gray.shape)
    image = np.clip(np.rint(gray + noise), 0, 255).astype(np.uint8)
    return np.repeat(image[:, :, None], 3, axis=2)


def depth_map(
    T_world_camera: FloatArray, camera: CameraIntrinsics, boards: Sequence[Board] = ()
) -> DepthMap:
    """(H, W) depth in meters; that of the sky is 500."""
    return np.minimum(_hits(T_world_camera, camera, boards)[0], np.float32(500.0))


def _hits(
    T_world_camera: FloatArray, camera: CameraIntrinsics, boards: Sequence[Board]
) -> tuple[np.ndarray, ...]:
    """Depth, place on the surface and level of detail of each pixel, (H, W) each."""
    rays = (_rays(camera) @ T_world_camera[:3, :3].T).astype(np.float32)
    x, y, z = np.moveaxis(rays, 2, 0)
    at = T_world_camera[:3, 3].astype(np.float32)
    nearest = np.full(x.shape, np.inf, np.float32)
    u, v, lod = (np.zeros_like(nearest) for _ in range(3))
    for number, (depth, one, other, cosine, inside) in enumerate(_surfaces(x, y, z, at, boards)):
        with np.errstate(invalid="ignore"):
            hit = inside & (depth > 0) & (depth < nearest)
        nearest[hit] = depth[hit]
        u[hit], v[hit] = one[hit] + 5.3 * number, other[hit] + 3.1 * number
        # A pixel covers more along the view than across it; the mean blurs and flickers least.
        footprint = depth[hit] / camera.fx * _TEXELS_PER_M / np.sqrt(cosine[hit])
        lod[hit] = np.log2(footprint)
    return nearest, u, v, lod


_Surface = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _surfaces(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, at: np.ndarray, boards: Sequence[Board]
) -> Iterator[_Surface]:
    """Depth of each ray on each surface, its place on it, the cosine of incidence, whether hit."""
    length = np.sqrt(x * x + y * y + z * z)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (HEIGHT_M - at[1]) / y
        along = at[2] + depth * z
        yield depth, at[0] + depth * x, along, np.abs(y) / length, np.abs(along) < _END_M
        for side in (-1, 1):
            depth = (side * HALF_WIDTH_M - at[0]) / x
            along, down = at[2] + depth * z, at[1] + depth * y
            inside = (np.abs(along) < _END_M) & (down > -4.0) & (down < HEIGHT_M)
            yield depth, along, down, np.abs(x) / length, inside
        for board in boards:
            depth = (board.z - at[2]) / z
            across, down = at[0] + depth * x, at[1] + depth * y
            inside = (across > board.left) & (across < board.right)
            inside &= (down > board.top) & (down < board.bottom)
            yield depth, across - board.left, down, np.abs(z) / length, inside


def _rays(camera: CameraIntrinsics) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    return np.stack([x, y, np.ones_like(x)], axis=2)


@cache
def _pyramid() -> list[np.ndarray]:
    """A texture that repeats without a seam, of equal contrast in every octave, and its halves."""
    rng = np.random.default_rng(0)
    total = np.zeros((_SIZE, _SIZE), np.float32)
    for level in range(_LEVELS):
        size = _SIZE >> level
        noise = np.tile(rng.normal(size=(size, size)).astype(np.float32), (3, 3))
        octave = cv2.resize(noise, (3 * _SIZE, 3 * _SIZE), interpolation=cv2.INTER_CUBIC)
        octave = octave[_SIZE : 2 * _SIZE, _SIZE : 2 * _SIZE]
        total += 18.0 * octave / float(octave.std())
    levels = [total]
    for level in range(1, _LEVELS):
        size = _SIZE >> level
        levels.append(cv2.resize(levels[-1], (size, size), interpolation=cv2.INTER_AREA))
    return levels


def _sampled(u: np.ndarray, v: np.ndarray, lod: np.ndarray) -> np.ndarray:
    """(H, W) gray levels, blended between the two nearest levels of the pyramid."""
    gray = np.full(u.shape, 110.0, np.float32)
    lod = np.clip(lod, 0.0, _LEVELS - 1.0)
    for level, texture in enumerate(_pyramid()):
        weight = np.maximum(0.0, 1.0 - np.abs(lod - level))
        if not weight.any():
            continue
        scale, size = _TEXELS_PER_M / 2**level, len(texture)
        padded = np.pad(texture, (0, 1), mode="wrap")
        columns, rows = np.mod(u * scale, size), np.mod(v * scale, size)
        sample = cv2.remap(
            padded, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR
        )
        gray += weight * sample
    return gray
