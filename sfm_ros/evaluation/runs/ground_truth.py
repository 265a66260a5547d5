"""What is known of the ground truth about a run."""

from __future__ import annotations

from dataclasses import dataclass

from sfm_ros.datatypes import CameraIntrinsics, DepthMap
from sfm_ros.formats.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroundTruthTrajectory:
    """What is known of the camera's ground-truth trajectory.

    Attributes:
        trajectory: T_world_camera in optical axes, meters; None where it is not known.
        name: where it comes from, for people.
        problem: why it is not known; None where it is.
    """

    trajectory: Trajectory | None
    name: str | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroundTruthDepth:
    """Ground-truth depth of a frame.

    Attributes:
        depth: (H, W) float32 meters along +z, 0 or NaN where unknown.
        camera: calibration of that grid.
        is_rectified: the grid is a pinhole camera's, whatever ``camera`` says of distortion.
    """

    depth: DepthMap
    camera: CameraIntrinsics
    is_rectified: bool
