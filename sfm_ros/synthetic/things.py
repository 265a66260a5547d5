"""Textures of what stands in a synthetic street: greenery, cars, rails, signs, and the sky."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.synthetic.noise import Color, Gray, blobs, fractal_noise, grainy, pick_color

LEAVES = [(70, 92, 40), (58, 84, 44), (92, 108, 52), (50, 70, 38), (84, 96, 40), (104, 112, 60)]
AUTUMN = [(150, 90, 40), (160, 110, 50), (130, 70, 40), (140, 130, 60)]


@dataclass(frozen=True)
class CarShape:
    """Side view of a vehicle in meters; ``outline`` goes over the roof from front to rear.

    ``glass`` names the segments of the outline that are windows; ``panes`` are side windows;
    ``doors`` says that the rear is a pair of doors as high as the vehicle.
    """

    length: float
    width: float
    outline: tuple[tuple[float, float], ...]
    glass: tuple[int, ...]
    panes: tuple[tuple[tuple[float, float], ...], ...]
    wheels: tuple[float, float]
    wheel_radius: float = 0.31
    doors: bool = False


CARS = (
    CarShape(  # hatchback
        4.0, 1.72,
        ((0.0, 0.2), (0.0, 0.62), (0.15, 0.76), (1.05, 0.95), (1.75, 1.42), (3.25, 1.44),
         (3.85, 0.98), (3.98, 0.7), (4.0, 0.2)),
        (3, 5),
        (((1.35, 0.97), (1.85, 1.35), (2.45, 1.37), (2.45, 0.97)),
         ((2.53, 0.97), (2.53, 1.37), (3.15, 1.36), (3.55, 0.99))), (0.75, 3.3)),
    CarShape(  # saloon
        4.6, 1.8,
        ((0.0, 0.2), (0.0, 0.6), (0.2, 0.72), (1.3, 0.92), (2.0, 1.4), (3.2, 1.41), (3.9, 1.02),
         (4.5, 0.95), (4.6, 0.7), (4.6, 0.2)),
        (3, 5),
        (((1.6, 0.94), (2.1, 1.33), (2.65, 1.34), (2.65, 0.95)),
         ((2.73, 0.95), (2.73, 1.34), (3.15, 1.33), (3.65, 1.0))), (0.85, 3.7)),
    CarShape(  # estate
        4.7, 1.82,
        ((0.0, 0.2), (0.0, 0.62), (0.2, 0.75), (1.25, 0.95), (1.95, 1.45), (4.1, 1.47),
         (4.6, 1.0), (4.7, 0.7), (4.7, 0.2)),
        (3, 5),
        (((1.55, 0.98), (2.05, 1.37), (2.6, 1.39), (2.6, 0.98)),
         ((2.68, 0.98), (2.68, 1.39), (3.4, 1.39), (3.4, 0.99)),
         ((3.48, 1.0), (3.48, 1.39), (3.98, 1.38), (4.3, 1.02))), (0.85, 3.75)),
    CarShape(  # off-roader
        4.5, 1.88,
        ((0.0, 0.28), (0.0, 0.78), (0.12, 0.98), (1.15, 1.08), (1.7, 1.66), (3.95, 1.68),
         (4.35, 1.12), (4.45, 0.8), (4.45, 0.28)),
        (3, 5),
        (((1.4, 1.12), (1.82, 1.58), (2.4, 1.6), (2.4, 1.12)),
         ((2.5, 1.12), (2.5, 1.6), (3.7, 1.59), (4.0, 1.16))), (0.8, 3.6), 0.36),
    CarShape(  # van
        5.0, 1.95,
        ((0.0, 0.25), (0.0, 0.8), (0.15, 1.0), (0.7, 1.15), (1.4, 1.95), (4.95, 2.05),
         (5.0, 1.9), (5.0, 0.25)),
        (3,),
        (((0.95, 1.2), (1.5, 1.8), (2.1, 1.82), (2.1, 1.2)),), (0.9, 4.0), 0.34),
    CarShape(  # lorry
        11.0, 2.5,
        ((0.0, 0.4), (0.0, 1.4), (0.1, 1.5), (0.3, 2.7), (2.1, 2.9), (2.3, 3.7), (10.9, 3.75),
         (11.0, 3.6), (11.0, 0.5)),
        (2,),
        (((0.5, 1.6), (0.7, 2.4), (1.6, 2.4), (1.6, 1.6)),), (1.3, 9.0), 0.48),
)  # fmt: skip

HIGH_VEHICLES = (
    CarShape(  # high van
        5.9, 2.0,
        ((0.0, 0.3), (0.0, 0.9), (0.15, 1.1), (0.8, 1.3), (1.6, 2.4), (2.2, 2.65), (5.85, 2.7),
         (5.9, 2.5), (5.9, 0.3)),
        (3,),
        (((1.1, 1.35), (1.75, 2.2), (2.4, 2.2), (2.4, 1.35)),), (1.0, 4.7), 0.34, True),
    CarShape(  # box lorry
        7.5, 2.4,
        ((0.0, 0.4), (0.0, 1.2), (0.1, 1.3), (0.35, 2.3), (1.6, 2.5), (1.7, 3.3), (7.4, 3.35),
         (7.5, 3.25), (7.5, 0.5)),
        (2,),
        (((0.5, 1.4), (0.7, 2.1), (1.4, 2.1), (1.4, 1.4)),), (1.2, 5.6), 0.42, True),
    CarShape(  # articulated lorry
        13.5, 2.5,
        ((0.0, 0.4), (0.0, 1.4), (0.1, 1.5), (0.3, 2.7), (2.1, 2.9), (2.3, 3.9), (13.4, 3.95),
         (13.5, 3.8), (13.5, 0.5)),
        (2,),
        (((0.5, 1.6), (0.7, 2.4), (1.6, 2.4), (1.6, 1.6)),), (1.3, 11.0), 0.5, True),
    CarShape(  # bus
        11.5, 2.5,
        ((0.0, 0.3), (0.0, 1.0), (0.1, 2.7), (0.4, 3.0), (11.3, 3.05), (11.5, 2.9), (11.5, 0.35)),
        (1,),
        tuple(
            ((x, 1.3), (x, 2.5), (x + 1.6, 2.5), (x + 1.6, 1.3)) for x in (0.6, 2.4, 4.2, 6.0, 7.8)
        ), (2.4, 8.6), 0.48),
)  # fmt: skip
"""What a street full of traffic has besides ``CARS``."""

CAR_PX = (96, 256)
"""Rows and columns of a vehicle's side; it spans the whole texture."""


