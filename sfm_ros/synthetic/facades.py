"""Textures of facades, roofs and walls: float (H, W, 3) RGB from 0 to 255."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.synthetic.noise import Color, courses, flat, fractal_noise, grainy, pick_color

FACADE_PX = (384, 512)
"""Rows and columns of a facade."""
METERS_PER_PX = 0.04
"""A facade is 15.4 m high and 20.5 m wide."""

PLASTER = [
    (226, 220, 205), (236, 234, 230), (214, 196, 156), (205, 178, 140), (196, 190, 182),
    (222, 190, 160), (170, 160, 150), (208, 206, 190), (190, 140, 105), (240, 236, 220),
]  # fmt: skip
MASONRY = [(150, 86, 66), (132, 74, 58), (168, 112, 84), (140, 118, 94), (120, 96, 84)]
OFFICE = [(120, 124, 128), (160, 160, 158), (92, 98, 106), (188, 184, 176)]
ROOFS = [(140, 70, 50), (110, 60, 48), (88, 84, 84), (70, 66, 68), (156, 92, 66), (120, 108, 98)]
SHUTTERS = [(70, 90, 70), (110, 60, 45), (90, 90, 96), (150, 150, 140), (60, 70, 96)]


@dataclass(frozen=True, kw_only=True)
class FacadePlan:
    """The grid of windows of a facade.

    Attributes:
        storey, bay: height and width of a cell, meters.
        window: width and height, meters.
        sill: height above the floor, meters.
        frame, shutter: colors (3,); None means no shutters.
        arched: whether the windows have arches.
        shop: whether the ground floor is a shop.
    """

    storey: float
    bay: float
    window: tuple[float, float]
    sill: float
    frame: Color
    shutter: Color | None
    arched: bool
    shop: bool


def facade(rng: np.random.Generator) -> Color:
    """(384, 512, 3) a wall with storeys of windows, the ground floor at the lower edge."""
    height, width = FACADE_PX
    kind = rng.choice(["plaster", "masonry", "office"], p=[0.6, 0.28, 0.12])
    rgb = _wall(rng, kind, height, width)
    plan = _plan(rng, kind)
    storey_px = plan.storey / METERS_PER_PX
    for level in range(int(height / storey_px) + 1):
        bottom = height - level * storey_px
        if level == 0:
            _ground_floor(rng, rgb, plan, bottom)
        else:
            _window_row(rng, rgb, plan, bottom)
    if rng.random() < 0.4:
        for level in range(1, int(height / storey_px) + 1):
            y = int(height - level * storey_px)
            rgb[y - 2 : y + 1] *= rng.choice([0.8, 1.12])
    plinth = int(rng.uniform(0.2, 1.0) / METERS_PER_PX)
    rgb[-plinth:] *= rng.uniform(0.6, 1.0)
    soot = np.linspace(1.0, rng.uniform(0.8, 1.0), height, dtype=np.float32)
    return rgb * soot[:, None, None]


def _wall(rng: np.random.Generator, kind: str, height: int, width: int) -> Color:
    if kind == "masonry":
        rgb = grainy(rng, height, width, pick_color(rng, MASONRY), 0.06, 0.06)
        stone = int(rng.integers(3, 9))
        rgb *= courses(height, width, stone, stone * 2, rng.uniform(0.72, 0.92))[..., None]
        rows = -(-height // stone)
        cols = -(-width // (2 * stone))
        tone = 1 + 0.1 * rng.standard_normal((rows, cols), dtype=np.float32)
        patches = cv2.resize(
            tone, (cols * 2 * stone, rows * stone), interpolation=cv2.INTER_NEAREST
        )
        return rgb * patches[:height, :width, None]
    palette = PLASTER if kind == "plaster" else OFFICE
    return grainy(rng, height, width, pick_color(rng, palette), 0.025, rng.uniform(0.01, 0.06))


def _plan(rng: np.random.Generator, kind: str) -> FacadePlan:
    bay = rng.uniform(1.8, 4.2)
    wide = rng.uniform(0.4, 0.6) if kind != "office" else rng.uniform(0.7, 0.92)
    storey = rng.uniform(2.6, 3.5)
    return FacadePlan(
        storey=storey,
        bay=bay,
        window=(min(bay * wide, 2.4), storey * rng.uniform(0.42, 0.6)),
        sill=storey * rng.uniform(0.22, 0.32),
        frame=pick_color(rng, [(235, 235, 232), (235, 235, 232), (90, 60, 40), (60, 60, 64)]),
        shutter=pick_color(rng, SHUTTERS) if kind == "plaster" and rng.random() < 0.35 else None,
        arched=bool(kind == "masonry" and rng.random() < 0.3),
        shop=bool(rng.random() < 0.25),
    )


def _window_row(rng: np.random.Generator, rgb: Color, plan: FacadePlan, bottom: float) -> None:
    bays = int(rgb.shape[1] * METERS_PER_PX / plan.bay)
    balcony = rng.random() < 0.12
    for bay in range(bays):
        center = (bay + 0.5) * rgb.shape[1] / bays
        if rng.random() < 0.05:
            continue
        _window(rng, rgb, plan, center, bottom - plan.sill / METERS_PER_PX, plan.window)
        if balcony and bay % 2:
            _balcony(rng, rgb, center, bottom, plan.bay / METERS_PER_PX)


def _window(
    rng: np.random.Generator,
    rgb: Color,
    plan: FacadePlan,
    center: float,
    sill: float,
    size_m: tuple[float, float],
) -> None:
    half, tall = size_m[0] / METERS_PER_PX / 2, size_m[1] / METERS_PER_PX
    x0, x1, y0, y1 = int(center - half), int(center + half), int(sill - tall), int(sill)
    if y1 <= 2 or x0 < 2 or x1 > rgb.shape[1] - 3:
        return
    y0 = max(y0, 2)
    if plan.shutter is not None:
        side = max((x1 - x0) // 2, 3)
        rgb[y0:y1, max(x0 - side, 0) : x1 + side] = plan.shutter
        rgb[y0:y1:3, max(x0 - side, 0) : x1 + side] *= 0.8
    rgb[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2] = plan.frame
    if plan.arched:
        rgb[y0 - 4 : y0 - 2, x0 - 2 : x1 + 2] *= 0.75
    rgb[y0:y1, x0:x1] = _glass(rng, y1 - y0, x1 - x0)
    middle = (x0 + x1) // 2
    if x1 - x0 > 14:
        rgb[y0:y1, middle : middle + 2] = plan.frame
    if y1 - y0 > 24 and rng.random() < 0.3:
        rgb[y0 + 8 : y0 + 10, x0:x1] = plan.frame
    rgb[y1 + 1 : y1 + 3, x0 - 3 : x1 + 3] *= 0.7


def _glass(rng: np.random.Generator, height: int, width: int) -> Color:
    """(height, width, 3) dark glass with a slanted reflection of the sky, often with a blind."""
    dark = rng.uniform(20, 70) + np.array([0, 4, 10], dtype=np.float32)
    pane = flat(height, width, dark)
    y, x = np.mgrid[:height, :width]
    pane += (rng.uniform(0, 70) * ((x + y) / (height + width) > rng.uniform(0.3, 0.9)))[..., None]
    if rng.random() < 0.3:
        pane[: int(height * rng.uniform(0.2, 1.0))] = rng.uniform(120, 215)
    pane[:2] *= 0.5
    return pane


def _balcony(
    rng: np.random.Generator, rgb: Color, center: float, bottom: float, width: float
) -> None:
    x0, x1 = max(int(center - 0.45 * width), 0), int(center + 0.45 * width)
    y1 = int(bottom)
    y0 = y1 - 24
    if y0 < 0:
        return
    rgb[y0:y1, x0:x1] = rgb[y0:y1, x0:x1] * 0.5 + rng.uniform(20, 110)
    rgb[y1 : y1 + 4, x0:x1] *= 0.5


def _ground_floor(rng: np.random.Generator, rgb: Color, plan: FacadePlan, bottom: float) -> None:
    """Doors, garage doors, shop windows or plain windows."""
    bays = int(rgb.shape[1] * METERS_PER_PX / plan.bay)
    if plan.shop:
        top = int(bottom - plan.storey / METERS_PER_PX)
        rgb[top : top + 16] = pick_color(rng, [(180, 40, 40), (40, 70, 120), (60, 60, 60),
                                                (200, 190, 60), (40, 110, 70)], 25.0)  # fmt: skip
        rgb[top + 16 : int(bottom)] *= 0.8
    for bay in range(bays):
        center = (bay + 0.5) * rgb.shape[1] / bays
        if plan.shop:
            _window(rng, rgb, plan, center, bottom - 12, (plan.bay * 0.85, plan.storey - 1.3))
        elif rng.random() < 0.22:
            _door(rng, rgb, center, bottom, 1.0 if rng.random() < 0.7 else min(2.6, plan.bay))
        else:
            _window(rng, rgb, plan, center, bottom - plan.sill / METERS_PER_PX - 4, plan.window)


def _door(
    rng: np.random.Generator, rgb: Color, center: float, bottom: float, width_m: float
) -> None:
    half, tall = int(width_m / METERS_PER_PX / 2), int(rng.uniform(2.0, 2.3) / METERS_PER_PX)
    x0, x1, y1 = max(int(center) - half, 0), int(center) + half, int(bottom)
    color = pick_color(rng, [*SHUTTERS, (200, 200, 198), (130, 90, 60)])
    rgb[y1 - tall - 2 : y1, max(x0 - 2, 0) : x1 + 2] *= 0.7
    rgb[y1 - tall : y1, x0:x1] = color
    rgb[y1 - tall : y1 : 8, x0:x1] *= 0.88


def roof(rng: np.random.Generator) -> Color:
    """(256, 256, 3) rows of tiles, about 5 cm per pixel."""
    rgb = grainy(rng, 256, 256, pick_color(rng, ROOFS), 0.06, 0.08)
    rgb[:: int(rng.integers(5, 9))] *= rng.uniform(0.65, 0.85)
    rgb *= courses(256, 256, 6, 8, 0.94)[..., None]
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            x, y = rng.integers(20, 210, size=2)
            rgb[y : y + 24, x : x + 18] = _glass(rng, 24, 18)
    return rgb


def garden_wall(rng: np.random.Generator) -> Color:
    """(64, 256, 3) a low wall, about 3 cm per pixel."""
    rgb = grainy(rng, 64, 256, pick_color(rng, MASONRY + PLASTER[:6]), 0.05, 0.1)
    if rng.random() < 0.7:
        stone = int(rng.integers(4, 12))
        rgb *= courses(64, 256, stone, 2 * stone, rng.uniform(0.6, 0.9))[..., None]
    rgb[:4] *= 1.15
    rgb[-10:] *= np.linspace(0.95, 0.6, 10, dtype=np.float32)[:, None, None]
    return rgb


def concrete_barrier(rng: np.random.Generator) -> Color:
    """(64, 512, 3) a motorway's concrete median with stains and joints."""
    tone = rng.uniform(80, 175)
    rgb = grainy(rng, 64, 512, np.array([tone, tone * 0.99, tone * 0.96]), 0.04, 0.06)
    streaks = fractal_noise(rng, 1, 512, (1, 40), 3)
    rgb *= 1.0 + 0.06 * streaks[..., None]
    rgb[:, ::128] *= 0.6
    rgb[:3] *= 1.2
    rgb[-14:] *= np.linspace(0.9, 0.55, 14, dtype=np.float32)[:, None, None]
    return rgb


def gable(rng: np.random.Generator) -> tuple[Color, Color]:
    """(64, 128, 3) the triangle of wall under a roof, and its alpha (64, 128)."""
    rgb = grainy(rng, 64, 128, pick_color(rng, PLASTER + MASONRY[:2]), 0.03, 0.04)
    rgb[26:46, 56:72] = _glass(rng, 20, 16)
    alpha = np.zeros((64, 128), dtype=np.float32)
    cv2.fillPoly(alpha, [np.array([[0, 63], [64, 0], [127, 63]], dtype=np.int32)], 255.0)
    return rgb, alpha
