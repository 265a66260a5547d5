"""A synthetic street with exact depth and camera poses, for training and as a test oracle.

The world is static and follows from one seed: road, houses, greenery, parked cars, weather and
camera vary. World axes are optical ones (x right, y down, z forward). The ground is the plane
``y = camera_height_m``; a camera at its nominal height has ``y = 0``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sfm_ros.datatypes import CameraIntrinsics, FloatArray, Frame, read_only
from sfm_ros.errors import ConfigError
from sfm_ros.geometry import is_rotation
from sfm_ros.source import SourceItem
from sfm_ros.synthetic import path
from sfm_ros.synthetic import world as scene
from sfm_ros.synthetic.ground import build_ground, build_sky
from sfm_ros.synthetic.quads import UP, QuadBuilder
from sfm_ros.synthetic.raster import RayGrid, cast
from sfm_ros.synthetic.shade import expose, shade
from sfm_ros.synthetic.site import Site

FIRST_STAMP_NS = 1_000_000_000_000_000
KINDS = ("city", "motorway", "mixed", "traffic")
_MOST_PITCH_DEG = 30.0


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """What to render.

    Attributes:
        seed: of all random choices.
        width, height: image size in pixels.
        frames: number of images (ignored if camera poses are given).
        fps: images per second.
        fx: focal length in pixels; None draws 0.5 to 0.95 of the width, and a principal point a
            little off the center.
        camera_height_m: height of the camera above the road; None draws 1.2 to 1.9 m.
        pitch_deg: mean pitch of the camera, up positive; None draws one of about a degree.
        kind: ``city``, ``motorway``, ``mixed`` (one of these, drawn from the seed), or ``traffic``
            (a city street with stationary cars, trucks and buses in its lanes).
        sky_depth_m: depth that is given to the sky.
    """

    seed: int = 0
    width: int = 416
    height: int = 128
    frames: int = 150
    fps: float = 10.0
    fx: float | None = None
    camera_height_m: float | None = None
    pitch_deg: float | None = None
    kind: str = "mixed"
    sky_depth_m: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"kind is '{self.kind}', expected one of {', '.join(KINDS)}")
        if min(self.width, self.height) < 16:
            raise ConfigError(
                f"the image is {self.width}x{self.height}, expected at least 16x16 pixels"
            )
        if self.frames < 1 or not self.fps > 0.0:
            raise ConfigError(
                f"frames={self.frames} and fps={self.fps}, expected at least one frame and a "
                "positive rate"
            )
        if self.fx is not None and not self.fx > 0.0:
            raise ConfigError(f"fx is {self.fx}, expected a positive number of pixels")
        if self.camera_height_m is not None and not 0.2 <= self.camera_height_m <= 10.0:
            raise ConfigError(
                f"camera_height_m is {self.camera_height_m}, expected 0.2 to 10 meters"
            )
        if self.pitch_deg is not None and not abs(self.pitch_deg) <= _MOST_PITCH_DEG:
            raise ConfigError(
                f"pitch_deg is {self.pitch_deg}, expected at most {_MOST_PITCH_DEG:g} degrees "
                "up or down"
            )


class SyntheticStreet:
    """A ``Source`` of rendered frames with ground truth; frames can be rendered in any order.

    ``depth_m`` is the depth at the center of each pixel, by default 0 for the sky. Colors are
    averaged over the pixel, so that at a silhouette they mix surfaces and the depth does not.

    Attributes:
        name: kind and seed.
        fps: images per second.
        camera_height_m: nominal height of the camera above the road.
        intrinsics: the camera of every frame.
        poses: (N, 4, 4) float64 T_world_camera in meters; the first one is not the identity.
    """

    def __init__(self, config: SyntheticConfig, T_world_camera: FloatArray | None = None) -> None:
        """Draw the world.

        Args:
            config: what to render.
            T_world_camera: (N, 4, 4) camera poses to render instead of random ones, with
                ``y = 0`` at the nominal height. The street follows their positions, or is straight
                along the first view if they turn too sharply for a road.

        Raises:
            ConfigError: the given poses are not rigid, or a camera is below the road.
        """
        kind_rng, camera_rng, path_rng = (
            np.random.default_rng([config.seed, part]) for part in range(3)
        )
        kind = config.kind
        if kind == "mixed":
            kind = "motorway" if kind_rng.random() < 0.3 else "city"
        motorway = kind == "motorway"
        self._config = config
        self.name = f"synthetic-{kind}-{config.seed}"
        self.fps = config.fps
        height = config.camera_height_m
        self.camera_height_m = float(camera_rng.uniform(1.2, 1.9)) if height is None else height
        self.intrinsics = _draw_intrinsics(camera_rng, config)
        plan = scene.draw_plan(kind_rng, motorway)
        if T_world_camera is None:
            style = _draw_style(camera_rng, plan.lane, motorway, config.pitch_deg)
            length = config.frames / config.fps * style.speed_max
            line = path.random_center_line(path_rng, length, motorway)
            poses = path.camera_path(path_rng, line, style, config.frames, config.fps)
        else:
            poses = _checked_poses(T_world_camera, self.camera_height_m)
            line = path.center_line_of(poses)
        self.poses = read_only(poses)
        self._arc_lengths = line.nearest(poses[:, [0, 2], 3])[:, 0]
        self._world = self._build_world(kind, line, plan)
        self._grid = _ray_grid(self.intrinsics)

    def _build_world(self, kind: str, line: path.CenterLine, plan: scene.RoadPlan) -> scene.World:
        rngs = [np.random.default_rng([self._config.seed, 10 + part]) for part in range(5)]
        sun = scene.draw_sun(rngs[0])
        atlas = scene.build_atlas(rngs[1], kind)
        site = Site(
            rng=rngs[2],
            line=line,
            plan=plan,
            pages=atlas.pages,
            build=QuadBuilder(sun),
            ground_y=self.camera_height_m,
            keep_out=self.poses[:: max(len(self) // 400, 1), [0, 2], 3],
        )
        scene.FURNISH[kind](site)
        sky, haze = build_sky(rngs[3], plan.motorway)
        ground = build_ground(rngs[4], plan, self.intrinsics.fx, self.camera_height_m)
        return scene.World(
            line=line,
            ground_y=self.camera_height_m,
            ground=ground,
            ground_light=sun.light(UP),
            atlas=atlas,
            quads=site.build.build(),
            sky=sky,
            haze=haze.astype(np.float64),
            appearance=scene.draw_appearance(rngs[0], sun, float(ground.rgb[:, 1:-1].mean())),
        )

    def __len__(self) -> int:
        return len(self.poses)

    def __iter__(self) -> Iterator[SourceItem]:
        return (self.render(index) for index in range(len(self)))

    def render(self, index: int) -> SourceItem:
        """Render a frame with its pose and depth; the result does not depend on other calls.

        Raises:
            IndexError: no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        world, pose = self._world, self.poses[index]
        hits = cast(world.quads, world.atlas, self._grid, np.linalg.inv(pose), world.ground_y)
        light = shade(world, hits, self._grid, pose, float(self._arc_lengths[index]))
        center = hits.inv_depth[1::2, 1::2]
        depth = np.where(center > 0, 1.0 / np.maximum(center, 1e-6), self._config.sky_depth_m)
        frame = Frame(
            stamp_ns=FIRST_STAMP_NS + round(index * 1e9 / self.fps),
            rgb=expose(world, light, (self._config.seed, index)),
            intrinsics=self.intrinsics,
        )
        depth_m = read_only(depth.astype(np.float32))
        return SourceItem(frame=frame, T_world_camera=pose, depth_m=depth_m)


