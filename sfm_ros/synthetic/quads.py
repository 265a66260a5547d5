"""Textured parallelograms, from which all objects of a synthetic street are built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray
from sfm_ros.synthetic.atlas import Page

UP = np.array([0.0, -1.0, 0.0])
"""In world axes: x right, y down, z forward."""


@dataclass(frozen=True, eq=False)
class Polygons:
    """Convex polygons on the ground.

    Attributes:
        outlines: N arrays (K, 2) of corners, x and z in meters.
        center: (N, 2) means of the corners, meters.
        radius: (N,) largest distance of a corner from the mean, meters.
    """

    outlines: tuple[FloatArray, ...]
    center: FloatArray
    radius: FloatArray

    @classmethod
    def of(cls, outlines: list[FloatArray]) -> Polygons:
        """Measure a list of polygons once, so that those out of view are skipped quickly."""
        center = np.array([outline.mean(axis=0) for outline in outlines]).reshape(-1, 2)
        far = [np.linalg.norm(o - c, axis=1).max() for o, c in zip(outlines, center, strict=True)]
        return cls(tuple(outlines), center, np.array(far))


@dataclass(frozen=True, eq=False)
class Quads:
    """N parallelograms, and the shadows on the ground.

    Attributes:
        origin, u, v: (N, 3) a corner and the edges along the texture's columns and rows (upwards),
            in the world, meters.
        page: (N, 4) x0, y0, x1, y1 of the texture in the atlas, pixels; y1 is at ``origin``.
        tint: (N, 3) factors on the texture's color, light included.
        cutout: (N,) bool, whether the texture has transparent parts.
        two_sided: (N,) bool, whether the back is visible as well.
        shadows: shadows of the sun.
        contacts: ground that is hidden from the sky (below cars, along walls).
    """

    origin: FloatArray
    u: FloatArray
    v: FloatArray
    page: FloatArray
    tint: FloatArray
    cutout: npt.NDArray[np.bool_]
    two_sided: npt.NDArray[np.bool_]
    shadows: Polygons
    contacts: Polygons


@dataclass(frozen=True, kw_only=True)
class Sun:
    """The light: unit direction toward the sun in the world, and strength (0 is overcast)."""

    direction: FloatArray
    strength: float

    def light(self, normal: FloatArray) -> float:
        """Factor on the color of a surface with an outward unit normal."""
        facing = max(float(normal @ self.direction), 0.0)
        sky = 0.5 - 0.5 * float(normal[1])
        ambient = (1.0 - 0.62 * self.strength) * (0.8 + 0.2 * sky)
        return ambient + 0.95 * self.strength * facing

    def ground_offset(self, height: float) -> FloatArray:
        """(2,) x, z from the foot of a point at ``height`` meters to its shadow."""
        return -self.direction[[0, 2]] / max(-float(self.direction[1]), 0.2) * height


class QuadBuilder:
    """Collects quads and shadows."""

    def __init__(self, sun: Sun) -> None:
        self.sun = sun
        self._rows: list[FloatArray] = []
        self._flags: list[tuple[bool, bool]] = []
        self.shadows: list[FloatArray] = []
        self.contacts: list[FloatArray] = []

    def add(
        self,
        origin: FloatArray,
        u: FloatArray,
        v: FloatArray,
        page: Page,
        *,
        tint: FloatArray | float = 1.0,
        part: tuple[float, float, float, float] | None = None,
        cutout: bool = False,
        two_sided: bool = False,
        light: float | None = None,
    ) -> None:
        """Add one quad.

        Args:
            origin, u, v: (3,) a corner and two edges, see `Quads`.
            page: the texture.
            tint: factor on the color, or one for each channel.
            part: x0, y0, x1, y1 of the visible part of the page, pixels; by default all of it.
            cutout, two_sided: see `Quads`.
            light: light factor; by default the sun's on the outward normal ``u x v``.
        """
        x, y, width, height = page
        x0, y0, x1, y1 = part if part is not None else (0, 0, width, height)
        if light is None:
            light = self.sun.light(_normal(u, v))
        color = np.broadcast_to(np.asarray(tint, dtype=np.float64), (3,)) * light
        corner = np.array([x + x0, y + y0, x + x1, y + y1], dtype=np.float64)
        self._rows.append(np.concatenate([origin, u, v, corner, color]))
        self._flags.append((cutout, two_sided))

    def shadow_of(self, footprint: FloatArray, height: float) -> None:
        """Add the shadow of a prism with a convex (K, 2) footprint; meters."""
        both = np.concatenate([footprint, footprint + self.sun.ground_offset(height)])
        self.shadows.append(convex_hull(both))

    def build(self) -> Quads:
        """The collected quads as arrays."""
        rows = np.array(self._rows).reshape(-1, 16)
        flags = np.array(self._flags, dtype=bool).reshape(-1, 2)
        return Quads(
            origin=rows[:, 0:3], u=rows[:, 3:6], v=rows[:, 6:9], page=rows[:, 9:13],
            tint=rows[:, 13:16], cutout=flags[:, 0], two_sided=flags[:, 1],
            shadows=Polygons.of(self.shadows), contacts=Polygons.of(self.contacts),
        )  # fmt: skip


def _normal(u: FloatArray, v: FloatArray) -> FloatArray:
    """Unit ``u x v``; ``np.cross`` is slow on single vectors."""
    (a, b, c), (d, e, f) = u.tolist(), v.tolist()
    normal = np.array([b * f - c * e, c * d - a * f, a * e - b * d])
    return normal / max(float(np.sqrt(normal @ normal)), 1e-9)


def convex_hull(points: FloatArray) -> FloatArray:
    """Convex hull of (N, 2) points, counter-clockwise (monotone chain)."""
    ordered = sorted(map(tuple, points))

    def chain(sequence: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []
        for p in sequence:
            while len(kept) > 1 and _turn(kept[-2], kept[-1], p) <= 0:
                kept.pop()
            kept.append(p)
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))


def _turn(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@dataclass(frozen=True)
class GroundPose:
    """Position and heading of an object on the ground.

    Attributes:
        origin: (3,) world position, meters.
        forward, right: (3,) level unit axes.
    """

    origin: FloatArray
    forward: FloatArray
    right: FloatArray

    @classmethod
    def at(cls, xz: FloatArray, heading: float, ground_y: float) -> GroundPose:
        """The pose at a ground position (2,) with a heading in radians (0 is +z, pi/2 is +x)."""
        sin, cos = np.sin(heading), np.cos(heading)
        return cls(
            np.array([xz[0], ground_y, xz[1]]),
            np.array([sin, 0.0, cos]),
            np.array([cos, 0.0, -sin]),
        )

    def turned(self, angle: float) -> GroundPose:
        """The same position with ``angle`` radians added to the heading."""
        heading = float(np.arctan2(self.forward[0], self.forward[2])) + angle
        return GroundPose.at(self.origin[[0, 2]], heading, self.origin[1])

    def point(self, forward: float, right: float, up: float = 0.0) -> FloatArray:
        """(3,) world point of local coordinates in meters."""
        return self.origin + forward * self.forward + right * self.right + up * UP

    def rectangle(self, length: float, width: float) -> FloatArray:
        """(4, 2) corners of a centered footprint, x and z in meters."""
        corners = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
        return np.array([self.point(a * length, b * width)[[0, 2]] for a, b in corners])


def add_box(
    build: QuadBuilder,
    pose: GroundPose,
    size: tuple[float, float, float],
    page: Page,
    *,
    tint: FloatArray | float = 1.0,
    base: float = 0.0,
) -> None:
    """Add the four sides of a box of (length, width, height), ``base`` meters above the ground."""
    length, width, height = size
    for forward, right, along, span in (
        (-0.5, -0.5, pose.right, width), (0.5, 0.5, -pose.right, width),
        (-0.5, 0.5, pose.forward, length), (0.5, -0.5, -pose.forward, length),
    ):  # fmt: skip
        corner = pose.point(forward * length, right * width, base)
        build.add(corner, along * span, UP * height, page, tint=tint)


def add_crossed(
    build: QuadBuilder,
    pose: GroundPose,
    width: float,
    height: float,
    page: Page,
    planes: int,
    tint: FloatArray | float,
) -> None:
    """Add upright cutouts that cross in one axis: a tree or a shrub that any side shows."""
    for k in range(planes):
        angle = np.pi * k / planes
        across = np.cos(angle) * pose.right + np.sin(angle) * pose.forward
        build.add(
            pose.origin - 0.5 * width * across, width * across, UP * height, page, tint=tint,
            cutout=True, two_sided=True, light=1.0 if k % 2 else 0.9,
        )  # fmt: skip
