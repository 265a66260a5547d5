"""Plausibility checks of a prediction, each with its reason code."""

from __future__ import annotations

import math

import numpy as np

from sfm_ros.config import HealthConfig
from sfm_ros.datatypes import DepthMap, FloatArray, Reason
from sfm_ros.geometry import is_rotation, rotation_angle


def check_motion(T_prev_curr: FloatArray, dt_s: float, config: HealthConfig) -> dict[Reason, str]:
    """Why a motion must not be integrated, each reason with what was found; empty if it may.

    Args:
        T_prev_curr: (4, 4) motion between neighboring frames, published units.
        dt_s: time between them.
        config: limits.
    """
    if not np.all(np.isfinite(T_prev_curr)):
        return {Reason.NON_FINITE_OUTPUT: ""}
    if not is_rotation(T_prev_curr[:3, :3]):
        return {Reason.IMPROPER_ROTATION: ""}
    found = {}
    speed = float(np.linalg.norm(T_prev_curr[:3, 3])) / dt_s
    if 0 < config.max_speed < speed:
        limit = f"health.max_speed is {config.max_speed:g}"
        found[Reason.IMPLAUSIBLE_MOTION] = f"{speed:.3g} units per second, {limit}"
    rate = math.degrees(rotation_angle(T_prev_curr[:3, :3])) / dt_s
    if 0 < config.max_rotation_deg_per_s < rate:
        limit = f"health.max_rotation_deg_per_s is {config.max_rotation_deg_per_s:g}"
        found[Reason.IMPLAUSIBLE_ROTATION] = f"{rate:.3g} degrees per second, {limit}"
    return found


def check_depth(depth: DepthMap, config: HealthConfig) -> tuple[Reason, ...]:
    """Why a depth map is not to be trusted; empty if it is."""
    sample = depth[::4, ::4]  # a sixteenth of the pixels shows a flat map as well
    inv_depth = 1.0 / sample[(sample > 0) & (sample < np.inf)].astype(np.float64)
    if 2 * inv_depth.size < sample.size:
        return (Reason.NON_FINITE_OUTPUT,)
    mean = inv_depth.sum() / inv_depth.size
    variance = inv_depth @ inv_depth / inv_depth.size - mean * mean
    if variance < (config.min_depth_spread * mean) ** 2:
        return (Reason.FLAT_DEPTH,)
    return ()