def car_height(shape: CarShape) -> float:
    """Height of the roof in meters."""
    return max(y for _, y in shape.outline)


def car_side(shape: CarShape) -> tuple[Color, Gray]:
    """White vehicle seen from its side, front to the left, and its outline; tinted when placed."""
    rows, cols = CAR_PX
    scale = np.array([cols / shape.length, -rows / car_height(shape)])

    def pixels(points: tuple[tuple[float, float], ...]) -> np.ndarray:
        return (np.array(points) * scale + [0, rows]).astype(np.int32)

    rgb = np.full((rows, cols, 3), 225.0, dtype=np.float32)
    rgb *= np.linspace(1.05, 0.8, rows, dtype=np.float32)[:, None, None]
    alpha = np.zeros((rows, cols), dtype=np.float32)
    cv2.fillPoly(alpha, [pixels(shape.outline)], 255.0)
    # A pixel of margin: the panels that join the two sides must leave no slit.
    cv2.dilate(alpha, np.ones((3, 3), dtype=np.uint8), dst=alpha)
    for pane in shape.panes:
        cv2.fillPoly(rgb, [pixels(pane)], (42.0, 46.0, 52.0))
    sill = int(rows - 0.3 * rows / car_height(shape))
    rgb[sill:] *= 0.35
    for x in (0.36, 0.62):
        rgb[rows // 3 : sill, int(x * cols)] *= 0.6
    rgb[int(0.62 * rows)] *= 0.9
    radius = shape.wheel_radius
    for x in shape.wheels:
        center = tuple(int(v) for v in pixels(((x, radius),))[0])
        axes = (int(radius * scale[0]), int(-radius * scale[1]))
        cv2.ellipse(rgb, center, (axes[0] + 2, axes[1] + 2), 0, 0, 360, (15.0,) * 3, -1)
        cv2.ellipse(alpha, center, axes, 0, 0, 360, 255.0, -1)
        hub = (int(axes[0] * 0.6), int(axes[1] * 0.6))
        cv2.ellipse(rgb, center, hub, 0, 0, 360, (120.0,) * 3, -1)
    return rgb, alpha


def car_end(rear: bool) -> Color:
    """(64, 128, 3) lower front or rear of a white vehicle: lamps, grille, plate, bumper."""
    rgb = np.full((64, 128, 3), 215.0, dtype=np.float32)
    lamp = (190.0, 20.0, 15.0) if rear else (250.0, 250.0, 240.0)
    for x0, x1 in ((4, 22), (106, 124)):
        cv2.rectangle(rgb, (x0, 8), (x1, 22), lamp, -1)
    if not rear:
        cv2.rectangle(rgb, (36, 12), (92, 30), (35.0,) * 3, -1)
    cv2.rectangle(rgb, (46, 34), (82, 42), (240.0,) * 3, -1)
    rgb[46:] *= np.linspace(0.7, 0.15, 18, dtype=np.float32)[:, None, None]
    return rgb


def rear_doors(rng: np.random.Generator) -> Color:
    """(128, 128, 3) the rear of a white lorry: two doors with their bars, lamps at the bottom."""
    rgb = grainy(rng, 128, 128, np.array([215.0, 215.0, 215.0]), 0.02, 0.05)
    rgb[:, 62:66] *= 0.5
    for x in (30, 98):
        rgb[:104, x : x + 3] *= 0.75
    rgb[:3] *= 0.6
    rgb[104:] *= 0.25
    for x0, x1 in ((4, 20), (108, 124)):
        cv2.rectangle(rgb, (x0, 106), (x1, 114), (190.0, 20.0, 15.0), -1)
    cv2.rectangle(rgb, (50, 108), (78, 114), (240.0,) * 3, -1)
    return rgb


def car_panel(glass: bool) -> Color:
    """(32, 32, 3) bonnet and roof, or a windscreen that mirrors the sky towards its top."""
    if not glass:
        return np.full((32, 32, 3), 235.0, dtype=np.float32)
    rgb = np.tile(np.array([48.0, 54.0, 62.0], dtype=np.float32), (32, 32, 1))
    rgb *= np.linspace(1.7, 0.9, 32, dtype=np.float32)[:, None, None]
    rgb[:, :2] *= 0.5
    rgb[:, -2:] *= 0.5
    return rgb


def tree(rng: np.random.Generator, autumn: bool, conifer: bool) -> tuple[Color, Gray]:
    """(256, 256, 3) a tree with trunk and ragged crown, and its outline."""
    palette = AUTUMN + LEAVES[:2] if autumn and not conifer else LEAVES
    color = pick_color(rng, palette, 8.0)
    rgb = np.tile(color * 0.7, (256, 256, 1)).astype(np.float32)
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
    """(128, 256, 3) a low shrub, and its outline."""
    color = pick_color(rng, LEAVES, 8.0)
    rgb = np.tile(color * 0.6, (128, 256, 1)).astype(np.float32)
    alpha = np.zeros((128, 256), dtype=np.float32)
    x = rng.uniform(14, 242, 500)
    roof = 118 * (1 - np.abs(x / 128 - 1) ** rng.uniform(2.0, 4.0)) * rng.uniform(0.6, 1.0)
    y = 124 - rng.uniform(0, 1, 500) * np.maximum(roof, 8.0)
    blobs(rng, rgb, alpha, np.stack([x, np.maximum(y, 8)], axis=1), 4.5, color, 0.18)
    alpha[118:, 20:236] = 255.0
    return rgb * (1 + 0.08 * rng.standard_normal((128, 256, 1), dtype=np.float32)), alpha


def foliage(rng: np.random.Generator, height: int, width: int) -> Color:
    """(height, width, 3) a trimmed hedge or the face of a wood."""
    color = pick_color(rng, LEAVES, 8.0)
    rgb = np.tile(color * 0.75, (height, width, 1)).astype(np.float32)
    count = height * width // 40
    centers = rng.uniform([0, 0], [width, height], size=(count, 2))
    blobs(rng, rgb, None, centers, 5.0, color, 0.18)
    return rgb * (1 + 0.15 * fractal_noise(rng, height, width, (3, 6), 2))[..., None]


def wood(rng: np.random.Generator) -> tuple[Color, Gray]:
    """(128, 512, 3) the edge of a wood with its tree tops, and its outline."""
    rgb = foliage(rng, 128, 512)
    rgb *= np.linspace(1.15, 0.6, 128, dtype=np.float32)[:, None, None]
    tops = 26 + 9 * fractal_noise(rng, 1, 512, (1, 14), 4)[0]
    alpha = np.where(np.arange(128)[:, None] > tops, 255.0, 0.0).astype(np.float32)
    return rgb, alpha


def guard_rail(rng: np.random.Generator) -> tuple[Color, Gray]:
    """(64, 256, 3) eight meters of steel rail on posts, 0.8 m high, and its outline."""
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
    """(64, 256, 3) pales with gaps, and their outline."""
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
    """(64, 64, 3) a round, triangular or square traffic sign, and its outline."""
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


def panel(rng: np.random.Generator) -> Color:
    """(96, 256, 3) a direction sign over a motorway."""
    ground = pick_color(rng, [(20, 100, 60), (30, 70, 150)], 8.0)
    rgb = np.tile(ground, (96, 256, 1)).astype(np.float32)
    cv2.rectangle(rgb, (3, 3), (252, 92), (230.0,) * 3, 2)
    for row in (22, 44, 66):
        for x in range(20, int(rng.integers(120, 230)), 14):
            cv2.rectangle(rgb, (x, row), (x + 9, row + 11), (235.0,) * 3, -1)
    return rgb


def side_road(rng: np.random.Generator) -> Color:
    """(128, 512, 3) asphalt of a road that joins from the side, with its kerbs."""
    tone = rng.uniform(75, 120)
    rgb = grainy(rng, 128, 512, np.array([tone, tone, tone * 1.02]), 0.05, 0.05)
    rgb[:4] = rgb[-4:] = rng.uniform(120, 180)
    if rng.random() < 0.5:
        rgb[62:65] = 215.0
    return rgb


def hillside(rng: np.random.Generator) -> Color:
    """(256, 256, 3) dry or green grass with scrub, for banks along a road."""
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
