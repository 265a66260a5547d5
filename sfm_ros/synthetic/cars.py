"""Standing vehicles, extruded from their side views."""

from __future__ import annotations

import numpy as np

from sfm_ros.synthetic.place import Site
from sfm_ros.synthetic.quads import UP
from sfm_ros.synthetic.things import CARS, HIGH_VEHICLES, car_height

CAR_COLORS = [
    (0.95, 0.95, 0.95), (0.7, 0.71, 0.73), (0.4, 0.41, 0.43), (0.1, 0.1, 0.11), (0.12, 0.15, 0.3),
    (0.55, 0.08, 0.08), (0.16, 0.17, 0.18), (0.2, 0.3, 0.26), (0.75, 0.7, 0.6),
]  # fmt: skip

_WIDEST_SINGLE_M = 2.5
"""Offset of the only lane of a city street at most."""

VEHICLES = CARS + HIGH_VEHICLES
CITY_SHARES = (0.3, 0.25, 0.2, 0.12, 0.13, 0.0)
MOTORWAY_SHARES = (0.2, 0.25, 0.15, 0.15, 0.1, 0.15)
"""How often each of ``CARS`` is met."""
TRAFFIC_SHARES = (0.2, 0.17, 0.12, 0.08, 0.1, 0.03, 0.09, 0.09, 0.06, 0.06)
"""How often each of ``VEHICLES`` is met in a street full of traffic."""


def add_parked_cars(site: Site, side: int, density: float) -> None:
    """Cars along one kerb, with gaps."""
    s = site.rng.uniform(0.0, 8.0)
    edge = site.edge(side)
    while s < site.line.length - 15.0:
        if site.rng.random() < density:
            add_car(site, s, edge - side * site.rng.uniform(1.0, 1.2), site.rng.random() < 0.75)
        s += site.rng.uniform(5.6, 8.5)


def add_car(site: Site, s: float, lateral: float, facing_forward: bool) -> None:
    """One vehicle, of the kinds that stand along such a street."""
    shares = MOTORWAY_SHARES if site.plan.motorway else CITY_SHARES
    _put(site, int(site.rng.choice(len(CARS), p=shares)), s, lateral, facing_forward)


def _put(site: Site, which: int, s: float, lateral: float, facing_forward: bool) -> None:
    """One of ``VEHICLES`` extruded from its side view, unless the camera passes through it."""
    rng, build, shape = site.rng, site.build, VEHICLES[which]
    turn = rng.normal(0.0, 0.02) + (0.0 if facing_forward else np.pi)
    place = site.place(s, lateral, turn)
    gap = np.linalg.norm(site.keep_out - place.foot[[0, 2]], axis=1)
    if gap.min() < 0.5 * shape.width + 1.15:
        return
    tint = np.array(CAR_COLORS[int(rng.integers(len(CAR_COLORS)))])
    length, width, height = shape.length, shape.width, car_height(shape)
    side = site.pages["car_side"][which]
    for right, u, start in ((-0.5, -place.t, 0.5), (0.5, -place.t, 0.5)):
        build.add(
            place.point(start * length, right * width), u * length, UP * height, side,
            tint=tint, cutout=True, two_sided=True,
            light=build.sun.light(place.n * np.sign(right)),
        )  # fmt: skip
    pages = {name: site.pages[name][0] for name in ("glass", "panel", "front", "rear")}
    if shape.doors:
        pages["rear"] = site.page("doors")
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


def add_queue(site: Site, lateral: float, spacing: float) -> None:
    """Vehicles standing in one lane of a motorway, all facing forward."""
    s = site.rng.uniform(0.0, 2 * spacing)
    while s < site.length - 15.0:
        add_car(site, s, lateral + site.rng.normal(0.0, 0.2), True)
        s += 14.0 + site.rng.exponential(spacing)


def add_traffic(site: Site) -> None:
    """Vehicles that stand in every lane: beside the camera, and before the end of its way."""
    lanes = [site.plan.lane, -site.plan.lane]
    if site.plan.lane > _WIDEST_SINGLE_M:  # the outer of two lanes; the inner ones are free
        lanes += [site.plan.lane / 3, -site.plan.lane / 3]
    end_of_way = float(site.line.nearest(site.keep_out)[:, 0].max())
    for lane in lanes:
        is_own = lane == site.plan.lane
        begin = end_of_way + site.rng.uniform(4.0, 25.0) if is_own else 0.0
        _stand_in_line(site, lane, begin, facing_forward=lane > 0)


def _stand_in_line(site: Site, lane: float, begin: float, facing_forward: bool) -> None:
    rng = site.rng
    gap_m = rng.choice([3.0, 12.0, 40.0])
    s = begin
    while s < site.length - 15.0:
        which = int(rng.choice(len(VEHICLES), p=TRAFFIC_SHARES))
        half = 0.5 * VEHICLES[which].length
        _put(site, which, s + half, lane + rng.normal(0.0, 0.2), facing_forward)
        s += 2 * half + 1.0 + rng.exponential(gap_m)
