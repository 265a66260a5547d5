"""Rows of houses with gables or flat roofs, and the gardens between them."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.synthetic.facades import FACADE_PX, METERS_PER_PX
from sfm_ros.synthetic.place import Site
from sfm_ros.synthetic.quads import UP, Place


def add_houses(
    site: Site, side: int, density: float, setback: float, storeys: tuple[int, int]
) -> None:
    """A row of houses on one side; between them gardens, walls, hedges and trees."""
    s = site.rng.uniform(0.0, 10.0)
    closed = site.rng.random() < 0.5
    while s < site.line.length - 25.0:
        width = site.rng.uniform(8.0, 20.0)
        if site.rng.random() < density:
            _house(site, s + width / 2, side, width, setback, storeys)
            gap = 0.0 if closed and site.rng.random() < 0.8 else site.rng.uniform(2.0, 9.0)
        else:
            _garden(site, s, s + width, side)
            gap = 0.0
        if site.rng.random() < 0.12:
            gap = site.rng.uniform(6.0, 9.0)
            _side_road(site, s + width + gap / 2, side, gap - 1.0)
        elif gap > 1.5:
            _garden(site, s + width, s + width + gap, side)
        s += width + gap


def _side_road(site: Site, s: float, side: int, width: float) -> None:
    """Asphalt from the edge of the street away between two houses, a centimeter thick."""
    place = site.place(s, site.edge(side))
    outward, page = side * place.n, site.page("side_road")
    across = np.cross(UP, outward)
    corner = place.point(0.0, 0.0, 0.01) - 0.5 * width * across
    footprint = Place(place.point(0.0, side * 35.0), place.n, place.t).rectangle(60.0, width)
    if site.is_free(footprint, 0.0):
        site.build.add(corner, outward * 65.0, across * width, page, two_sided=True)


def _house(
    site: Site, s: float, side: int, width: float, setback: float, storeys: tuple[int, int]
) -> None:
    rng, build = site.rng, site.build
    depth = rng.uniform(8.0, 12.0)
    front = abs(site.edge(side)) + site.plan.pavement + setback * rng.uniform(0.7, 1.4) + 0.3
    place = site.place(s, side * (front + depth / 2), rng.normal(0.0, 0.02))
    footprint = place.rectangle(width, depth)
    if not site.is_free(footprint, 0.3 + 0.6 * site.plan.pavement):
        return
    floors = int(rng.integers(storeys[0], storeys[1] + 1))
    height = min(floors * rng.uniform(2.7, 3.3) + 0.6, FACADE_PX[0] * METERS_PER_PX - 0.2)
    page, tint = site.page("facade"), rng.uniform(0.95, 1.04, size=3) * rng.uniform(0.8, 1.1)
    n, t = place.n * side, place.t * side  # n points away from the street
    here = Place(place.foot, t, n)
    rows = height / METERS_PER_PX
    for forward, right, along, span in (
        (0.5, -0.5, -t, width), (-0.5, -0.5, n, depth), (0.5, 0.5, -n, depth),
        (-0.5, 0.5, t, width),
    ):  # fmt: skip
        cols = span / METERS_PER_PX
        x0 = rng.uniform(0.0, FACADE_PX[1] - cols)
        part = (x0, FACADE_PX[0] - rows, x0 + cols, FACADE_PX[0])
        corner = here.point(forward * width, right * depth)
        build.add(corner, along * span, UP * height, page, tint=tint, part=part)
    ridge = rng.uniform(0.4, 0.9) * depth / 2 if rng.random() < 0.7 else 0.0
    if ridge:
        _gabled_roof(site, here, width, depth, height, ridge, tint)
    else:
        site.build.add(
            here.point(0.5 * width + 0.2, -0.5 * depth - 0.25, height - 0.15),
            -t * (width + 0.4), UP * 0.4, site.page("roof"), part=(0, 0, 256, 8),
        )  # fmt: skip
    build.shadow_of(footprint, height + ridge / 2)
    build.contacts.append(place.rectangle(width + 0.8, depth + 0.8))


def _gabled_roof(
    site: Site,
    here: Place,
    width: float,
    depth: float,
    eaves: float,
    ridge: float,
    tint: FloatArray,
) -> None:
    build, page, over = site.build, site.page("roof"), 0.4
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
            two_sided=True, tint=site.rng.uniform(0.9, 1.1),
        )  # fmt: skip
    gable = site.page("gable")
    for forward, right, along in ((-0.5, -0.5, here.n), (0.5, 0.5, -here.n)):
        corner = here.point(forward * width, right * depth, eaves)
        build.add(corner, along * depth, UP * ridge, gable, tint=tint, cutout=True)


def _garden(site: Site, s0: float, s1: float, side: int) -> None:
    """A hedge, wall, fence or nothing along the pavement, with trees and shrubs behind."""
    rng = site.rng
    kind = rng.choice(["hedge", "wall", "fence", "none"], p=[0.35, 0.25, 0.2, 0.2])
    lateral = site.edge(side) + side * (site.plan.pavement + 0.4)
    if kind == "hedge":
        site.strip(s0, s1, lateral, rng.uniform(0.8, 2.2), "hedge", thick=0.9)
    elif kind == "wall":
        site.strip(s0, s1, lateral, rng.uniform(0.6, 2.4), "wall", thick=0.3)
    elif kind == "fence":
        site.strip(s0, s1, lateral, rng.uniform(0.8, 1.8), "fence", thick=0.0)
    for _ in range(int(rng.integers(0, 3))):
        site.tree(
            rng.uniform(s0, s1), lateral + side * rng.uniform(2.0, 10.0), kind=site.some_tree()
        )
