"""Textures of greenery, rails, fences, signs and banks, with the (H, W) alpha of cutouts.

Colors are float (H, W, 3) RGB from 0 to 255, alpha is 0 or 255.
"""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.synthetic.noise import Color, Gray, blobs, flat, fractal_noise, grainy, pick_color

LEAVES = [(70, 92, 40), (58, 84, 44), (92, 108, 52), (50, 70, 38), (84, 96, 40), (104, 112, 60)]
AUTUMN = [(150, 90, 40), (160, 110, 50), (130, 70, 40), (140, 130, 60)]


def tree(rng: np.random.Generator, autumn: bool, conifer: bool) -> tuple[Color, Gray]:
    """(256, 256, 3) a tree with trunk and ragged crown, and its alpha."""
    palette = AUTUMN + LEAVES[:2] if autumn and not conifer else LEAVES
    color = pick_color(rng, palette, 8.0)
    rgb = flat(256, 256, color * 0.7)
    alpha = np.zeros((256, 256), dtype=np.float32)
    trunk = int(rng.integers(4, 8))
    bark = [float(c) for c in pick_color(rng, [(84, 70, 56), (110, 100, 88), (60, 52, 46)])]
    for target, value in ((rgb, bark), (alpha, 255.0)):
        cv2.line(target, (128, 255), (128, 120), value, trunk)
        for reach in rng.uniform(-60, 60, size=5):
            cv2.line(target, (128, 170), (int(128 + reach), 90), value, max(trunk // 2, 1))
    count = 800
    centers: Color
    if conifer:
        y = 240.0 * np.sqrt(rng.uniform(0.0, 0.85, count)) + 8
        centers = np.stack([128 + rng.uniform(-0.42, 0.42, count) * y, y], axis=1)
    else:
        centers = _crown(rng, count)
    blobs(rng, rgb, alpha, centers, rng.uniform(3.0, 6.5), color, 0.16)
    return rgb * (1 + 0.08 * rng.standard_normal((256, 256, 1), dtype=np.float32)), alpha


def _crown(rng: np.random.Generator, count: int) -> Color:
    lobes = rng.normal([128, 88], [32, 26], size=(7, 2))
    which = rng.integers(len(lobes), size=count)
    radius = 44.0 * np.sqrt(rng.random(count))
    angle = rng.uniform(0, 2 * np.pi, count)
    offset = np.stack([np.cos(angle), 0.85 * np.sin(angle)], axis=1) * radius[:, None]
    return np.clip(lobes[which] + offset, [12, 10], [243, 190])


def bush(rng: np.random.Generator) -> tuple[Color, Gray]:
    """(128, 256, 3) a low shrub, and its alpha."""
    color = pick_color(rng, LEAVES, 8.0)
    rgb = flat(128, 256, color * 0.6)
    alpha = np.zeros((128, 256), dtype=np.float32)
    x = rng.uniform(14, 242, 500)
    roof = 118 * (1 - np.abs(x / 128 - 1) ** rng.uniform(2.0, 4.0)) * rng.uniform(0.6, 1.0)
    y = 124 - rng.uniform(0, 1, 500) * np.maximum(roof, 8.0)
    blobs(rng, rgb, alpha, np.stack([x, np.maximum(y, 8)], axis=1), 4.5, color, 0.18)
    alpha[118:, 20:236] = 255.0
    return rgb * (1 + 0.08 * rng.standard_normal((128, 256, 1), dtype=np.float32)), alpha


def foliage(rng: np.random.Generator, height: int, width: int) -> Color:
    """(height, width, 3) a trimmed hedge, or the foliage of a wood."""
    color = pick_color(rng, LEAVES, 8.0)
    rgb = flat(height, width, color * 0.75)
    count = height * width // 40
    centers = rng.uniform([0, 0], [width, height], size=(count, 2))
    blobs(rng, rgb, None, centers, 5.0, color, 0.18)
    return rgb * (1 + 0.15 * fractal_noise(rng, height, width, (3, 6), 2))[..., None]


def wood(rng: np.random.Generator) -> tuple[Color, Gray]:
    """(128, 512, 3) the edge of a wood with its tree tops, and its alpha."""
    rgb = foliage(rng, 128, 512)
    rgb *= np.linspace(1.15, 0.6, 128, dtype=np.float32)[:, None, None]
    tops = 26 + 9 * fractal_noise(rng, 1, 512, (1, 14), 4)[0]
    alpha = np.where(np.arange(128)[:, None] > tops, 255.0, 0.0).astype(np.float32)
    return rgb, alpha


def guard_rail(rng: np.random.Generator) -> tuple[Color, Gray]:
    """(64, 256, 3) eight meters of steel rail on posts, 0.8 m high, and its alpha."""
    tone = rng.uniform(130, 200)
    rgb = grainy(rng, 64, 256, np.array([tone, tone, tone * 1.02]), 0.03, 0.05)
    alpha = np.zeros((64, 256), dtype=np.float32)
    for x in range(16, 256, 64):
        alpha[16:, x : x + 5] = 255.0
        rgb[16:, x : x + 5] *= 0.6
    alpha[2:28] = 255.0
    profile = 0.85 + 0.25 * np.cos(np.linspace(0, 4 * np.pi, 26, dtype=np.float32))
    rgb[2:28] *= profile[:, None, None]
    return rgb, alpha


def fence(rng: np.random.Generator) -> tuple[Color, Gray]:
    """(64, 256, 3) a fence of pales with gaps, and its alpha."""
    color = pick_color(rng, [(110, 80, 56), (200, 200, 196), (70, 76, 72), (130, 110, 90)])
    rgb = grainy(rng, 64, 256, color, 0.05, 0.08)
    alpha = np.zeros((64, 256), dtype=np.float32)
    step = int(rng.integers(6, 13))
    gap = int(rng.integers(1, step // 2 + 1))
    for x in range(0, 256, step):
        alpha[2:, x : x + step - gap] = 255.0
        rgb[:, x] *= 0.7
    alpha[10:16] = alpha[46:52] = 255.0
    return rgb, alpha


def sign(rng: np.random.Generator) -> tuple[Color, Gray]:
    """(64, 64, 3) a round, triangular or square traffic sign, and its alpha."""
    rgb = np.full((64, 64, 3), 235.0, dtype=np.float32)
    alpha = np.zeros((64, 64), dtype=np.float32)
    red, blue = (190.0, 30.0, 30.0), (30.0, 70.0, 160.0)
    kind = int(rng.integers(4))
    if kind == 0:
        for target, ring in ((rgb, red), (alpha, 255.0)):
            cv2.circle(target, (32, 32), 30, ring, -1)
        cv2.circle(rgb, (32, 32), 21, (240.0, 240.0, 240.0), -1)
        cv2.rectangle(rgb, (22, 26), (42, 38), (30.0, 30.0, 30.0), -1)
    elif kind == 1:
        points = np.array([[32, 4], [62, 58], [2, 58]], dtype=np.int32)
        for target, edge in ((rgb, red), (alpha, 255.0)):
            cv2.fillPoly(target, [points], edge)
        cv2.fillPoly(rgb, [np.array([[32, 20], [48, 50], [16, 50]], dtype=np.int32)], (240.0,) * 3)
    elif kind == 2:
        for target, face in ((rgb, blue), (alpha, 255.0)):
            cv2.circle(target, (32, 32), 30, face, -1)
        cv2.arrowedLine(rgb, (32, 50), (32, 14), (240.0,) * 3, 5, tipLength=0.4)
    else:
        alpha[4:60, 4:60] = 255.0
        rgb[4:60, 4:60] = blue if rng.random() < 0.5 else (220.0, 190.0, 40.0)
        rgb[18:46, 24:40] = 240.0
    return rgb, alpha


def direction_sign(rng: np.random.Generator) -> Color:
    """(96, 256, 3) a direction sign over a motorway."""
    ground = pick_color(rng, [(20, 100, 60), (30, 70, 150)], 8.0)
    rgb = flat(96, 256, ground)
    cv2.rectangle(rgb, (3, 3), (252, 92), (230.0,) * 3, 2)
    for row in (22, 44, 66):
        for x in range(20, int(rng.integers(120, 230)), 14):
            cv2.rectangle(rgb, (x, row), (x + 9, row + 11), (235.0,) * 3, -1)
    return rgb


def side_road(rng: np.random.Generator) -> Color:
    """(128, 512, 3) asphalt of a side road, with its curbs."""
    tone = rng.uniform(75, 120)
    rgb = grainy(rng, 128, 512, np.array([tone, tone, tone * 1.02]), 0.05, 0.05)
    rgb[:4] = rgb[-4:] = rng.uniform(120, 180)
    if rng.random() < 0.5:
        rgb[62:65] = 215.0
    return rgb


def hillside(rng: np.random.Generator) -> Color:
    """(256, 256, 3) dry or green grass with shrubs, for banks along a road."""
    color = pick_color(rng, [(168, 144, 96), (150, 132, 84), (100, 110, 60), (120, 118, 70)])
    soft = fractal_noise(rng, 256, 256, (5, 5), 5)
    rgb = (
        color
        * (1 + 0.12 * soft + 0.08 * rng.standard_normal((256, 256), dtype=np.float32))[..., None]
    )
    centers = rng.uniform(0, 256, size=(int(rng.integers(0, 60)), 2))
    if len(centers):
        blobs(rng, rgb, None, centers, 6.0, pick_color(rng, LEAVES), 0.2)
    return rgb.astype(np.float32)
