"""The roadside of a motorway: banks, woods, noise walls, gantries and bridges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sfm_ros.synthetic.quads import UP, GroundPose, add_box
from sfm_ros.synthetic.site import Band, Site


def add_roadside(site: Site, side: int, edge: float) -> None:
    """Line one side (-1 left, 1 right), with a change every few hundred meters.

    Args:
        edge: distance of the edge of the road from the center line, meters.
    """
    rng, s = site.rng, 0.0
    while s < site.length - 20.0:
        end = min(s + rng.uniform(60.0, 300.0), site.length - 10.0)
        kind = rng.choice(["slope", "wood", "noise", "open"], p=[0.3, 0.3, 0.1, 0.3])
        near = edge + rng.uniform(3.0, 7.0)
        if kind == "slope":
            _slope(site, s, end, side, near)
        elif kind == "wood":
            wood = Band(kind="wood", height=rng.uniform(4.0, 9.0), thickness=0.0, piece_m=20.0)
            site.band(s, end, side * (near + 9.0), wood)
        elif kind == "noise":
            wall = Band(kind="wall", height=rng.uniform(2.5, 4.5), thickness=0.2, piece_m=8.0)
            site.band(s, end, side * near, wall)
        trees_per_meter = 0.0 if kind == "noise" else rng.choice([0.02, 0.08, 0.2])
        for _ in range(int((end - s) * trees_per_meter)):
            lateral = side * (near + rng.uniform(1.0, 22.0))
            site.tree(rng.uniform(s, end), lateral, kind=site.tree_kind())
        site.shrubs(side, near - 1.5, near + 9.0, 0.15, (s, end))
        s = end


def _slope(site: Site, s0: float, s1: float, side: int, near: float) -> None:
    """A bank that rises away from the road, and the level ground on top of it."""
    page, rise = site.page("slope"), site.rng.uniform(2.0, 9.0)
    run = rise * site.rng.uniform(1.5, 2.5)
    knots = np.linspace(s0, s1, int((s1 - s0) / 12.0) + 2)
    for a, b in pairwise(knots):
        for inner, outer, low, high in ((0.0, run, 0.0, rise), (run, run + 15, rise, rise)):
            corners = [site.pose(x, side * (near + inner)).point(0, 0, low) for x in (a, b)]
            back = site.pose(a, side * (near + outer)).point(0, 0, high)
            if not site.is_free(np.array([c[[0, 2]] for c in (*corners, back)]), 1.0):
                continue
            first, second = corners if side < 0 else corners[::-1]
            if side > 0:
                back = site.pose(b, side * (near + outer)).point(0, 0, high)
            site.build.add(
                first, second - first, back - first, page, two_sided=True,
                light=site.build.sun.light(UP),
            )  # fmt: skip


def add_gantries(site: Site, spacing: float) -> None:
    """Add direction signs over the roadway, and bridges."""
    rng = site.rng
    steel = site.page("steel")
    right, left = site.plan.right + 1.0, site.plan.left - 0.6
    for s in np.arange(rng.uniform(20.0, spacing), site.length - 20.0, spacing):
        middle = site.pose(s, (right + left) / 2)
        if rng.random() < 0.3:
            _bridge(site, middle, right - left)
            continue
        for lateral in (right, left):
            add_box(site.build, site.pose(s, lateral), (0.35, 0.35, 6.5), steel)
        beam = middle.turned(np.pi / 2)
        add_box(site.build, beam, (right - left, 0.4, 0.5), steel, base=6.0)
        _direction_signs(site, middle, right - left)


def _bridge(site: Site, middle: GroundPose, span: float) -> None:
    page = site.page("barrier")
    add_box(site.build, middle.turned(np.pi / 2), (span + 30.0, 9.0, 1.6), page, base=5.2)
    corner = middle.point(-4.5, span / 2 + 15.0, 5.2)
    site.build.add(corner, -middle.right * (span + 30), middle.forward * 9.0, page, light=0.3)


def _direction_signs(site: Site, middle: GroundPose, span: float) -> None:
    rng = site.rng
    for _ in range(int(rng.integers(1, 3))):
        wide = rng.uniform(3.5, 6.0)
        corner = middle.point(-0.3, rng.uniform(-span / 2, span / 2 - wide), 5.3)
        site.build.add(corner, middle.right * wide, UP * wide * 0.4, site.page("gantry"))
