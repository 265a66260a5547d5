"""Adds objects along a synthetic street: free ground, and what every kind of street has."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.synthetic.atlas import Page
from sfm_ros.synthetic.ground import RoadPlan
from sfm_ros.synthetic.path import CenterLine
from sfm_ros.synthetic.quads import UP, GroundPose, QuadBuilder, add_box, add_crossed


@dataclass(frozen=True, kw_only=True)
class Band:
    """An upright band along the street: wall, hedge, fence, rail or barrier.

    Attributes:
        kind: of its texture.
        height, thickness: meters; a thickness of 0 makes a cutout that is visible from both sides.
        piece_m: length that one texture covers, meters.
    """

    kind: str
    height: float
    thickness: float
    piece_m: float = 7.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Site:
    """A street to which objects are added.

    Attributes:
        rng: of all random choices.
        line, plan: course and cross-section of the street.
        pages: name of a kind of texture -> its variants.
        build: receives the objects.
        ground_y: of the ground plane in the world, meters.
        keep_out: (N, 2) x, z of the cameras, which objects must not come near.
    """

    rng: np.random.Generator
    line: CenterLine
    plan: RoadPlan
    pages: dict[str, tuple[Page, ...]]
    build: QuadBuilder
    ground_y: float
    keep_out: FloatArray

    @property
    def length(self) -> float:
        """Length of the street in meters."""
        return self.line.length

    def page(self, kind: str) -> Page:
        """A random variant of a kind of texture."""
        variants = self.pages[kind]
        return variants[int(self.rng.integers(len(variants)))]

    def pose(self, s: float, lateral: float, turn: float = 0.0) -> GroundPose:
        """The pose at an arc length and lateral offset, turned ``turn`` radians off the street."""
        heading = float(self.line.heading_at(s)) + turn
        return GroundPose.at(self.line.at(s, lateral), heading, self.ground_y)

    def edge(self, side: int) -> float:
        """Lateral offset of the edge of the asphalt on a side (-1 left, 1 right)."""
        return self.plan.right if side > 0 else self.plan.left

    def is_free(self, footprint: FloatArray, clearance: float) -> bool:
        """Whether a convex footprint (K, 2) is clear of the road and of every camera."""
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

    def band(self, s0: float, s1: float, lateral: float, band: Band) -> None:
        """Add a band from one arc length to another, in pieces that follow the street."""
        page, tint = self.page(band.kind), self.rng.uniform(0.8, 1.1)
        bends = np.abs(self.line.curvature_at(np.array([s0, (s0 + s1) / 2, s1]))).max() > 0.01
        piece_m = min(band.piece_m, 3.0) if bends else band.piece_m
        count = max(int(np.ceil((s1 - s0) / piece_m)), 1)
        knots = np.linspace(s0, s1, count + 1)
        for a, b in pairwise(knots):
            start, end = self.line.at(a, lateral), self.line.at(b, lateral)
            length = float(np.linalg.norm(end - start))
            heading = float(np.arctan2(end[0] - start[0], end[1] - start[1]))
            middle = GroundPose.at((start + end) / 2, heading, self.ground_y)
            if self.is_free(middle.rectangle(length, max(band.thickness, 0.1)), 0.15):
                self._add_piece(middle, length, band, page, tint)

    def _add_piece(
        self, pose: GroundPose, length: float, band: Band, page: Page, tint: float
    ) -> None:
        thick, up = band.thickness, UP * band.height
        part = (0.0, 0.0, page[2] * min(length / band.piece_m, 1.0), float(page[3]))
        if not thick:
            corner, along = pose.point(-0.5 * length, 0.0), pose.forward * length
            self.build.add(corner, along, up, page, tint=tint, part=part,
                           cutout=True, two_sided=True)  # fmt: skip
            return
        for half in (0.5, -0.5):
            corner = pose.point(half * length, half * thick)
            along = -np.sign(half) * pose.forward * length
            self.build.add(corner, along, up, page, tint=tint, part=part)
        self.build.add(
            pose.point(-0.5 * length, -0.5 * thick, band.height), pose.right * thick,
            pose.forward * length, page, tint=tint, part=(0, 0, page[2], min(8, page[3])),
        )  # fmt: skip
        for half in (-0.5, 0.5):
            corner = pose.point(half * length, half * thick)
            across = -np.sign(half) * pose.right * thick
            self.build.add(corner, across, up, page, tint=tint, part=(0, 0, 32, page[3]))
        self.build.shadow_of(pose.rectangle(length, thick), band.height)

    def tree_kind(self) -> str:
        """A random kind of tree for gardens and woods."""
        return "conifer" if self.rng.random() < 0.3 else "tree"

    def tree(
        self, s: float, lateral: float, height: float | None = None, kind: str = "tree"
    ) -> None:
        """Add a tree of a kind; None draws its height in meters."""
        rng = self.rng
        tall = rng.uniform(4.0, 11.0) if height is None else height
        pose = self.pose(s, lateral, rng.uniform(0, np.pi))
        if not self.is_free(pose.rectangle(0.8, 0.8), 0.4):
            return
        wide = tall * rng.uniform(0.7, 1.05)
        add_crossed(self.build, pose, wide, tall, self.page(kind), 3, rng.uniform(0.7, 1.15))
        base = self.build.sun.ground_offset(0.68 * tall)
        for _ in range(7):  # the ragged shadow of a crown: a few overlapping discs
            center = pose.origin[[0, 2]] + base + rng.normal(0.0, 0.18 * wide, size=2)
            angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            radius = wide * rng.uniform(0.07, 0.24) * rng.uniform(0.7, 1.2, size=10)
            ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]
            self.build.shadows.append(center + ring)

    def avenue(self, side: int, lateral: float, spacing: float) -> None:
        """Add trees at even distances along one side."""
        height = self.rng.uniform(5.0, 11.0)
        for s in np.arange(self.rng.uniform(0, spacing), self.length - 20.0, spacing):
            if self.rng.random() < 0.85:
                tall = height * self.rng.uniform(0.8, 1.2)
                self.tree(s + self.rng.normal(0, 1.0), side * lateral, tall)

    def shrubs(
        self, side: int, near: float, far: float, per_meter: float, span: tuple[float, float]
    ) -> None:
        """Add shrubs between two distances from the center line, over a span of arc length."""
        for s in np.arange(span[0], span[1], 1.0 / per_meter):
            pose = self.pose(s, side * self.rng.uniform(near, far))
            tall = self.rng.uniform(0.6, 2.6)
            if self.is_free(pose.rectangle(1.6, 1.6), 0.6):
                tint = self.rng.uniform(0.75, 1.15)
                wide = tall * self.rng.uniform(1.5, 2.5)
                add_crossed(self.build, pose, wide, tall, self.page("bush"), 2, tint)

    def posts(self, side: int, lateral: float, spacing: float) -> None:
        """Add lamp posts and traffic signs along one side."""
        rng, steel = self.rng, self.page("steel")
        for s in np.arange(rng.uniform(0, spacing), self.length - 10.0, spacing):
            pose = self.pose(s, side * lateral)
            if not self.is_free(pose.rectangle(0.2, 0.2), 0.2):
                continue
            is_sign = rng.random() < 0.5
            tall = rng.uniform(2.2, 2.9) if is_sign else rng.uniform(4.5, 9.0)
            wide = 0.07 if is_sign else rng.uniform(0.12, 0.3)
            add_box(self.build, pose, (wide, wide, tall), steel, tint=rng.uniform(0.4, 1.2))
            self.build.shadow_of(pose.rectangle(wide, wide), tall)
            if is_sign:
                size = rng.uniform(0.55, 0.85)
                corner = pose.point(-wide, -0.5 * size, tall - size)
                self.build.add(
                    corner, pose.right * size, UP * size, self.page("sign"), cutout=True,
                    two_sided=True, light=rng.uniform(0.7, 1.1),
                )  # fmt: skip
