"""What lines a motorway: banks, woods, noise walls, gantries and bridges."""

from __future__ import annotations

import numpy as np

from sfm_ros.synthetic.place import Site
from sfm_ros.synthetic.quads import UP, Place, add_box


def add_roadside(site: Site, side: int, edge: float) -> None:
    """What lines a motorway on one side, changing every few hundred meters."""
    rng, s = site.rng, 0.0
    while s < site.length - 20.0:
        end = min(s + rng.uniform(60.0, 300.0), site.length - 10.0)
        kind = rng.choice(["slope", "wood", "noise", "open"], p=[0.3, 0.3, 0.1, 0.3])
        near = edge + rng.uniform(3.0, 7.0)
        if kind == "slope":
            _slope(site, s, end, side, near)
        elif kind == "wood":
            site.strip(s, end, side * (near + 9.0), rng.uniform(4.0, 9.0), "wood", 0.0, 20.0)
        elif kind == "noise":
            site.strip(s, end, side * near, rng.uniform(2.5, 4.5), "wall", 0.2, 8.0)
        trees = 0.0 if kind == "noise" else rng.choice([0.02, 0.08, 0.2])
        for _ in range(int((end - s) * trees)):
            lateral = side * (near + rng.uniform(1.0, 22.0))
            site.tree(rng.uniform(s, end), lateral, kind=site.some_tree())
        site.shrubs(side, near - 1.5, near + 9.0, 0.15, (s, end))
        s = end


def _slope(site: Site, s0: float, s1: float, side: int, near: float) -> None:
    """A bank that rises away from the road in two steps."""
    page, rise = site.page("slope"), site.rng.uniform(2.0, 9.0)
    run = rise * site.rng.uniform(1.5, 2.5)
    knots = np.linspace(s0, s1, int((s1 - s0) / 12.0) + 2)
    for a, b in zip(knots[:-1], knots[1:], strict=True):
        for inner, outer, low, high in ((0.0, run, 0.0, rise), (run, run + 15, rise, rise)):
            corners = [site.place(x, side * (near + inner)).point(0, 0, low) for x in (a, b)]
            back = site.place(a, side * (near + outer)).point(0, 0, high)
            if not site.is_free(np.array([c[[0, 2]] for c in (*corners, back)]), 1.0):
                continue
            first, second = corners if side < 0 else corners[::-1]
            if side > 0:
                back = site.place(b, side * (near + outer)).point(0, 0, high)
            site.build.add(
                first, second - first, back - first, page, two_sided=True,
                light=site.build.sun.light(UP),
            )  # fmt: skip


def add_gantries(site: Site, spacing: float) -> None:
    """Direction signs above or beside the carriageway, and bridges."""
    rng, build, steel = site.rng, site.build, site.page("steel")
    for s in np.arange(rng.uniform(20.0, spacing), site.length - 20.0, spacing):
        right, left = site.plan.right + 1.0, site.plan.left - 0.6
        middle = site.place(s, (right + left) / 2)
        span = right - left
        if rng.random() < 0.3:
            top = site.page("barrier")
            deck = Place.at(
                middle.foot[[0, 2]],
                float(np.arctan2(middle.t[0], middle.t[2])) + np.pi / 2,
                site.ground_y,
            )
            add_box(build, deck, (span + 30.0, 9.0, 1.6), top, base=5.2)
            under = middle.point(-4.5, span / 2 + 15.0, 5.2)
            build.add(under, -middle.n * (span + 30), middle.t * 9.0, top, light=0.3)
            continue
        for lateral in (right, left):
            place = site.place(s, lateral)
            add_box(build, place, (0.35, 0.35, 6.5), steel)
        beam = Place.at(
            middle.foot[[0, 2]],
            float(np.arctan2(middle.t[0], middle.t[2])) + np.pi / 2,
            site.ground_y,
        )
        add_box(build, beam, (span, 0.4, 0.5), steel, base=6.0)
        for _ in range(int(rng.integers(1, 3))):
            wide = rng.uniform(3.5, 6.0)
            offset = rng.uniform(-span / 2, span / 2 - wide)
            corner = middle.point(-0.3, offset, 5.3)
            build.add(corner, middle.n * wide, UP * wide * 0.4, site.page("gantry"))
