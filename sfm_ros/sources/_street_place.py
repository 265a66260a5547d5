"""Sets houses, trees, cars, walls, rails and signs along a synthetic street."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.sources._street_atlas import Page
from sfm_ros.sources._street_facades import FACADE_PX, METRES_PER_PX
from sfm_ros.sources._street_ground import RoadPlan
from sfm_ros.sources._street_path import CentreLine
from sfm_ros.sources._street_quads import UP, Place, QuadBuilder, add_box, add_crossed
from sfm_ros.sources._street_things import CARS, car_height

Pages = dict[str, tuple[Page, ...]]

CAR_COLOURS = [
    (0.95, 0.95, 0.95), (0.7, 0.71, 0.73), (0.4, 0.41, 0.43), (0.1, 0.1, 0.11), (0.12, 0.15, 0.3),
    (0.55, 0.08, 0.08), (0.16, 0.17, 0.18), (0.2, 0.3, 0.26), (0.75, 0.7, 0.6),
]  # fmt: skip


class StreetFurnisher:
    """Places things along one street. ``keep_out`` are positions nothing may stand near."""

    def __init__(
        self, rng: np.random.Generator, line: CentreLine, plan: RoadPlan, pages: Pages,
        build: QuadBuilder, ground_y: float, keep_out: FloatArray,
    ) -> None:  # fmt: skip
        self._rng = rng
        self._line = line
        self._plan = plan
        self._pages = pages
        self._build = build
        self._ground_y = ground_y
        self._keep_out = keep_out

    def _page(self, kind: str) -> Page:
        variants = self._pages[kind]
        return variants[int(self._rng.integers(len(variants)))]

    def _place(self, s: float, lateral: float, turn: float = 0.0) -> Place:
        heading = float(self._line.heading_at(s)) + turn
        return Place.at(self._line.at(s, lateral), heading, self._ground_y)

    def _edge(self, side: int) -> float:
        """Lateral offset where the asphalt ends."""
        return self._plan.right if side > 0 else self._plan.left

    def _is_free(self, footprint: FloatArray, clearance: float) -> bool:
        """Whether a convex footprint keeps clear of the road and of every camera."""
        ring = np.concatenate([footprint, 0.5 * (footprint + np.roll(footprint, 1, axis=0))])
        points = np.concatenate([ring, ring.mean(axis=0, keepdims=True)])
        nearest = self._line.nearest(points)
        psi = self._line.heading_at(nearest[:, 0])
        offset = points - self._line.at(nearest[:, 0])
        lateral = offset[:, 0] * np.cos(psi) - offset[:, 1] * np.sin(psi)
        half = np.where(lateral > 0, self._plan.right, -self._plan.left)
        if np.any(nearest[:, 1] < half + clearance):
            return False
        gap = np.linalg.norm(self._keep_out[:, None] - points[None], axis=2)
        return bool(gap.min() > max(1.2, clearance))

    def houses(self, side: int, density: float, setback: float, storeys: tuple[int, int]) -> None:
        """A row of houses on one side; between them gardens, walls, hedges and trees."""
        s = self._rng.uniform(0.0, 10.0)
        closed = self._rng.random() < 0.5
        while s < self._line.length - 25.0:
            width = self._rng.uniform(8.0, 20.0)
            if self._rng.random() < density:
                self._house(s + width / 2, side, width, setback, storeys)
                gap = 0.0 if closed and self._rng.random() < 0.8 else self._rng.uniform(2.0, 9.0)
            else:
                self._garden(s, s + width, side)
                gap = 0.0
            if gap > 1.5:
                self._garden(s + width, s + width + gap, side)
            s += width + gap

    def _house(
        self, s: float, side: int, width: float, setback: float, storeys: tuple[int, int]
    ) -> None:
        rng, build = self._rng, self._build
        depth = rng.uniform(8.0, 12.0)
        front = abs(self._edge(side)) + self._plan.pavement + setback * rng.uniform(0.7, 1.4) + 0.3
        place = self._place(s, side * (front + depth / 2), rng.normal(0.0, 0.02))
        footprint = place.rectangle(width, depth)
        if not self._is_free(footprint, 0.3 + 0.6 * self._plan.pavement):
            return
        floors = int(rng.integers(storeys[0], storeys[1] + 1))
        height = min(floors * rng.uniform(2.7, 3.3) + 0.6, FACADE_PX[0] * METRES_PER_PX - 0.2)
        page, tint = self._page("facade"), rng.uniform(0.85, 1.1, size=3) * rng.uniform(0.8, 1.1)
        n, t = place.n * side, place.t * side  # n points away from the street
        here = Place(place.foot, t, n)
        rows = height / METRES_PER_PX
        for forward, right, along, span in (
            (0.5, -0.5, -t, width), (-0.5, -0.5, n, depth), (0.5, 0.5, -n, depth),
        ):  # fmt: skip
            cols = span / METRES_PER_PX
            x0 = rng.uniform(0.0, FACADE_PX[1] - cols)
            part = (x0, FACADE_PX[0] - rows, x0 + cols, FACADE_PX[0])
            corner = here.point(forward * width, right * depth)
            build.add(corner, along * span, UP * height, page, tint=tint, part=part)
        ridge = rng.uniform(0.4, 0.9) * depth / 2 if rng.random() < 0.7 else 0.0
        if ridge:
            self._gabled_roof(here, width, depth, height, ridge, page, tint)
        else:
            self._build.add(
                here.point(0.5 * width + 0.2, -0.5 * depth - 0.25, height - 0.15),
                -t * (width + 0.4), UP * 0.4, self._page("roof"), part=(0, 0, 256, 8),
            )  # fmt: skip
        build.shadow_of(footprint, height + ridge / 2)
        build.contacts.append(place.rectangle(width + 0.8, depth + 0.8))

    def _gabled_roof(
        self, here: Place, width: float, depth: float, eaves: float, ridge: float, wall: Page,
        tint: FloatArray,
    ) -> None:  # fmt: skip
        build, page, over = self._build, self._page("roof"), 0.4
        for forward, right, along, inward in (
            (0.5, -0.5, -here.t, here.n), (-0.5, 0.5, here.t, -here.n),
        ):  # fmt: skip
            slope = ridge / (depth / 2)
            corner = here.point(
                forward * (width + 2 * over), right * (depth + 2 * over), eaves - slope * over
            )
            run = depth / 2 + over
            build.add(
                corner, along * (width + 2 * over), inward * run + UP * slope * run, page,
                two_sided=True, tint=self._rng.uniform(0.9, 1.1),
            )  # fmt: skip
        gable = self._page("gable")
        for forward, right, along in ((-0.5, -0.5, here.n), (0.5, 0.5, -here.n)):
            corner = here.point(forward * width, right * depth, eaves)
            build.add(corner, along * depth, UP * ridge, gable, tint=tint, cutout=True)

    def _garden(self, s0: float, s1: float, side: int) -> None:
        """A hedge, wall, fence or nothing along the pavement, with trees and shrubs behind."""
        rng = self._rng
        kind = rng.choice(["hedge", "wall", "fence", "none"], p=[0.35, 0.25, 0.2, 0.2])
        lateral = self._edge(side) + side * (self._plan.pavement + 0.4)
        if kind == "hedge":
            self.strip(s0, s1, lateral, rng.uniform(0.8, 2.2), "hedge", thick=0.9)
        elif kind == "wall":
            self.strip(s0, s1, lateral, rng.uniform(0.6, 2.4), "wall", thick=0.3)
        elif kind == "fence":
            self.strip(s0, s1, lateral, rng.uniform(0.8, 1.8), "fence", thick=0.0)
        for _ in range(int(rng.integers(0, 3))):
            self.tree(rng.uniform(s0, s1), lateral + side * rng.uniform(2.0, 10.0))

    def strip(
        self, s0: float, s1: float, lateral: float, height: float, kind: str, thick: float,
        piece_m: float = 7.5,
    ) -> None:  # fmt: skip
        """An upright band that follows the street: wall, hedge, fence, rail or barrier."""
        page, tint = self._page(kind), self._rng.uniform(0.8, 1.1)
        bends = np.abs(self._line.curvature_at(np.array([s0, (s0 + s1) / 2, s1]))).max() > 0.01
        count = max(int(np.ceil((s1 - s0) / (min(piece_m, 3.0) if bends else piece_m))), 1)
        knots = np.linspace(s0, s1, count + 1)
        for a, b in zip(knots[:-1], knots[1:], strict=True):
            middle = self._place((a + b) / 2, lateral)
            start, end = self._line.at(a, lateral), self._line.at(b, lateral)
            length = float(np.linalg.norm(end - start))
            heading = float(np.arctan2(end[0] - start[0], end[1] - start[1]))
            middle = Place.at((start + end) / 2, heading, self._ground_y)
            if not self._is_free(middle.rectangle(length, max(thick, 0.1)), 0.15):
                continue
            self._band(middle, length, height, page, tint, thick, piece_m)

    def _band(
        self, place: Place, length: float, height: float, page: Page, tint: float, thick: float,
        piece_m: float,
    ) -> None:  # fmt: skip
        part = (0.0, 0.0, page[2] * min(length / piece_m, 1.0), float(page[3]))
        sides = ((0.5, place.t, 0.5), (-0.5, place.t, -0.5)) if thick else ((-0.5, place.t, 0.0),)
        for forward, along, right in sides:
            sign = 1.0 if forward < 0 else -1.0
            self._build.add(
                place.point(forward * length, right * thick), sign * along * length, UP * height,
                page, tint=tint, part=part, cutout=not thick, two_sided=not thick,
            )  # fmt: skip
        if thick:
            self._build.add(
                place.point(-0.5 * length, -0.5 * thick, height), place.n * thick,
                place.t * length, page, tint=tint, part=(0, 0, page[2], min(8, page[3])),
            )  # fmt: skip
            for forward, along in ((-0.5, place.n), (0.5, -place.n)):
                self._build.add(
                    place.point(forward * length, np.sign(forward) * 0.5 * thick),
                    along * thick, UP * height, page, tint=tint, part=(0, 0, 32, page[3]),
                )  # fmt: skip
            self._build.shadow_of(place.rectangle(length, thick), height)

    def tree(self, s: float, lateral: float, height: float | None = None) -> None:
        """One tree."""
        rng = self._rng
        tall = rng.uniform(4.0, 11.0) if height is None else height
        place = self._place(s, lateral, rng.uniform(0, np.pi))
        if not self._is_free(place.rectangle(0.8, 0.8), 0.4):
            return
        wide = tall * rng.uniform(0.7, 1.05)
        add_crossed(self._build, place, wide, tall, self._page("tree"), 3, rng.uniform(0.7, 1.15))
        base = self._build.sun.ground_offset(0.68 * tall)
        for _ in range(4):  # a crown's shadow is ragged: a few overlapping discs
            centre = place.foot[[0, 2]] + base + rng.normal(0.0, 0.14 * wide, size=2)
            angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            radius = wide * rng.uniform(0.12, 0.3) * rng.uniform(0.7, 1.2, size=10)
            ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]
            self._build.shadows.append(centre + ring)

    def avenue(self, side: int, lateral: float, spacing: float) -> None:
        """Trees at even distances, as along an avenue."""
        height = self._rng.uniform(5.0, 11.0)
        for s in np.arange(self._rng.uniform(0, spacing), self._line.length - 20.0, spacing):
            if self._rng.random() < 0.85:
                tall = height * self._rng.uniform(0.8, 1.2)
                self.tree(s + self._rng.normal(0, 1.0), side * lateral, tall)

    def shrubs(self, side: int, near: float, far: float, per_metre: float) -> None:
        """Low greenery strewn between two distances from the centre line."""
        for s in np.arange(0.0, self._line.length - 10.0, 1.0 / per_metre):
            place = self._place(s, side * self._rng.uniform(near, far))
            tall = self._rng.uniform(0.6, 2.6)
            if self._is_free(place.rectangle(1.6, 1.6), 0.6):
                tint = self._rng.uniform(0.75, 1.15)
                wide = tall * self._rng.uniform(1.5, 2.5)
                add_crossed(self._build, place, wide, tall, self._page("bush"), 2, tint)

    def posts(self, side: int, lateral: float, spacing: float) -> None:
        """Lamp posts, and now and then a traffic sign."""
        rng, steel = self._rng, self._page("steel")
        for s in np.arange(rng.uniform(0, spacing), self._line.length - 10.0, spacing):
            place = self._place(s, side * lateral)
            if not self._is_free(place.rectangle(0.2, 0.2), 0.2):
                continue
            is_sign = rng.random() < 0.5
            tall = rng.uniform(2.2, 2.9) if is_sign else rng.uniform(4.5, 9.0)
            wide = 0.07 if is_sign else rng.uniform(0.12, 0.3)
            add_box(self._build, place, (wide, wide, tall), steel, tint=rng.uniform(0.4, 1.2))
            self._build.shadow_of(place.rectangle(wide, wide), tall)
            if is_sign:
                size = rng.uniform(0.55, 0.85)
                corner = place.point(-wide, -0.5 * size, tall - size)
                build = self._build
                build.add(
                    corner, place.n * size, UP * size, self._page("sign"), cutout=True,
                    two_sided=True, light=rng.uniform(0.7, 1.1),
                )  # fmt: skip

    def parked_cars(self, side: int, density: float) -> None:
        """Cars along one kerb, with gaps."""
        s = self._rng.uniform(0.0, 8.0)
        edge = self._edge(side)
        while s < self._line.length - 15.0:
            if self._rng.random() < density:
                self.car(s, edge - side * self._rng.uniform(1.0, 1.2), self._rng.random() < 0.75)
            s += self._rng.uniform(5.6, 8.5)

    def car(self, s: float, lateral: float, facing_forward: bool) -> None:
        """One vehicle, extruded from its side view."""
        rng, build = self._rng, self._build
        which = int(rng.choice(len(CARS), p=[0.3, 0.25, 0.2, 0.12, 0.13]))
        shape = CARS[which]
        turn = rng.normal(0.0, 0.02) + (0.0 if facing_forward else np.pi)
        place = self._place(s, lateral, turn)
        gap = np.linalg.norm(self._keep_out - place.foot[[0, 2]], axis=1)
        if gap.min() < 0.5 * shape.width + 1.15:
            return
        tint = np.array(CAR_COLOURS[int(rng.integers(len(CAR_COLOURS)))])
        length, width, height = shape.length, shape.width, car_height(shape)
        side = self._pages["car_side"][which]
        for right, u, start in ((-0.5, -place.t, 0.5), (0.5, -place.t, 0.5)):
            build.add(
                place.point(start * length, right * width), u * length, UP * height, side,
                tint=tint, cutout=True, two_sided=True,
                light=build.sun.light(place.n * np.sign(right)),
            )  # fmt: skip
        pages = {name: self._pages[name][0] for name in ("glass", "panel", "front", "rear")}
        outline = shape.outline
        for k, ((x0, y0), (x1, y1)) in enumerate(zip(outline[:-1], outline[1:], strict=True)):
            page = pages["glass" if k in shape.glass else "panel"]
            if k == 0 or k == len(outline) - 2:
                page = pages["rear" if k else "front"]
            if y1 < y0 and k > len(outline) // 2:  # rear half: the upper end is the first one
                x0, y0, x1, y1 = x1, y1, x0, y0
                corner, across = place.point(0.5 * length - x0, -0.5 * width, y0), place.n * width
            else:
                corner, across = place.point(0.5 * length - x0, 0.5 * width, y0), -place.n * width
            edge = -place.t * (x1 - x0) + UP * (y1 - y0)
            build.add(corner, across, edge, page, tint=1.0 if k in shape.glass else tint)
        build.contacts.append(place.rectangle(length - 0.1, width - 0.05))
        build.shadow_of(place.rectangle(length - 0.4, width - 0.2), height * 0.85)

    @property
    def length(self) -> float:
        """Length of the street in metres."""
        return self._line.length

    def roadside(self, side: int, edge: float) -> None:
        """What lines a motorway on one side, changing every few hundred metres."""
        rng, s = self._rng, 0.0
        while s < self.length - 20.0:
            end = min(s + rng.uniform(60.0, 300.0), self.length - 10.0)
            kind = rng.choice(["slope", "wood", "noise", "open"], p=[0.3, 0.3, 0.1, 0.3])
            near = edge + rng.uniform(3.0, 7.0)
            if kind == "slope":
                self._slope(s, end, side, near)
            elif kind == "wood":
                self.strip(s, end, side * (near + 9.0), rng.uniform(4.0, 9.0), "wood", 0.3, 20.0)
            elif kind == "noise":
                self.strip(s, end, side * near, rng.uniform(2.5, 4.5), "wall", 0.2, 8.0)
            trees = 0.0 if kind == "noise" else rng.choice([0.02, 0.08, 0.2])
            for _ in range(int((end - s) * trees)):
                self.tree(rng.uniform(s, end), side * (near + rng.uniform(1.0, 22.0)))
            self._shrub_row(s, end, side, near - 1.5, near + 9.0, 0.15)
            s = end

    def _slope(self, s0: float, s1: float, side: int, near: float) -> None:
        """A bank that rises away from the road in two steps."""
        page, rise = self._page("slope"), self._rng.uniform(2.0, 9.0)
        run = rise * self._rng.uniform(1.5, 2.5)
        knots = np.linspace(s0, s1, int((s1 - s0) / 12.0) + 2)
        for a, b in zip(knots[:-1], knots[1:], strict=True):
            for inner, outer, low, high in ((0.0, run, 0.0, rise), (run, run + 15, rise, rise)):
                corners = [self._place(x, side * (near + inner)).point(0, 0, low) for x in (a, b)]
                back = self._place(a, side * (near + outer)).point(0, 0, high)
                if not self._is_free(np.array([c[[0, 2]] for c in (*corners, back)]), 1.0):
                    continue
                first, second = corners if side < 0 else corners[::-1]
                if side > 0:
                    back = self._place(b, side * (near + outer)).point(0, 0, high)
                self._build.add(
                    first, second - first, back - first, page, two_sided=True,
                    light=self._build.sun.light(UP),
                )  # fmt: skip

    def _shrub_row(
        self, s0: float, s1: float, side: int, near: float, far: float, per_metre: float
    ) -> None:
        for s in np.arange(s0, s1, 1.0 / per_metre):
            place = self._place(s, side * self._rng.uniform(near, far))
            tall = self._rng.uniform(0.6, 2.6)
            if self._is_free(place.rectangle(1.6, 1.6), 0.6):
                tint = self._rng.uniform(0.75, 1.15)
                wide = tall * self._rng.uniform(1.5, 2.5)
                add_crossed(self._build, place, wide, tall, self._page("bush"), 2, tint)

    def gantries(self, spacing: float) -> None:
        """Direction signs above or beside the carriageway, and bridges."""
        rng, build, steel = self._rng, self._build, self._page("steel")
        for s in np.arange(rng.uniform(20.0, spacing), self.length - 20.0, spacing):
            right, left = self._plan.right + 1.0, self._plan.left - 0.6
            middle = self._place(s, (right + left) / 2)
            span = right - left
            if rng.random() < 0.3:
                top = self._page("barrier")
                deck = Place.at(
                    middle.foot[[0, 2]],
                    float(np.arctan2(middle.t[0], middle.t[2])) + np.pi / 2,
                    self._ground_y,
                )
                add_box(build, deck, (span + 30.0, 9.0, 1.6), top, base=5.2)
                under = middle.point(-4.5, span / 2 + 15.0, 5.2)
                build.add(under, -middle.n * (span + 30), middle.t * 9.0, top, light=0.3)
                continue
            for lateral in (right, left):
                place = self._place(s, lateral)
                add_box(build, place, (0.35, 0.35, 6.5), steel)
            beam = Place.at(
                middle.foot[[0, 2]],
                float(np.arctan2(middle.t[0], middle.t[2])) + np.pi / 2,
                self._ground_y,
            )
            add_box(build, beam, (span, 0.4, 0.5), steel, base=6.0)
            for _ in range(int(rng.integers(1, 3))):
                wide = rng.uniform(3.5, 6.0)
                offset = rng.uniform(-span / 2, span / 2 - wide)
                corner = middle.point(-0.3, offset, 5.3)
                build.add(corner, middle.n * wide, UP * wide * 0.4, self._page("gantry"))
