"""Textures of the ground, over arc length and lateral offset, and of the sky."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import RgbImage
from sfm_ros.synthetic.noise import Color, fractal_noise, pick_color

ROW_M, COL_M = 0.1, 0.05
"""Size of a texel along and across the street."""
ROWS, COLS = 2048, 1024
PERIOD_M = ROWS * ROW_M
"""The ground repeats along the street with this period."""
HALF_M = COLS * COL_M / 2
"""The texture covers lateral offsets up to this on both sides."""
LEVELS = 8

ASPHALT = [(98, 98, 100), (84, 84, 88), (120, 118, 114), (70, 70, 74), (108, 104, 100)]
PAVING = [(150, 144, 136), (128, 122, 116), (168, 160, 150), (140, 120, 108)]
GRASS = [(92, 104, 52), (78, 96, 46), (116, 112, 64), (132, 120, 76), (70, 84, 44)]


@dataclass(frozen=True, kw_only=True)
class RoadPlan:
    """Cross-section of a street; lateral offsets in meters, right positive.

    Attributes:
        left, right: edges of the asphalt (left is negative).
        sidewalk: width of the sidewalk on both sides, 0 for none.
        lines: (lateral offset, width, dash length, gap length, 0 white or 1 yellow); a gap of 0
            makes a solid line.
        lane: lateral offset of the camera's lane.
        parking: whether cars are parked along the edges.
        motorway: without crossings, manholes and houses.
    """

    left: float
    right: float
    sidewalk: float
    lines: tuple[tuple[float, float, float, float, int], ...]
    lane: float
    parking: bool
    motorway: bool


@dataclass(frozen=True, eq=False)
class GroundTexture:
    """Reductions of the ground, one below the other.

    Level n has ``2**n`` times longer texels along the street. Their width suits the distance at
    which that length is one image row, because perspective shortens a road more than it narrows
    it.

    Attributes:
        rgb: (rows, COLS, 3) uint8.
        first_row: (LEVELS,) row of s = 0 in each level.
        row_scale, col_scale: (LEVELS,) texels per meter.
        detail: (256, 256) float32 factors around one with a period of 4 m: the grain nearby.
    """

    rgb: RgbImage
    first_row: npt.NDArray[np.float32]
    row_scale: npt.NDArray[np.float32]
    col_scale: npt.NDArray[np.float32]
    detail: npt.NDArray[np.float32]


def build_ground(
    rng: np.random.Generator, plan: RoadPlan, fx: float, height: float
) -> GroundTexture:
    """Paint the ground, and reduce it for a camera of ``fx`` pixels at ``height`` meters."""
    base: npt.NDArray = np.clip(_paint(rng, plan), 0, 255).astype(np.uint8)
    blocks, first, row_scale, col_scale = [], [], [], []
    top = 0
    for level in range(LEVELS):
        rows = ROWS >> level
        distance = np.sqrt(2.0 * fx * height * ROW_M * 2**level)
        narrowing = int(np.clip(np.floor(np.log2(distance / (2.0 * fx * COL_M))), 0, 5))
        cols = COLS >> narrowing
        base = cv2.resize(base, (COLS, rows), interpolation=cv2.INTER_AREA) if level else base
        small = cv2.resize(base, (cols, rows), interpolation=cv2.INTER_AREA)
        block = np.zeros((rows + 4, COLS, 3), dtype=np.uint8)
        block[:, :cols] = np.pad(small, ((2, 2), (0, 0), (0, 0)), mode="wrap")
        block[:, cols:] = block[:, cols - 1 : cols]
        blocks.append(block)
        first.append(top + 2 - 0.5)
        row_scale.append(rows / PERIOD_M)
        col_scale.append(cols / (2 * HALF_M))
        top += rows + 4
    fine = fractal_noise(rng, 256, 256, (64, 64), 3)
    return GroundTexture(
        rgb=np.concatenate(blocks),
        first_row=np.array(first, dtype=np.float32),
        row_scale=np.array(row_scale, dtype=np.float32),
        col_scale=np.array(col_scale, dtype=np.float32),
        detail=(1.0 + rng.uniform(0.04, 0.11) * fine).astype(np.float32),
    )


def _paint(rng: np.random.Generator, plan: RoadPlan) -> Color:
    lateral = (np.arange(COLS) + 0.5) * COL_M - HALF_M
    rgb = _verge(rng)
    if plan.sidewalk:
        for edge, sign in ((plan.left, -1), (plan.right, 1)):
            beyond = sign * (lateral - edge)
            _paint_sidewalk(rng, rgb, (beyond > 0) & (beyond < plan.sidewalk))
    road = (lateral > plan.left) & (lateral < plan.right)
    rgb[:, road] = _asphalt(rng, plan, lateral[road])
    if plan.sidewalk:
        curb = rng.uniform(120, 190)
        for edge, sign in ((plan.left, -1), (plan.right, 1)):
            beyond = sign * (lateral - edge)
            rgb[:, (beyond > -0.02) & (beyond < 0.14)] = curb
            rgb[:, (beyond > -0.22) & (beyond < -0.02)] *= 0.8
        rgb[::10, (lateral > plan.right) & (lateral < plan.right + 0.14)] *= 0.8
    worn = np.clip(1.0 - 0.25 * fractal_noise(rng, ROWS, COLS, (60, 30), 3), 0.45, 1.0)
    for line in plan.lines:
        _line(rgb, lateral, line, worn)
    if not plan.motorway and rng.random() < 0.5:
        _crosswalk(rng, rgb, lateral, plan, worn)
    return rgb


def _verge(rng: np.random.Generator) -> Color:
    """(ROWS, COLS, 3) grass with worn and dry patches."""
    color = pick_color(rng, GRASS, 10.0)
    dry = pick_color(rng, [(140, 124, 84), (120, 104, 76)], 10.0)
    mix = np.clip(0.35 + 0.35 * fractal_noise(rng, ROWS, COLS, (24, 12), 4), 0, 1)[..., None]
    grain = 1 + 0.12 * rng.standard_normal((ROWS, COLS, 1), dtype=np.float32)
    rgb = (1 - mix) * color
    rgb += mix * dry
    rgb *= grain
    return rgb


def _paint_sidewalk(rng: np.random.Generator, rgb: Color, columns: npt.NDArray[np.bool_]) -> None:
    width = int(columns.sum())
    if not width:
        return
    color = pick_color(rng, PAVING)
    tone = 1 + 0.04 * rng.standard_normal((ROWS, width, 1), dtype=np.float32)
    soft = 1 + 0.05 * fractal_noise(rng, ROWS, width, (40, 2), 3)[..., None]
    slab = color * tone * soft
    if rng.random() < 0.7:
        slab[:: int(rng.integers(3, 8))] *= 0.85
        slab[:, :: int(rng.integers(6, 14))] *= 0.85
    rgb[:, columns] = slab


def _asphalt(rng: np.random.Generator, plan: RoadPlan, lateral: npt.NDArray) -> Color:
    width = len(lateral)
    color = pick_color(rng, ASPHALT, 10.0)
    tone = 1 + 0.05 * rng.standard_normal((ROWS, width), dtype=np.float32)
    tone += rng.uniform(0.02, 0.06) * fractal_noise(rng, ROWS, width, (20, 3), 4)
    tone += rng.uniform(0.0, 0.05) * fractal_noise(rng, 1, width, (1, 12), 2)
    for side in (-0.75, 0.75):  # tires polish or blacken two tracks
        offset = (lateral - plan.lane - side) / 0.3
        tone -= rng.uniform(-0.04, 0.1) * np.exp(-(offset**2)).astype(np.float32)
    for _ in range(int(rng.integers(0, 14))):  # repairs
        row, col = rng.integers(ROWS), rng.integers(max(width - 20, 1))
        tall, wide = rng.integers(10, 160), rng.integers(12, 90)
        tone[row : row + tall, col : col + wide] *= rng.uniform(0.72, 1.12)
    canvas = np.ascontiguousarray(tone)
    for _ in range(int(rng.integers(0, 30))):  # cracks and tar seams
        start = rng.uniform([0, 0], [width, ROWS])
        steps = rng.normal(0, [3.0, 6.0], size=(12, 2)) + rng.normal(0, [3, 6], size=2)
        points = (start + np.cumsum(steps, axis=0)).astype(np.int32)
        cv2.polylines(canvas, [points], False, float(rng.uniform(0.55, 0.8)), 1, cv2.LINE_AA)
    if not plan.motorway:
        for _ in range(int(rng.integers(2, 12))):  # manholes; texels are twice as long as wide
            center = (int(rng.integers(width)), int(rng.integers(ROWS)))
            cv2.ellipse(canvas, center, (6, 3), 0, 0, 360, float(rng.uniform(0.5, 0.75)), -1)
    return color * canvas[..., None]


def _line(
    rgb: Color,
    lateral: npt.NDArray,
    line: tuple[float, float, float, float, int],
    worn: npt.NDArray,
) -> None:
    offset, width, dash, gap, yellow = line
    cover = np.clip((width / 2 - np.abs(lateral - offset)) / COL_M + 0.5, 0, 1)[None]
    s = (np.arange(ROWS) + 0.5) * ROW_M
    if gap:
        count = max(int(round(PERIOD_M / (dash + gap))), 1)
        phase = (s * count / PERIOD_M) % 1.0
        cover = cover * (phase < dash / (dash + gap))[:, None]
    color = np.array([206, 160, 50] if yellow else [222, 222, 216], dtype=np.float32)
    columns = np.flatnonzero(cover.max(axis=0))
    opacity = (0.9 * cover[:, columns] * worn[:, columns])[..., None].astype(np.float32)
    rgb[:, columns] = rgb[:, columns] * (1 - opacity) + color * opacity


def _crosswalk(
    rng: np.random.Generator, rgb: Color, lateral: npt.NDArray, plan: RoadPlan, worn: npt.NDArray
) -> None:
    row = int(rng.integers(0, ROWS - 40))
    bars = ((lateral % 1.0) < 0.5) & (lateral > plan.left + 0.2) & (lateral < plan.right - 0.2)
    part = rgb[row : row + 35, bars]
    opacity = (0.9 * worn[row : row + 35, bars])[..., None]
    rgb[row : row + 35, bars] = part * (1 - opacity) + 222.0 * opacity


SKY_ROWS, SKY_COLS = 256, 1024
SKY_TOP_RAD, SKY_BOTTOM_RAD = 0.7, -0.06
"""Elevation angles of the upper and lower edge of the panorama."""


def build_sky(rng: np.random.Generator, motorway: bool) -> tuple[RgbImage, Color]:
    """(256, 1024, 3) panorama of sky and far ridges, and the (3,) color of the haze."""
    elevation = np.linspace(SKY_TOP_RAD, SKY_BOTTOM_RAD, SKY_ROWS, dtype=np.float32)[:, None]
    clear = rng.random() < 0.55
    zenith = pick_color(rng, [(84, 132, 200), (110, 156, 214)] if clear else [(190, 196, 204)])
    horizon = pick_color(rng, [(214, 226, 238), (236, 238, 240)], 8.0)
    blend = np.clip(elevation / SKY_TOP_RAD, 0, 1)[..., None] ** 0.6
    rgb = horizon * (1 - blend) + zenith * blend
    clouds = fractal_noise(rng, SKY_ROWS, SKY_COLS, (4, 6), 5)
    cover = np.clip((clouds - rng.uniform(-0.8, 1.5)) * 0.6, 0, 1)[..., None]
    cloud = np.array([244, 244, 246], dtype=np.float32) * (1 + 0.06 * clouds[..., None])
    rgb = rgb * (1 - 0.85 * cover) + cloud * 0.85 * cover
    for distance in (0.75, 0.4):
        height = rng.uniform(0.005, 0.09 if motorway else 0.04)
        ridge = height * (1 + 0.5 * fractal_noise(rng, 1, SKY_COLS, (1, 8), 4)[0])
        mask = np.clip((ridge[None] - elevation) / 0.003 + 0.5, 0, 1)[..., None]
        land = pick_color(rng, GRASS + [(80, 90, 70)], 8.0) * 0.8
        texture = 1 + 0.12 * fractal_noise(rng, SKY_ROWS, SKY_COLS, (40, 160), 3)[..., None]
        rgb = rgb * (1 - mask) + (land * texture * (1 - distance) + horizon * distance) * mask
    return np.clip(rgb, 0, 255).astype(np.uint8), horizon
