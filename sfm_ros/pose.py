"""The pose as the product of increments, with a covariance that grows with the distance."""

from __future__ import annotations

import math

import numpy as np

from sfm_ros.config import NoiseConfig
from sfm_ros.datatypes import FloatArray, read_only
from sfm_ros.geometry import make_transform, nearest_rotation, skew


class PoseIntegrator:
    """Accumulates increments from the identity; held, never moved, if there is none.

    The covariance is a random walk in the distance traveled (no network here predicts its own
    error): position and heading noise grow with every unit, and heading error turns into position
    error along the path. Errors are about the fixed axes of odom, order x y z then rotations.
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
        self._covariance = np.zeros((6, 6))

    @property
    def T_odom_camera(self) -> FloatArray:
        """(4, 4) pose, read-only."""
        return read_only(self._T)

    @property
    def covariance(self) -> FloatArray:
        """(6, 6), read-only."""
        return read_only(self._covariance)

    def advance(self, increments: FloatArray) -> None:
        """Multiply by (n, 4, 4) increments T_prev_curr in published units, one after the other."""
        for T_prev_curr in increments:
            step_odom = self._T[:3, :3] @ T_prev_curr[:3, 3]
            T = self._T @ T_prev_curr
            # Thousands of products would let the rotation drift off SO(3).
            self._T = make_transform(nearest_rotation(T[:3, :3]), T[:3, 3])
            F = np.eye(6)
            F[:3, 3:] = -skew(step_odom)
            self._covariance = F @ self._covariance @ F.T
            self._add_noise(float(np.linalg.norm(step_odom)))

    def hold(self) -> None:
        """Keep the pose through a motion of unknown size, with a larger covariance."""
        self._add_noise(self._noise.gap_distance_m)

    def _add_noise(self, distance: float) -> None:
        self._covariance = self._covariance + motion_covariance(self._noise, distance)


def motion_covariance(noise: NoiseConfig, distance: float) -> FloatArray:
    """(6, 6) isotropic covariance of a motion of this length: x y z, rotations."""
    rotation = math.radians(noise.rotation_deg_per_m)
    variances = [noise.translation_per_m**2] * 3 + [rotation**2] * 3
    return np.diag(variances) * distance
