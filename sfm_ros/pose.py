"""The pose as the product of increments, with a covariance that grows with the distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sfm_ros.config import NoiseConfig
from sfm_ros.datatypes import FloatArray, read_only
from sfm_ros.geometry import make_transform, nearest_rotation, skew

_IDENTITY = np.eye(4)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lasting:
    """Errors that all increments share.

    Attributes:
        scale: relative standard deviation of their lengths.
        direction_rad: standard deviation of the direction of translation in the camera.
    """

    scale: float
    direction_rad: float


class PoseIntegrator:
    """Accumulates increments from the identity; held, never moved, if there is none.

    The covariance is that of a random walk, to which every increment adds its own and in which
    heading error turns into position error along the path, plus that of errors that last: a scale
    and a direction that are off by the same amount all the time. Errors are about the fixed axes
    of odom, order x y z then rotations.
    """

    def __init__(self, noise: NoiseConfig) -> None:
        self._noise = noise
        self.reset()

    def configure(self, noise: NoiseConfig) -> None:
        """Apply other noise from the next increment on."""
        self._noise = noise

    def reset(self) -> None:
        """Return to the identity, with no uncertainty."""
        self._T = np.eye(4)
        self._walk = np.zeros((6, 6))
        self._lasting = np.zeros((6, 6))
        self._by_direction = np.zeros((3, 3))
        self._by_scale = np.zeros(3)

    @property
    def T_odom_camera(self) -> FloatArray:
        """(4, 4) pose, read-only."""
        return read_only(self._T)

    @property
    def covariance(self) -> FloatArray:
        """(6, 6), read-only."""
        return read_only(self._walk + self._lasting)

    def advance(
        self, T_prev_curr: FloatArray, covariance: FloatArray, lasting: Lasting | None = None
    ) -> None:
        """Multiply by an increment.

        Args:
            T_prev_curr: (4, 4) in published units.
            covariance: (6, 6) of it, in the axes of the older camera.
            lasting: errors that it shares with the other increments.
        """
        if np.array_equal(T_prev_curr, _IDENTITY) and not np.any(covariance):
            return  # at rest, not even rounding moves the pose
        R = self._T[:3, :3]
        step_odom = R @ T_prev_curr[:3, 3]
        T = self._T @ T_prev_curr
        # Thousands of products would let the rotation drift off SO(3).
        self._T = make_transform(nearest_rotation(T[:3, :3]), T[:3, 3])
        F, G = np.eye(6), np.zeros((6, 6))
        F[:3, 3:] = -skew(step_odom)
        G[:3, :3] = G[3:, 3:] = R
        self._walk = F @ self._walk @ F.T + G @ covariance @ G.T
        if lasting is not None:
            self._by_direction -= lasting.direction_rad * R @ skew(T_prev_curr[:3, 3])
            self._by_scale += lasting.scale * step_odom
            self._lasting[:3, :3] = (
                np.outer(self._by_scale, self._by_scale)
                + self._by_direction @ self._by_direction.T
            )

    def hold(self) -> None:
        """Keep the pose through a motion of unknown size, with a larger covariance."""
        self._walk = self._walk + motion_covariance(self._noise, self._noise.gap_distance_m)


def motion_covariance(noise: NoiseConfig, distance: float) -> FloatArray:
    """(6, 6) isotropic covariance of a motion of this length: x y z, rotations."""
    rotation = math.radians(noise.rotation_deg_per_m)
    variances = [noise.translation_per_m**2] * 3 + [rotation**2] * 3
    return np.diag(variances) * distance
