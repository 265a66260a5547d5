"""Checks that decide whether a prediction may be believed, each with its reason code."""

from __future__ import annotations

import math

import numpy as np

from sfm_ros.config import HealthConfig
from sfm_ros.datatypes import DepthMap, FloatArray, Reason
from sfm_ros.geometry import is_rotation, rotation_angle


def check_motion(
    T_prev_curr: FloatArray, dt_s: float, scale: float, config: HealthConfig
) -> tuple[Reason, ...]:
    """Why an increment must not be integrated; empty where it may.

    Args:
        T_prev_curr: (4, 4) in network units.
        dt_s: time between its two frames.
        scale: published units a network unit.
        config: limits.
    """
    if not np.all(np.isfinite(T_prev_curr)):
        return (Reason.NON_FINITE_OUTPUT,)
    if not is_rotation(T_prev_curr[:3, :3]):
        return (Reason.IMPROPER_ROTATION,)
    reasons = []
    speed = float(np.linalg.norm(T_prev_curr[:3, 3])) * scale / dt_s
    if config.max_speed > 0 and speed > config.max_speed:
        reasons.append(Reason.IMPLAUSIBLE_MOTION)
    rate = math.degrees(rotation_angle(T_prev_curr[:3, :3])) / dt_s
    if config.max_rotation_deg_per_s > 0 and rate > config.max_rotation_deg_per_s:
        reasons.append(Reason.IMPLAUSIBLE_ROTATION)
    return tuple(reasons)


def check_depth(depth: DepthMap, config: HealthConfig) -> tuple[Reason, ...]:
    """Why a depth map is not to be trusted; empty where it is."""
    sample = depth[::4, ::4]  # a sixteenth of the pixels tells a flat map as well
    inv_depth = 1.0 / sample[(sample > 0) & (sample < np.inf)].astype(np.float64)
    if 2 * inv_depth.size < sample.size:
        return (Reason.NON_FINITE_OUTPUT,)
    mean = inv_depth.sum() / inv_depth.size
    variance = inv_depth @ inv_depth / inv_depth.size - mean * mean
    if variance < (config.min_depth_spread * mean) ** 2:
        return (Reason.FLAT_DEPTH,)
    return ()
