"""Draws a whole synthetic world - road, weather, houses, things - from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import FloatArray, RgbImage
from sfm_ros.synthetic import facades, things
from sfm_ros.synthetic.atlas import Atlas, AtlasBuilder
from sfm_ros.synthetic.cars import add_parked_cars, add_queue, add_traffic
from sfm_ros.synthetic.ground import GroundTexture, RoadPlan
from sfm_ros.synthetic.houses import add_houses
from sfm_ros.synthetic.noise import flat, pick_color
from sfm_ros.synthetic.path import CenterLine
from sfm_ros.synthetic.place import Site
from sfm_ros.synthetic.quads import Quads, Sun
from sfm_ros.synthetic.roadside import add_gantries, add_roadside


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """Air and camera: what turns radiance into the image.

    Attributes:
        exposure, gamma, saturation: tone; contrast comes with gamma.
        white: (3,) channel gains.
        haze_m: distance at which the air hides 63 % of a surface.
        shadow: factor on sunlit ground in a cast shadow.
        sky_gain: factor on the sky, which is often overexposed.
        vignette: loss of light in the corners.
        blur_px: spread of the lens, pixels.
        noise: spread of the sensor's noise, gray levels.
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
    """Everything that does not change from frame to frame."""

    line: CenterLine
    plan: RoadPlan
    ground_y: float
    ground: GroundTexture
    ground_light: float
    atlas: Atlas
    quads: Quads
    sky: RgbImage
    haze: FloatArray
    appearance: Appearance


def draw_plan(rng: np.random.Generator, motorway: bool) -> RoadPlan:
    """A cross-section for driving on the right."""
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
        left=-half, right=half, pavement=0.0 if rng.random() < 0.1 else rng.uniform(1.2, 3.2),
        lines=tuple(lines), lane=(lanes - 0.5) * lane, parking=parking, motorway=False,
    )  # fmt: skip


def _motorway_plan(rng: np.random.Generator) -> RoadPlan:
    """One carriageway; its left edge is the median, s = center of the carriageway."""
    lane, lanes = rng.uniform(3.4, 3.8), int(rng.integers(2, 6))
    left_shoulder, right_shoulder = rng.uniform(0.7, 2.5), rng.uniform(2.0, 3.5)
    half = lanes * lane / 2
    yellow = int(rng.random() < 0.5)
    dash, gap = (3.6, 9.0) if rng.random() < 0.5 else (6.0, 12.0)
    lines = [(-half + k * lane, 0.15, dash, gap, 0) for k in range(1, lanes)]
    lines += [(-half, 0.2, 3.0, 0.0, yellow), (half, 0.2, 3.0, 0.0, 0)]
    return RoadPlan(
        left=-half - left_shoulder, right=half + right_shoulder, pavement=0.0, lines=tuple(lines),
        lane=-half + (int(rng.integers(lanes)) + 0.5) * lane, parking=False, motorway=True,
    )  # fmt: skip


def draw_appearance(rng: np.random.Generator, sun: Sun, ground_level: float) -> Appearance:
    """Tone, air and lens; exposed for the ground of mean gray ``ground_level`` in this light."""
    gamma = rng.uniform(0.8, 1.4)
    wanted = 255.0 * (rng.uniform(60.0, 135.0) / 255.0) ** (1.0 / gamma)
    # Walls are seldom as dark as asphalt: a meter sees something between.
    metered = (0.5 * ground_level + 60.0) * sun.light(np.array([0.0, -1.0, 0.0]))
    return Appearance(
        exposure=wanted / metered,
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
    """Clear or overcast, high or low."""
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(18.0, 65.0))
    level = np.cos(elevation)
    direction = np.array([level * np.sin(azimuth), -np.sin(elevation), level * np.cos(azimuth)])
    return Sun(direction=direction, strength=0.0 if rng.random() < 0.3 else rng.uniform(0.4, 1.0))


