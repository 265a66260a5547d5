"""The center line of a synthetic street, and the path of a camera along it.

World axes are optical ones: x right, y down, z forward. A heading ``psi`` points along
``(sin psi, 0, cos psi)`` and grows in a right bend. Lateral offsets are positive to the right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import FloatArray

STEP_M = 0.25
"""Arc length between two samples of a center line."""
VIEW_M = 190.0
"""Length of the street beyond the last camera, so that its end is never visible."""
BEHIND_M = 60.0
"""Length of the street behind the first camera."""

_CHUNK = 2_000_000
"""Distances computed at a time, which bounds the memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CenterLine:
    """A smooth curve on the ground, sampled every ``STEP_M``.

    Attributes:
        xz: (N, 2) positions in meters.
        heading: (N,) radians.
        curvature: (N,) 1/m, positive in a right bend.
    """

    xz: FloatArray
    heading: FloatArray
    curvature: FloatArray

    @property
    def length(self) -> float:
        """Arc length in meters."""
        return (len(self.xz) - 1) * STEP_M

    def at(self, s: FloatArray | float, lateral: FloatArray | float = 0.0) -> FloatArray:
        """(..., 2) x, z at arc length ``s`` and a lateral offset, meters."""
        psi = self.heading_at(s)
        x = self._interpolate(s, self.xz[:, 0]) + np.cos(psi) * lateral
        z = self._interpolate(s, self.xz[:, 1]) - np.sin(psi) * lateral
        return np.stack([x, z], axis=-1)

    def heading_at(self, s: FloatArray | float) -> FloatArray:
        """Heading in radians at arc length ``s``."""
        return self._interpolate(s, self.heading)

    def curvature_at(self, s: FloatArray | float) -> FloatArray:
        """Curvature in 1/m at arc length ``s``."""
        return self._interpolate(s, self.curvature)

    def _interpolate(self, s: FloatArray | float, samples: FloatArray) -> FloatArray:
        return np.asarray(np.interp(s, np.arange(len(samples)) * STEP_M, samples))

    def nearest(self, xz: FloatArray, first: int = 0, last: int | None = None) -> FloatArray:
        """(N, 2) arc length of, and distance to, the nearest of every fourth sample in a range."""
        samples = self.xz[first:last:4]
        rows = max(_CHUNK // len(samples), 1)
        found = [_nearest(xz[i : i + rows], samples) for i in range(0, len(xz), rows)]
        index, distance = (np.concatenate(part) for part in zip(*found, strict=True))
        return np.stack([(first + 4 * index) * STEP_M, distance], axis=1)


def _nearest(points: FloatArray, samples: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """(N,) index of the nearest sample of each point and (N,) its distance."""
    inner = points @ samples.T
    squared = (points**2).sum(axis=1)[:, None] + (samples**2).sum(axis=1)[None] - 2.0 * inner
    index = squared.argmin(axis=1)
    return index, np.sqrt(np.maximum(squared[np.arange(len(points)), index], 0.0))


def from_curvature(curvature: FloatArray, heading0: float = 0.0) -> CenterLine:
    """The center line of a curvature (N,) in 1/m, starting ``BEHIND_M`` before the origin."""
    heading = heading0 + np.concatenate([[0.0], np.cumsum(curvature[:-1]) * STEP_M])
    steps = STEP_M * np.stack([np.sin(heading), np.cos(heading)], axis=1)
    xz = np.concatenate([np.zeros((1, 2)), np.cumsum(steps[:-1], axis=0)])
    origin = int(round(BEHIND_M / STEP_M))
    return CenterLine(xz=xz - xz[origin], heading=heading, curvature=curvature)


def random_center_line(rng: np.random.Generator, length_m: float, motorway: bool) -> CenterLine:
    """A random line of straights and bends, with linear transitions of curvature (clothoids).

    The heading stays within 55 degrees of the first one, so that the line never crosses itself.
    """
    count = int((length_m + BEHIND_M + VIEW_M) / STEP_M) + 2
    pieces = [np.zeros(int(rng.uniform(0.2, 1.0) * BEHIND_M / STEP_M))]
    total, heading = len(pieces[0]), 0.0
    while total < count:
        bend = _motorway_bend(rng, heading) if motorway else _city_bend(rng, heading)
        heading += float(bend.sum()) * STEP_M
        straight = np.zeros(int(rng.uniform(5.0, 300.0 if motorway else 80.0) / STEP_M))
        pieces += [bend, straight]
        total += len(bend) + len(straight)
    return from_curvature(np.concatenate(pieces)[:count])


def _city_bend(rng: np.random.Generator, heading: float) -> FloatArray:
    limit = np.deg2rad(55.0)
    target = rng.uniform(-limit, limit)
    if rng.random() < 0.3:  # a street corner: to the other side of the permitted range
        target = -np.copysign(rng.uniform(0.6, 1.0) * limit, heading)
        return _bend(target - heading, rng.uniform(15.0, 28.0))
    if rng.random() < 0.5:
        target = np.clip(heading + rng.uniform(-0.25, 0.25), -limit, limit)
    return _bend(target - heading, float(np.exp(rng.uniform(np.log(30.0), np.log(300.0)))))


def _motorway_bend(rng: np.random.Generator, heading: float) -> FloatArray:
    target = float(np.clip(heading + rng.uniform(-0.4, 0.4), -0.9, 0.9))
    return _bend(target - heading, rng.uniform(350.0, 1500.0))


def _bend(angle: float, radius: float) -> FloatArray:
    """(N,) curvature of a bend by an angle: up to 1 / ``radius``, constant, and down again."""
    length = 1.5 * abs(angle) * radius
    count = max(int(length / STEP_M), 3)
    shape = np.clip(3.0 * np.minimum(np.linspace(0, 1, count), np.linspace(1, 0, count)), 0.0, 1.0)
    return shape * np.sign(angle) / radius


def center_line_of(T_world_camera: FloatArray) -> CenterLine:
    """The line through given camera poses (N, 4, 4); straight if they turn too sharply."""
    positions = T_world_camera[:, [0, 2], 3]
    kept = [positions[0]]
    for position in positions[1:]:
        if np.linalg.norm(position - kept[-1]) > 0.5:
            kept.append(position)
    forward = T_world_camera[0, [0, 2], 2]
    route = _smooth_route(np.array(kept)) if len(kept) > 2 else None
    if route is None:
        psi = float(np.arctan2(forward[0], forward[1]))
        reach = float(np.ptp(positions, axis=0).sum())
        line = from_curvature(np.zeros(int((BEHIND_M + reach + VIEW_M) / STEP_M)), psi)
        return replace(line, xz=line.xz + positions[0])
    return route


def _smooth_route(points: FloatArray) -> CenterLine | None:
    """A polyline (N, 2) resampled and extended straight; None if it turns too sharply."""
    chords = np.diff(points, axis=0)
    heading = np.unwrap(np.arctan2(chords[:, 0], chords[:, 1]))
    turns = np.abs(np.diff(heading)) / np.linalg.norm(chords[1:], axis=1)
    if turns.max() > 0.25:
        return None
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(chords, axis=1))])
    middles = 0.5 * (along[1:] + along[:-1])
    count = int((along[-1] + BEHIND_M + VIEW_M) / STEP_M) + 2
    s = np.arange(count) * STEP_M - BEHIND_M
    smooth = np.interp(s, middles, heading)
    curvature = np.gradient(smooth, STEP_M)
    line = from_curvature(curvature, float(smooth[0]))
    return replace(line, xz=line.xz + points[0], heading=smooth)


