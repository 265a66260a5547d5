"""Makes the motion estimator that a configuration asks for."""

from __future__ import annotations

from sfm_ros.config import SfmConfig
from sfm_ros.model_spec import ModelSpec
from sfm_ros.motion.base import MotionEstimator
from sfm_ros.motion.network import NetworkMotion
from sfm_ros.motion.track_motion import TrackMotion


def create_motion(config: SfmConfig, spec: ModelSpec) -> MotionEstimator:
    """The estimator of ``odometry.mode``."""
    if config.odometry.mode == "network":
        return NetworkMotion(config, spec)
    return TrackMotion(config, spec)