def _draw_intrinsics(rng: np.random.Generator, config: SyntheticConfig) -> CameraIntrinsics:
    ratio = 0.58 if rng.random() < 0.3 else rng.uniform(0.5, 0.95)
    off_x, off_y = rng.normal(0.0, 0.012, size=2) if config.fx is None else (0.0, 0.0)
    focal = float(ratio * config.width if config.fx is None else config.fx)
    return CameraIntrinsics(
        width=config.width,
        height=config.height,
        fx=focal,
        fy=focal,
        cx=(config.width - 1) / 2 + off_x * config.width,
        cy=(config.height - 1) / 2 + off_y * config.height,
    )


def _draw_style(
    rng: np.random.Generator, lane: float, motorway: bool, pitch_deg: float | None
) -> path.MotionStyle:
    slow = rng.uniform(20.0, 26.0) if motorway else rng.uniform(3.0, 9.0)
    return path.MotionStyle(
        speed_min=slow,
        speed_max=slow + rng.uniform(1.0, 7.0 if motorway else 6.0),
        lane_m=lane + rng.normal(0.0, 0.1),
        pitch_rad=np.deg2rad(rng.normal(0.0, 0.8) if pitch_deg is None else pitch_deg),
        shake=rng.uniform(0.1, 1.0),
    )


def _checked_poses(T_world_camera: FloatArray, camera_height_m: float) -> FloatArray:
    poses = np.array(T_world_camera, dtype=np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or not len(poses):
        raise ConfigError(f"the camera poses have shape {poses.shape}, expected (N, 4, 4)")
    is_rigid = all(is_rotation(T[:3, :3], tolerance=1e-6) for T in poses)
    if not (is_rigid and np.all(np.isfinite(poses))):
        raise ConfigError("the camera poses are not rigid: a rotation part is not a rotation")
    if poses[:, 1, 3].max() > camera_height_m - 0.2:
        raise ConfigError(
            f"a camera is at y = {poses[:, 1, 3].max():.2f} m, but the road is at "
            f"y = {camera_height_m:.2f} m (y points down); keep it at least 0.2 m above the road"
        )
    return poses


def _ray_grid(camera: CameraIntrinsics) -> RayGrid:
    """Two samples per pixel along each axis; the odd ones are the pixel centers."""
    cols = np.arange(2 * camera.width + 1) / 2.0 - 0.5
    rows = np.arange(2 * camera.height + 1) / 2.0 - 0.5
    return RayGrid(
        x=((cols - camera.cx) / camera.fx).astype(np.float32),
        y=((rows - camera.cy) / camera.fy).astype(np.float32),
        fx=2.0 * camera.fx,
        fy=2.0 * camera.fy,
    )
