"""The parts of a synthetic world - road, light, textures, objects - drawn from random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sfm_ros.datatypes import FloatArray, RgbImage
from sfm_ros.synthetic import facades, props, vehicle_shapes
from sfm_ros.synthetic.atlas import Atlas, AtlasBuilder
from sfm_ros.synthetic.ground import GroundTexture, RoadPlan
from sfm_ros.synthetic.houses import add_houses
from sfm_ros.synthetic.noise import flat, pick_color
from sfm_ros.synthetic.path import CenterLine
from sfm_ros.synthetic.quads import UP, Quads, Sun
from sfm_ros.synthetic.roadside import add_gantries, add_roadside
from sfm_ros.synthetic.site import Band, Site
from sfm_ros.synthetic.vehicles import add_parked_cars, add_queue, add_traffic


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """Air and camera: how radiance becomes an image.

    Attributes:
        exposure, gamma, saturation: tone; gamma sets the contrast.
        white: (3,) gains of the channels.
        haze_m: distance at which haze hides 63 % of a surface, meters.
        shadow: factor on the light of the ground in a cast shadow.
        sky_gain: factor on the sky, which is often overexposed.
        vignette: loss of light in the image corners, 0 to 1.
        blur_px: standard deviation of the lens blur, pixels.
        noise: standard deviation of the sensor noise, gray levels.
    """

    exposure: float
    gamma: float
    saturation: float
    white: FloatArray
    haze_m: float
    shadow: float
    sky_gain: float
    vignette: float
    blur_px: float
    noise: float


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """Everything that is the same in all frames.

    Attributes:
        line: course of the street.
        ground_y: of the ground plane in the world, meters.
        ground, ground_light: texture of the ground, and its light factor.
        atlas, quads: textures and objects.
        sky: (256, 1024, 3) panorama.
        haze: (3,) color of the haze.
        appearance: of air and camera.
    """

    line: CenterLine
    ground_y: float
    ground: GroundTexture
    ground_light: float
    atlas: Atlas
    quads: Quads
    sky: RgbImage
    haze: FloatArray
    appearance: Appearance


def draw_plan(rng: np.random.Generator, motorway: bool) -> RoadPlan:
    """A random cross-section; traffic drives on the right."""
    return _motorway_plan(rng) if motorway else _city_plan(rng)


def _city_plan(rng: np.random.Generator) -> RoadPlan:
    lane = rng.uniform(2.7, 3.6)
    parking = bool(rng.random() < 0.6)
    lanes = 2 if rng.random() < 0.25 else 1
    strip = rng.uniform(2.0, 2.4) if parking else rng.uniform(0.2, 0.6)
    half = lanes * lane + strip
    lines: list[tuple[float, float, float, float, int]] = []
    style = rng.random()
    if style < 0.65:
        solid = rng.random() < 0.25
        lines.append((0.0, 0.13, 3.0, 0.0 if solid else rng.uniform(3.0, 6.0), 0))
    if lanes == 2:
        lines += [(side * lane, 0.13, 3.0, 6.0, 0) for side in (-1, 1)]
    if rng.random() < 0.4:
        lines += [(side * lanes * lane, 0.12, 3.0, 0.0, 0) for side in (-1, 1)]
    return RoadPlan(
        left=-half, right=half, sidewalk=0.0 if rng.random() < 0.1 else rng.uniform(1.2, 3.2),
        lines=tuple(lines), lane=(lanes - 0.5) * lane, parking=parking, motorway=False,
    )  # fmt: skip


def _motorway_plan(rng: np.random.Generator) -> RoadPlan:
    """One roadway around the center line, with the median at its left edge."""
    lane, lanes = rng.uniform(3.4, 3.8), int(rng.integers(2, 6))
    left_shoulder, right_shoulder = rng.uniform(0.7, 2.5), rng.uniform(2.0, 3.5)
    half = lanes * lane / 2
    yellow = int(rng.random() < 0.5)
    dash, gap = (3.6, 9.0) if rng.random() < 0.5 else (6.0, 12.0)
    lines = [(-half + k * lane, 0.15, dash, gap, 0) for k in range(1, lanes)]
    lines += [(-half, 0.2, 3.0, 0.0, yellow), (half, 0.2, 3.0, 0.0, 0)]
    return RoadPlan(
        left=-half - left_shoulder, right=half + right_shoulder, sidewalk=0.0, lines=tuple(lines),
        lane=-half + (int(rng.integers(lanes)) + 0.5) * lane, parking=False, motorway=True,
    )  # fmt: skip


def draw_appearance(rng: np.random.Generator, sun: Sun, ground_level: float) -> Appearance:
    """Random tone, air and lens; exposed for ground of mean gray ``ground_level``."""
    gamma = rng.uniform(0.8, 1.4)
    target = 255.0 * (rng.uniform(60.0, 135.0) / 255.0) ** (1.0 / gamma)
    # Walls are brighter than asphalt: a light meter measures something in between.
    metered = (0.5 * ground_level + 60.0) * sun.light(UP)
    return Appearance(
        exposure=target / metered,
        gamma=gamma,
        saturation=rng.uniform(0.5, 1.15),
        white=1.0 + rng.normal(0.0, 0.03, size=3),
        haze_m=float(np.exp(rng.uniform(np.log(250.0), np.log(3000.0)))),
        shadow=1.0 - 0.62 * sun.strength,
        sky_gain=rng.uniform(0.75, 1.35),
        vignette=rng.uniform(0.0, 0.3),
        blur_px=rng.uniform(0.0, 0.6),
        noise=rng.uniform(0.8, 4.0),
    )


def draw_sun(rng: np.random.Generator) -> Sun:
    """A random sun, high or low; or an overcast sky."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(18.0, 65.0))
    level = np.cos(elevation)
    direction = np.array([level * np.sin(azimuth), -np.sin(elevation), level * np.cos(azimuth)])
    return Sun(direction=direction, strength=0.0 if rng.random() < 0.3 else rng.uniform(0.4, 1.0))


