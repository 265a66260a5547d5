"""Stationary vehicles: parked, queued or in traffic, extruded from their side views."""

from __future__ import annotations

import numpy as np

from sfm_ros.synthetic.quads import UP, GroundPose
from sfm_ros.synthetic.site import Site
from sfm_ros.synthetic.vehicle_shapes import CARS, HIGH_VEHICLES, VehicleShape

PAINTS = [
    (0.95, 0.95, 0.95), (0.7, 0.71, 0.73), (0.4, 0.41, 0.43), (0.1, 0.1, 0.11), (0.12, 0.15, 0.3),
    (0.55, 0.08, 0.08), (0.16, 0.17, 0.18), (0.2, 0.3, 0.26), (0.75, 0.7, 0.6),
]  # fmt: skip

_WIDEST_SINGLE_M = 2.5
"""Largest offset of the only lane of a city street."""

VEHICLES = CARS + HIGH_VEHICLES
CITY_MIX = (0.3, 0.25, 0.2, 0.12, 0.13, 0.0)
MOTORWAY_MIX = (0.2, 0.25, 0.15, 0.15, 0.1, 0.15)
"""Probability of each of ``CARS``."""
TRAFFIC_MIX = (0.2, 0.17, 0.12, 0.08, 0.1, 0.03, 0.09, 0.09, 0.06, 0.06)
"""Probability of each of ``VEHICLES`` in a street full of traffic."""


def add_parked_cars(site: Site, side: int, density: float) -> None:
    """Add cars with gaps along one curb (-1 left, 1 right)."""
    s = site.rng.uniform(0.0, 8.0)
    edge = site.edge(side)
    while s < site.length - 15.0:
        if site.rng.random() < density:
            _add_car(site, s, edge - side * site.rng.uniform(1.0, 1.2), site.rng.random() < 0.75)
        s += site.rng.uniform(5.6, 8.5)


def add_queue(site: Site, lateral: float, spacing: float) -> None:
    """Add vehicles in one lane of a motorway, all of them facing forward."""
    s = site.rng.uniform(0.0, 2 * spacing)
    while s < site.length - 15.0:
        _add_car(site, s, lateral + site.rng.normal(0.0, 0.2), True)
        s += 14.0 + site.rng.exponential(spacing)


def add_traffic(site: Site) -> None:
    """Add vehicles in every lane: beside the camera, and ahead of the last camera position."""
    lanes = [site.plan.lane, -site.plan.lane]
    if site.plan.lane > _WIDEST_SINGLE_M:  # the outer of two lanes; the inner ones are free
        lanes += [site.plan.lane / 3, -site.plan.lane / 3]
    last_camera_s = float(site.line.nearest(site.keep_out)[:, 0].max())
    for lane in lanes:
        is_own = lane == site.plan.lane
        start = last_camera_s + site.rng.uniform(4.0, 25.0) if is_own else 0.0
        _fill_lane(site, lane, start)


def _fill_lane(site: Site, lane: float, start: float) -> None:
    rng = site.rng
    gap_m = rng.choice([3.0, 12.0, 40.0])
    s = start
    while s < site.length - 15.0:
        which = int(rng.choice(len(VEHICLES), p=TRAFFIC_MIX))
        half = 0.5 * VEHICLES[which].length
        _add_vehicle(site, which, s + half, lane + rng.normal(0.0, 0.2), lane > 0)
        s += 2 * half + 1.0 + rng.exponential(gap_m)


def _add_car(site: Site, s: float, lateral: float, facing_forward: bool) -> None:
    mix = MOTORWAY_MIX if site.plan.motorway else CITY_MIX
    _add_vehicle(site, int(site.rng.choice(len(CARS), p=mix)), s, lateral, facing_forward)


def _add_vehicle(site: Site, which: int, s: float, lateral: float, facing_forward: bool) -> None:
    """Add one of ``VEHICLES``, unless a camera would pass through it."""
    rng, build, shape = site.rng, site.build, VEHICLES[which]
    turn = rng.normal(0.0, 0.02) + (0.0 if facing_forward else np.pi)
    pose = site.pose(s, lateral, turn)
    gap = np.linalg.norm(site.keep_out - pose.origin[[0, 2]], axis=1)
    if gap.min() < 0.5 * shape.width + 1.15:
        return
    paint = np.array(PAINTS[int(rng.integers(len(PAINTS)))])
    length, width, height = shape.length, shape.width, shape.height
    page = site.pages["vehicle_side"][which]
    for right in (-0.5, 0.5):
        build.add(
            pose.point(0.5 * length, right * width), -pose.forward * length, UP * height, page,
            tint=paint, cutout=True, two_sided=True,
            light=build.sun.light(pose.right * np.sign(right)),
        )  # fmt: skip
    _add_panels(site, shape, pose, paint)
    build.contacts.append(pose.rectangle(length - 0.1, width - 0.05))
    build.shadow_of(pose.rectangle(length - 0.4, width - 0.2), height * 0.85)


def _add_panels(site: Site, shape: VehicleShape, pose: GroundPose, paint: np.ndarray) -> None:
    """Join the two sides: one panel for each segment of the outline."""
    pages = {name: site.pages[name][0] for name in ("glass", "panel", "front", "rear")}
    if shape.doors:
        pages["rear"] = site.page("doors")
    outline, half_length, half_width = shape.outline, 0.5 * shape.length, 0.5 * shape.width
    for k, ((x0, y0), (x1, y1)) in enumerate(zip(outline[:-1], outline[1:], strict=True)):
        page = pages["glass" if k in shape.glass else "panel"]
        if k == 0 or k == len(outline) - 2:
            page = pages["rear" if k else "front"]
        side = 1.0
        if y1 < y0 and k > len(outline) // 2:  # rear half: the upper end is the first one
            x0, y0, x1, y1, side = x1, y1, x0, y0, -1.0
        corner = pose.point(half_length - x0, side * half_width, y0)
        across = -side * pose.right * shape.width
        edge = -pose.forward * (x1 - x0) + UP * (y1 - y0)
        site.build.add(corner, across, edge, page, tint=1.0 if k in shape.glass else paint)
