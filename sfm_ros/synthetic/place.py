"""Where things may stand along a synthetic street, and the things every kind of street has."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.synthetic.atlas import Page
from sfm_ros.synthetic.ground import RoadPlan
from sfm_ros.synthetic.path import CenterLine
from sfm_ros.synthetic.quads import UP, Place, QuadBuilder, add_box, add_crossed

Pages = dict[str, tuple[Page, ...]]


class Site:
    """Places things along one street. ``keep_out`` are positions nothing may stand near."""

    def __init__(
        self,
        rng: np.random.Generator,
        line: CenterLine,
        plan: RoadPlan,
        pages: Pages,
        build: QuadBuilder,
        ground_y: float,
        keep_out: FloatArray,
    ) -> None:
        self.rng = rng
        self.line = line
        self.plan = plan
        self.pages = pages
        self.build = build
        self.ground_y = ground_y
        self.keep_out = keep_out

    @property
    def length(self) -> float:
        """Length of the street in meters."""
        return self.line.length

    def page(self, kind: str) -> Page:
        """A random variant of a kind of texture."""
        variants = self.pages[kind]
        return variants[int(self.rng.integers(len(variants)))]

    def place(self, s: float, lateral: float, turn: float = 0.0) -> Place:
        """The spot at an arc length and lateral offset, along the street plus ``turn`` radians."""
        heading = float(self.line.heading_at(s)) + turn
        return Place.at(self.line.at(s, lateral), heading, self.ground_y)

    def edge(self, side: int) -> float:
        """Lateral offset where the asphalt ends."""
        return self.plan.right if side > 0 else self.plan.left

    def is_free(self, footprint: FloatArray, clearance: float) -> bool:
        """Whether a convex footprint keeps clear of the road and of every camera."""
        ring = np.concatenate([footprint, 0.5 * (footprint + np.roll(footprint, 1, axis=0))])
        points = np.concatenate([ring, ring.mean(axis=0, keepdims=True)])
        nearest = self.line.nearest(points)
        psi = self.line.heading_at(nearest[:, 0])
        offset = points - self.line.at(nearest[:, 0])
        lateral = offset[:, 0] * np.cos(psi) - offset[:, 1] * np.sin(psi)
        half = np.where(lateral > 0, self.plan.right, -self.plan.left)
        if np.any(nearest[:, 1] < half + clearance):
            return False
        gap = np.linalg.norm(self.keep_out[:, None] - points[None], axis=2)
        return bool(gap.min() > max(1.2, clearance))

    def strip(
        self,
        s0: float,
        s1: float,
        lateral: float,
        height: float,
        kind: str,
        thick: float,
        piece_m: float = 7.5,
    ) -> None:
        """An upright band that follows the street: wall, hedge, fence, rail or barrier."""
        page, tint = self.page(kind), self.rng.uniform(0.8, 1.1)
        bends = np.abs(self.line.curvature_at(np.array([s0, (s0 + s1) / 2, s1]))).max() > 0.01
        count = max(int(np.ceil((s1 - s0) / (min(piece_m, 3.0) if bends else piece_m))), 1)
        knots = np.linspace(s0, s1, count + 1)
        for a, b in zip(knots[:-1], knots[1:], strict=True):
            middle = self.place((a + b) / 2, lateral)
            start, end = self.line.at(a, lateral), self.line.at(b, lateral)
            length = float(np.linalg.norm(end - start))
            heading = float(np.arctan2(end[0] - start[0], end[1] - start[1]))
            middle = Place.at((start + end) / 2, heading, self.ground_y)
            if not self.is_free(middle.rectangle(length, max(thick, 0.1)), 0.15):
                continue
            self._band(middle, length, height, page, tint, thick, piece_m)

    def _band(
        self,
        place: Place,
        length: float,
        height: float,
        page: Page,
        tint: float,
        thick: float,
        piece_m: float,
    ) -> None:
        part = (0.0, 0.0, page[2] * min(length / piece_m, 1.0), float(page[3]))
        sides = ((0.5, place.t, 0.5), (-0.5, place.t, -0.5)) if thick else ((-0.5, place.t, 0.0),)
        for forward, along, right in sides:
            sign = 1.0 if forward < 0 else -1.0
            self.build.add(
                place.point(forward * length, right * thick), sign * along * length, UP * height,
                page, tint=tint, part=part, cutout=not thick, two_sided=not thick,
            )  # fmt: skip
        if thick:
            self.build.add(
                place.point(-0.5 * length, -0.5 * thick, height), place.n * thick,
                place.t * length, page, tint=tint, part=(0, 0, page[2], min(8, page[3])),
            )  # fmt: skip
            for forward, along in ((-0.5, place.n), (0.5, -place.n)):
                self.build.add(
                    place.point(forward * length, np.sign(forward) * 0.5 * thick),
                    along * thick, UP * height, page, tint=tint, part=(0, 0, 32, page[3]),
                )  # fmt: skip
            self.build.shadow_of(place.rectangle(length, thick), height)

    def some_tree(self) -> str:
        """A kind of tree for gardens and woods."""
        return "conifer" if self.rng.random() < 0.3 else "tree"

    def tree(
        self, s: float, lateral: float, height: float | None = None, kind: str = "tree"
    ) -> None:
        """One tree of a kind; None draws its height."""
        rng = self.rng
        tall = rng.uniform(4.0, 11.0) if height is None else height
        place = self.place(s, lateral, rng.uniform(0, np.pi))
        if not self.is_free(place.rectangle(0.8, 0.8), 0.4):
            return
        wide = tall * rng.uniform(0.7, 1.05)
        add_crossed(self.build, place, wide, tall, self.page(kind), 3, rng.uniform(0.7, 1.15))
        base = self.build.sun.ground_offset(0.68 * tall)
        for _ in range(7):  # a crown's shadow is ragged: a few overlapping discs
            center = place.foot[[0, 2]] + base + rng.normal(0.0, 0.18 * wide, size=2)
            angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            radius = wide * rng.uniform(0.07, 0.24) * rng.uniform(0.7, 1.2, size=10)
            ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]
            self.build.shadows.append(center + ring)

    def avenue(self, side: int, lateral: float, spacing: float) -> None:
        """Trees at even distances, as along an avenue."""
        height = self.rng.uniform(5.0, 11.0)
        for s in np.arange(self.rng.uniform(0, spacing), self.line.length - 20.0, spacing):
            if self.rng.random() < 0.85:
                tall = height * self.rng.uniform(0.8, 1.2)
                self.tree(s + self.rng.normal(0, 1.0), side * lateral, tall)

    def shrubs(
        self, side: int, near: float, far: float, per_meter: float, span: tuple[float, float]
    ) -> None:
        """Low greenery strewn between two distances from the center line."""
        for s in np.arange(span[0], span[1], 1.0 / per_meter):
            place = self.place(s, side * self.rng.uniform(near, far))
            tall = self.rng.uniform(0.6, 2.6)
            if self.is_free(place.rectangle(1.6, 1.6), 0.6):
                tint = self.rng.uniform(0.75, 1.15)
                wide = tall * self.rng.uniform(1.5, 2.5)
                add_crossed(self.build, place, wide, tall, self.page("bush"), 2, tint)

    def posts(self, side: int, lateral: float, spacing: float) -> None:
        """Lamp posts, and now and then a traffic sign."""
        rng, steel = self.rng, self.page("steel")
        for s in np.arange(rng.uniform(0, spacing), self.line.length - 10.0, spacing):
            place = self.place(s, side * lateral)
            if not self.is_free(place.rectangle(0.2, 0.2), 0.2):
                continue
            is_sign = rng.random() < 0.5
            tall = rng.uniform(2.2, 2.9) if is_sign else rng.uniform(4.5, 9.0)
            wide = 0.07 if is_sign else rng.uniform(0.12, 0.3)
            add_box(self.build, place, (wide, wide, tall), steel, tint=rng.uniform(0.4, 1.2))
            self.build.shadow_of(place.rectangle(wide, wide), tall)
            if is_sign:
                size = rng.uniform(0.55, 0.85)
                corner = place.point(-wide, -0.5 * size, tall - size)
                build = self.build
                build.add(
                    corner, place.n * size, UP * size, self.page("sign"), cutout=True,
                    two_sided=True, light=rng.uniform(0.7, 1.1),
                )  # fmt: skip