def build_atlas(rng: np.random.Generator, kind: str) -> Atlas:
    """Paint all textures of a kind of street."""
    atlas = AtlasBuilder()
    for _ in range(4 if kind == "motorway" else 12):
        atlas.add("facade", facades.facade(rng))
    for _ in range(3):
        atlas.add("roof", facades.roof(rng))
    autumn = bool(rng.random() < 0.3)
    for _ in range(4):
        atlas.add("tree", *props.tree(rng, autumn, conifer=False))
    for _ in range(2):
        atlas.add("conifer", *props.tree(rng, False, conifer=True))
    for _ in range(3):
        atlas.add("bush", *props.bush(rng))
        atlas.add("sign", *props.sign(rng))
    for _ in range(2):
        atlas.add("hedge", props.foliage(rng, 64, 256))
        atlas.add("wall", facades.garden_wall(rng))
        atlas.add("fence", *props.fence(rng))
    atlas.add("wood", *props.wood(rng))
    atlas.add("side_road", props.side_road(rng))
    atlas.add("rail", *props.guard_rail(rng))
    atlas.add("barrier", facades.concrete_barrier(rng))
    atlas.add("slope", props.hillside(rng))
    atlas.add("gantry", props.direction_sign(rng))
    atlas.add("gable", *facades.gable(rng))
    atlas.add("steel", flat(32, 32, pick_color(rng, [(140, 142, 145), (90, 92, 95)])))
    for shape in vehicle_shapes.CARS:
        atlas.add("vehicle_side", *vehicle_shapes.vehicle_side(shape))
    atlas.add("front", vehicle_shapes.vehicle_end(rear=False))
    atlas.add("rear", vehicle_shapes.vehicle_end(rear=True))
    atlas.add("glass", vehicle_shapes.vehicle_panel(glass=True))
    atlas.add("panel", vehicle_shapes.vehicle_panel(glass=False))
    if kind == "traffic":
        for shape in vehicle_shapes.HIGH_VEHICLES:
            atlas.add("vehicle_side", *vehicle_shapes.vehicle_side(shape))
        atlas.add("doors", vehicle_shapes.rear_doors(rng))
    return atlas.build()


def furnish_city(site: Site) -> None:
    """Add houses, gardens, trees, lamp posts and parked cars."""
    rng, plan = site.rng, site.plan
    density = rng.choice([0.9, 0.65, 0.35, 0.1], p=[0.4, 0.3, 0.2, 0.1])
    low = int(rng.integers(1, 4))
    half = plan.right + plan.sidewalk
    for side in (-1, 1):
        setback = rng.choice([0.1, rng.uniform(2.0, 7.0)])
        add_houses(site, side, density * rng.uniform(0.7, 1.05), setback, (low, low + 2))
        if rng.random() < 0.45:
            site.avenue(side, plan.right + min(plan.sidewalk, 0.9) + 0.5, rng.uniform(7, 22))
        site.avenue(side, half + rng.uniform(16.0, 24.0), 6.0)
        if density < 0.5:
            site.shrubs(side, half + 1.5, half + 9.0, 0.3, (0.0, site.length - 10.0))
        if rng.random() < 0.8:
            site.posts(side, plan.right + 0.6, rng.uniform(14.0, 35.0))
        if plan.parking:
            add_parked_cars(site, side, rng.uniform(0.25, 0.95))


def furnish_traffic(site: Site) -> None:
    """Furnish a city street and fill its lanes with stationary traffic."""
    furnish_city(site)
    add_traffic(site)


def furnish_motorway(site: Site) -> None:
    """Add a median barrier, rails, banks, woods, noise walls, gantries and queues."""
    rng, plan, end = site.rng, site.plan, site.length - 10.0
    median = rail = Band(kind="rail", height=0.8, thickness=0.0, piece_m=8.0)
    if rng.random() < 0.6:
        median = Band(kind="barrier", height=rng.uniform(0.8, 1.1), thickness=0.4, piece_m=8.0)
    site.band(0.0, end, plan.left - 0.5, median)
    for side, edge in ((-1, plan.left - 3.0), (1, plan.right)):
        if side > 0 and rng.random() < 0.6:
            site.band(0.0, end, edge + 0.6, rail)
        add_roadside(site, side, abs(edge))
    lanes = sorted({offset for offset, *_ in plan.lines})
    for left, right in pairwise(lanes):
        middle = (left + right) / 2
        if abs(middle - plan.lane) > 1.0 and rng.random() < 0.5:
            add_queue(site, middle, rng.uniform(30.0, 150.0))
    add_queue(site, plan.right - 1.3, rng.uniform(150.0, 600.0))
    add_gantries(site, rng.uniform(120.0, 400.0))
    site.posts(1, plan.right + 1.2, rng.uniform(25.0, 60.0))


FURNISH = {"city": furnish_city, "traffic": furnish_traffic, "motorway": furnish_motorway}
"""Adds the objects along a street, by its kind."""