@dataclass(frozen=True, kw_only=True)
class MotionStyle:
    """How the camera's vehicle moves along a street.

    Attributes:
        speed_min, speed_max: range of the target speed, m/s.
        lane_m: mean lateral offset.
        pitch_rad: mean pitch, up positive.
        shake: amplitude of roll, pitch and bounce, 0 to 1.
    """

    speed_min: float
    speed_max: float
    lane_m: float
    pitch_rad: float
    shake: float


def camera_path(
    rng: np.random.Generator, line: CenterLine, style: MotionStyle, frames: int, fps: float
) -> FloatArray:
    """(frames, 4, 4) random T_world_camera in meters; y = 0 is the camera's nominal height."""
    s, acceleration = _arc_lengths(rng, line, style, frames, fps)
    t = np.arange(frames) / fps
    wander = rng.uniform(0.05, 0.3)
    rate = 2 * np.pi / rng.uniform(40.0, 120.0)
    phase = rng.uniform(0.0, 2 * np.pi)
    lateral = style.lane_m + wander * np.sin(rate * s + phase)
    yaw = line.heading_at(s) + wander * rate * np.cos(rate * s + phase)
    pitch = style.pitch_rad + 0.004 * acceleration + np.deg2rad(0.15) * _shake(rng, t, style.shake)
    roll = np.deg2rad(0.25) * _shake(rng, t, style.shake)
    height = 0.012 * _shake(rng, t, style.shake)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    for i in range(frames):
        poses[i, :3, :3] = _rotation(yaw[i], pitch[i], roll[i])
    poses[:, [0, 2], 3] = line.at(s, lateral)
    poses[:, 1, 3] = height
    return poses


def _arc_lengths(
    rng: np.random.Generator, line: CenterLine, style: MotionStyle, frames: int, fps: float
) -> tuple[FloatArray, FloatArray]:
    """(frames,) arc length and acceleration; random target speeds, less in bends."""
    substeps = 8
    dt = 1.0 / fps / substeps
    s, speed = BEHIND_M, rng.uniform(style.speed_min, style.speed_max)
    target, left_s = speed, 0.0
    out_s, out_a = np.empty(frames), np.empty(frames)
    for i in range(frames):
        before = speed
        out_s[i] = s
        for _ in range(substeps):
            if left_s <= 0.0:
                target = rng.uniform(style.speed_min, style.speed_max)
                left_s = rng.uniform(2.0, 8.0)
            ahead = line.curvature_at(s + np.array([0.0, 8.0, 16.0]))
            limit = np.sqrt(3.0 / max(float(np.abs(ahead).max()), 1e-4))
            speed += float(np.clip(min(target, limit) - speed, -3.0 * dt, 1.8 * dt))
            s += speed * dt
            left_s -= dt
        out_a[i] = (speed - before) * fps
    window = np.ones(5) / 5
    return out_s, np.convolve(np.pad(out_a, 2, mode="edge"), window, mode="valid")


def _shake(rng: np.random.Generator, t: FloatArray, amount: float) -> FloatArray:
    """(N,) a sum of sinusoids at times ``t``: the vehicle body on its springs."""
    total = np.zeros_like(t)
    for frequency in rng.uniform(0.3, 2.5, size=4):
        total += rng.normal() * np.sin(2 * np.pi * frequency * t + rng.uniform(0.0, 2 * np.pi))
    return 0.6 * amount * total


def _rotation(yaw: float, pitch: float, roll: float) -> FloatArray:
    """R_world_camera: yaw to the right, pitch up, roll clockwise, all positive."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    R_yaw = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    R_pitch = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    R_roll = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    return R_yaw @ R_pitch @ R_roll