def build_atlas(rng: np.random.Generator, kind: str) -> Atlas:
    """Paint every texture a street of a kind needs."""
    atlas = AtlasBuilder()
    for _ in range(4 if kind == "motorway" else 12):
        atlas.add("facade", facades.facade(rng))
    for _ in range(3):
        atlas.add("roof", facades.roof(rng))
    autumn = bool(rng.random() < 0.3)
    for _ in range(4):
        atlas.add("tree", *things.tree(rng, autumn, conifer=False))
    for _ in range(2):
        atlas.add("conifer", *things.tree(rng, False, conifer=True))
    for _ in range(3):
        atlas.add("bush", *things.bush(rng))
        atlas.add("sign", *things.sign(rng))
    for _ in range(2):
        atlas.add("hedge", things.foliage(rng, 64, 256))
        atlas.add("wall", facades.garden_wall(rng))
        atlas.add("fence", *things.fence(rng))
    atlas.add("wood", *things.wood(rng))
    atlas.add("side_road", things.side_road(rng))
    atlas.add("rail", *things.guard_rail(rng))
    atlas.add("barrier", facades.concrete_barrier(rng))
    atlas.add("slope", things.hillside(rng))
    atlas.add("gantry", things.panel(rng))
    atlas.add("gable", *facades.gable(rng))
    atlas.add("steel", flat(32, 32, pick_color(rng, [(140, 142, 145), (90, 92, 95)])))
    for shape in things.CARS:
        atlas.add("car_side", *things.car_side(shape))
    atlas.add("front", things.car_end(rear=False))
    atlas.add("rear", things.car_end(rear=True))
    atlas.add("glass", things.car_panel(glass=True))
    atlas.add("panel", things.car_panel(glass=False))
    if kind == "traffic":
        for shape in things.HIGH_VEHICLES:
            atlas.add("car_side", *things.car_side(shape))
        atlas.add("doors", things.rear_doors(rng))
    return atlas.build()


def furnish_city(rng: np.random.Generator, site: Site, plan: RoadPlan) -> None:
    """Houses, gardens, trees, lamp posts and parked cars."""
    density = rng.choice([0.9, 0.65, 0.35, 0.1], p=[0.4, 0.3, 0.2, 0.1])
    low = int(rng.integers(1, 4))
    half = plan.right + plan.pavement
    for side in (-1, 1):
        setback = rng.choice([0.1, rng.uniform(2.0, 7.0)])
        add_houses(site, side, density * rng.uniform(0.7, 1.05), setback, (low, low + 2))
        if rng.random() < 0.45:
            site.avenue(side, plan.right + min(plan.pavement, 0.9) + 0.5, rng.uniform(7, 22))
        site.avenue(side, half + rng.uniform(16.0, 24.0), 6.0)
        if density < 0.5:
            site.shrubs(side, half + 1.5, half + 9.0, 0.3, (0.0, site.length - 10.0))
        if rng.random() < 0.8:
            site.posts(side, plan.right + 0.6, rng.uniform(14.0, 35.0))
        if plan.parking:
            add_parked_cars(site, side, rng.uniform(0.25, 0.95))


def furnish_traffic(rng: np.random.Generator, site: Site, plan: RoadPlan) -> None:
    """A city street whose lanes are full of cars, vans, lorries and buses that stand."""
    furnish_city(rng, site, plan)
    add_traffic(site)


def furnish_motorway(rng: np.random.Generator, site: Site, plan: RoadPlan) -> None:
    """Median barrier, rails, slopes, woods, noise walls, gantries and few houses."""
    end = site.length - 10.0
    median = plan.left - 0.5
    if rng.random() < 0.6:
        site.strip(0.0, end, median, rng.uniform(0.8, 1.1), "barrier", 0.4, 8.0)
    else:
        site.strip(0.0, end, median, 0.8, "rail", 0.0, 8.0)
    for side, edge in ((-1, plan.left - 3.0), (1, plan.right)):
        if side > 0 and rng.random() < 0.6:
            site.strip(0.0, end, edge + 0.6, 0.8, "rail", 0.0, 8.0)
        add_roadside(site, side, abs(edge))
    lanes = sorted({offset for offset, *_ in plan.lines})
    for left, right in zip(lanes[:-1], lanes[1:], strict=True):
        middle = (left + right) / 2
        if abs(middle - plan.lane) > 1.0 and rng.random() < 0.5:
            add_queue(site, middle, rng.uniform(30.0, 150.0))
    add_queue(site, plan.right - 1.3, rng.uniform(150.0, 600.0))
    add_gantries(site, rng.uniform(120.0, 400.0))
    site.posts(1, plan.right + 1.2, rng.uniform(25.0, 60.0))


FURNISH = {"city": furnish_city, "traffic": furnish_traffic, "motorway": furnish_motorway}
"""What puts things along a street, by its kind."""
