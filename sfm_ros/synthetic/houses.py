"""Rows of houses with gables or flat roofs, and the gardens between them."""

from __future__ import annotations

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.synthetic.atlas import Page
from sfm_ros.synthetic.facades import FACADE_PX, METERS_PER_PX
from sfm_ros.synthetic.quads import UP, GroundPose
from sfm_ros.synthetic.site import Band, Site

# Kind -> smallest and largest height, thickness; meters.
_ENCLOSURES = {"hedge": (0.8, 2.2, 0.9), "wall": (0.6, 2.4, 0.3), "fence": (0.8, 1.8, 0.0)}


def add_houses(
    site: Site, side: int, density: float, setback: float, storeys: tuple[int, int]
) -> None:
    """Add a row of houses on one side, with gardens, walls, hedges and trees between them.

    Args:
        side: -1 left, 1 right.
        density: probability of a house on each lot.
        setback: mean distance from the sidewalk to the houses, meters.
        storeys: smallest and largest number.
    """
    s = site.rng.uniform(0.0, 10.0)
    closed = site.rng.random() < 0.5
    while s < site.length - 25.0:
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
    """Asphalt that leads away between two houses, one centimeter above the ground."""
    edge = site.pose(s, site.edge(side))
    outward, page = side * edge.right, site.page("side_road")
    across = np.cross(UP, outward)
    corner = edge.point(0.0, 0.0, 0.01) - 0.5 * width * across
    center = GroundPose(edge.point(0.0, side * 35.0), edge.right, edge.forward)
    if site.is_free(center.rectangle(60.0, width), 0.0):
        site.build.add(corner, outward * 65.0, across * width, page, two_sided=True)


def _house(
    site: Site, s: float, side: int, width: float, setback: float, storeys: tuple[int, int]
) -> None:
    rng, build = site.rng, site.build
    depth = rng.uniform(8.0, 12.0)
    front = abs(site.edge(side)) + site.plan.sidewalk + setback * rng.uniform(0.7, 1.4) + 0.3
    center = site.pose(s, side * (front + depth / 2), rng.normal(0.0, 0.02))
    footprint = center.rectangle(width, depth)
    if not site.is_free(footprint, 0.3 + 0.6 * site.plan.sidewalk):
        return
    floors = int(rng.integers(storeys[0], storeys[1] + 1))
    height = min(floors * rng.uniform(2.7, 3.3) + 0.6, FACADE_PX[0] * METERS_PER_PX - 0.2)
    page, tint = site.page("facade"), rng.uniform(0.95, 1.04, size=3) * rng.uniform(0.8, 1.1)
    # Its right axis points away from the street, on either side.
    house = GroundPose(center.origin, center.forward * side, center.right * side)
    _walls(site, house, (width, depth, height), page, tint)
    ridge = rng.uniform(0.4, 0.9) * depth / 2 if rng.random() < 0.7 else 0.0
    if ridge:
        _gabled_roof(site, house, (width, depth, height), ridge, tint)
    else:
        build.add(
            house.point(0.5 * width + 0.2, -0.5 * depth - 0.25, height - 0.15),
            -house.forward * (width + 0.4), UP * 0.4, site.page("roof"), part=(0, 0, 256, 8),
        )  # fmt: skip
    build.shadow_of(footprint, height + ridge / 2)
    build.contacts.append(center.rectangle(width + 0.8, depth + 0.8))


def _walls(
    site: Site,
    house: GroundPose,
    size: tuple[float, float, float],
    page: Page,
    tint: FloatArray,
) -> None:
    """Four walls of a house of (width, depth, height), each a random part of one facade."""
    width, depth, height = size
    rows, t, n = height / METERS_PER_PX, house.forward, house.right
    for forward, right, along, span in (
        (0.5, -0.5, -t, width), (-0.5, -0.5, n, depth), (0.5, 0.5, -n, depth),
        (-0.5, 0.5, t, width),
    ):  # fmt: skip
        cols = span / METERS_PER_PX
        x0 = site.rng.uniform(0.0, FACADE_PX[1] - cols)
        part = (x0, FACADE_PX[0] - rows, x0 + cols, FACADE_PX[0])
        corner = house.point(forward * width, right * depth)
        site.build.add(corner, along * span, UP * height, page, tint=tint, part=part)


def _gabled_roof(
    site: Site,
    house: GroundPose,
    size: tuple[float, float, float],
    ridge: float,
    tint: FloatArray,
) -> None:
    """Two slopes that rise by ``ridge`` meters, and the gables below them."""
    (width, depth, eaves), page, over = size, site.page("roof"), 0.4
    for forward, right, along, inward in (
        (0.5, -0.5, -house.forward, house.right), (-0.5, 0.5, house.forward, -house.right),
    ):  # fmt: skip
        slope = ridge / (depth / 2)
        corner = house.point(
            forward * (width + 2 * over), right * (depth + 2 * over), eaves - slope * over
        )
        run = depth / 2 + over
        site.build.add(
            corner, along * (width + 2 * over), inward * run + UP * slope * run, page,
            two_sided=True, tint=site.rng.uniform(0.9, 1.1),
        )  # fmt: skip
    gable = site.page("gable")
    for half, along in ((-0.5, house.right), (0.5, -house.right)):
        corner = house.point(half * width, half * depth, eaves)
        site.build.add(corner, along * depth, UP * ridge, gable, tint=tint, cutout=True)


def _garden(site: Site, s0: float, s1: float, side: int) -> None:
    """A hedge, wall, fence or nothing along the sidewalk, and trees behind it."""
    rng = site.rng
    kind = rng.choice(["hedge", "wall", "fence", "none"], p=[0.35, 0.25, 0.2, 0.2])
    lateral = site.edge(side) + side * (site.plan.sidewalk + 0.4)
    if kind != "none":
        low, high, thickness = _ENCLOSURES[kind]
        band = Band(kind=kind, height=rng.uniform(low, high), thickness=thickness)
        site.band(s0, s1, lateral, band)
    for _ in range(int(rng.integers(0, 3))):
        site.tree(
            rng.uniform(s0, s1), lateral + side * rng.uniform(2.0, 10.0), kind=site.tree_kind()
        )
