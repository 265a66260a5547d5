"""Shapes and textures of vehicles."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sfm_ros.synthetic.noise import Color, Gray, flat, grainy


@dataclass(frozen=True)
class VehicleShape:
    """Side view of a vehicle in meters; x grows from front to rear, y upwards.

    Attributes:
        length, width: of the vehicle.
        outline: points from the front over the roof to the rear.
        glass: indices of the outline's segments that are windows.
        panes: outlines of the side windows.
        wheels: x of both axles.
        wheel_radius: of both.
        doors: whether the rear is a pair of doors as high as the vehicle.
    """

    length: float
    width: float
    outline: tuple[tuple[float, float], ...]
    glass: tuple[int, ...]
    panes: tuple[tuple[tuple[float, float], ...], ...]
    wheels: tuple[float, float]
    wheel_radius: float = 0.31
    doors: bool = False

    @property
    def height(self) -> float:
        """Height of the roof."""
        return max(y for _, y in self.outline)


CARS = (
    VehicleShape(  # hatchback
        4.0, 1.72,
        ((0.0, 0.2), (0.0, 0.62), (0.15, 0.76), (1.05, 0.95), (1.75, 1.42), (3.25, 1.44),
         (3.85, 0.98), (3.98, 0.7), (4.0, 0.2)),
        (3, 5),
        (((1.35, 0.97), (1.85, 1.35), (2.45, 1.37), (2.45, 0.97)),
         ((2.53, 0.97), (2.53, 1.37), (3.15, 1.36), (3.55, 0.99))), (0.75, 3.3)),
    VehicleShape(  # sedan
        4.6, 1.8,
        ((0.0, 0.2), (0.0, 0.6), (0.2, 0.72), (1.3, 0.92), (2.0, 1.4), (3.2, 1.41), (3.9, 1.02),
         (4.5, 0.95), (4.6, 0.7), (4.6, 0.2)),
        (3, 5),
        (((1.6, 0.94), (2.1, 1.33), (2.65, 1.34), (2.65, 0.95)),
         ((2.73, 0.95), (2.73, 1.34), (3.15, 1.33), (3.65, 1.0))), (0.85, 3.7)),
    VehicleShape(  # station wagon
        4.7, 1.82,
        ((0.0, 0.2), (0.0, 0.62), (0.2, 0.75), (1.25, 0.95), (1.95, 1.45), (4.1, 1.47),
         (4.6, 1.0), (4.7, 0.7), (4.7, 0.2)),
        (3, 5),
        (((1.55, 0.98), (2.05, 1.37), (2.6, 1.39), (2.6, 0.98)),
         ((2.68, 0.98), (2.68, 1.39), (3.4, 1.39), (3.4, 0.99)),
         ((3.48, 1.0), (3.48, 1.39), (3.98, 1.38), (4.3, 1.02))), (0.85, 3.75)),
    VehicleShape(  # off-roader
        4.5, 1.88,
        ((0.0, 0.28), (0.0, 0.78), (0.12, 0.98), (1.15, 1.08), (1.7, 1.66), (3.95, 1.68),
         (4.35, 1.12), (4.45, 0.8), (4.45, 0.28)),
        (3, 5),
        (((1.4, 1.12), (1.82, 1.58), (2.4, 1.6), (2.4, 1.12)),
         ((2.5, 1.12), (2.5, 1.6), (3.7, 1.59), (4.0, 1.16))), (0.8, 3.6), 0.36),
    VehicleShape(  # van
        5.0, 1.95,
        ((0.0, 0.25), (0.0, 0.8), (0.15, 1.0), (0.7, 1.15), (1.4, 1.95), (4.95, 2.05),
         (5.0, 1.9), (5.0, 0.25)),
        (3,),
        (((0.95, 1.2), (1.5, 1.8), (2.1, 1.82), (2.1, 1.2)),), (0.9, 4.0), 0.34),
    VehicleShape(  # truck
        11.0, 2.5,
        ((0.0, 0.4), (0.0, 1.4), (0.1, 1.5), (0.3, 2.7), (2.1, 2.9), (2.3, 3.7), (10.9, 3.75),
         (11.0, 3.6), (11.0, 0.5)),
        (2,),
        (((0.5, 1.6), (0.7, 2.4), (1.6, 2.4), (1.6, 1.6)),), (1.3, 9.0), 0.48),
)  # fmt: skip

HIGH_VEHICLES = (
    VehicleShape(  # high van
        5.9, 2.0,
        ((0.0, 0.3), (0.0, 0.9), (0.15, 1.1), (0.8, 1.3), (1.6, 2.4), (2.2, 2.65), (5.85, 2.7),
         (5.9, 2.5), (5.9, 0.3)),
        (3,),
        (((1.1, 1.35), (1.75, 2.2), (2.4, 2.2), (2.4, 1.35)),), (1.0, 4.7), 0.34, True),
    VehicleShape(  # box truck
        7.5, 2.4,
        ((0.0, 0.4), (0.0, 1.2), (0.1, 1.3), (0.35, 2.3), (1.6, 2.5), (1.7, 3.3), (7.4, 3.35),
         (7.5, 3.25), (7.5, 0.5)),
        (2,),
        (((0.5, 1.4), (0.7, 2.1), (1.4, 2.1), (1.4, 1.4)),), (1.2, 5.6), 0.42, True),
    VehicleShape(  # semi-trailer truck
        13.5, 2.5,
        ((0.0, 0.4), (0.0, 1.4), (0.1, 1.5), (0.3, 2.7), (2.1, 2.9), (2.3, 3.9), (13.4, 3.95),
         (13.5, 3.8), (13.5, 0.5)),
        (2,),
        (((0.5, 1.6), (0.7, 2.4), (1.6, 2.4), (1.6, 1.6)),), (1.3, 11.0), 0.5, True),
    VehicleShape(  # bus
        11.5, 2.5,
        ((0.0, 0.3), (0.0, 1.0), (0.1, 2.7), (0.4, 3.0), (11.3, 3.05), (11.5, 2.9), (11.5, 0.35)),
        (1,),
        tuple(
            ((x, 1.3), (x, 2.5), (x + 1.6, 2.5), (x + 1.6, 1.3)) for x in (0.6, 2.4, 4.2, 6.0, 7.8)
        ), (2.4, 8.6), 0.48),
)  # fmt: skip
"""Added to ``CARS`` in a street full of traffic."""

SIDE_PX = (96, 256)
"""Rows and columns of the texture of a side, which the vehicle fills."""


def vehicle_side(shape: VehicleShape) -> tuple[Color, Gray]:
    """(96, 256, 3) side of a white vehicle, front to the left, and its alpha (96, 256)."""
    rows, cols = SIDE_PX
    scale = np.array([cols / shape.length, -rows / shape.height])

    def pixels(points: tuple[tuple[float, float], ...]) -> np.ndarray:
        return (np.array(points) * scale + [0, rows]).astype(np.int32)

    rgb = np.full((rows, cols, 3), 225.0, dtype=np.float32)
    rgb *= np.linspace(1.05, 0.8, rows, dtype=np.float32)[:, None, None]
    alpha = np.zeros((rows, cols), dtype=np.float32)
    cv2.fillPoly(alpha, [pixels(shape.outline)], 255.0)
    # A margin of one pixel, so that there is no gap to the panels between the two sides.
    cv2.dilate(alpha, np.ones((3, 3), dtype=np.uint8), dst=alpha)
    for pane in shape.panes:
        cv2.fillPoly(rgb, [pixels(pane)], (42.0, 46.0, 52.0))
    sill = int(rows - 0.3 * rows / shape.height)
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


def vehicle_end(rear: bool) -> Color:
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
    """(128, 128, 3) rear of a white truck: two doors with bars, and lamps at the bottom."""
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


def vehicle_panel(glass: bool) -> Color:
    """(32, 32, 3) white hood and roof, or a windshield that reflects the sky at its top."""
    if not glass:
        return np.full((32, 32, 3), 235.0, dtype=np.float32)
    rgb = flat(32, 32, np.array([48.0, 54.0, 62.0]))
    rgb *= np.linspace(1.7, 0.9, 32, dtype=np.float32)[:, None, None]
    rgb[:, :2] *= 0.5
    rgb[:, -2:] *= 0.5
    return rgb
