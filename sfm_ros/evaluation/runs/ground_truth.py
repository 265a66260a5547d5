"""What is known of the ground truth of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.trajectory.association import DEFAULT_MAX_DIFFERENCE_NS
from sfm_ros.formats.trajectory import Stamps, Trajectory, named_poses
from sfm_ros.source import Source, SourceItem, remarks_of, unreadable_of


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroundTruthTrajectory:
    """What is known of the camera's ground-truth trajectory.

    Attributes:
        trajectory: T_world_camera in optical axes, meters; None if unknown.
        name: where it comes from, for people.
        problem: why it is unknown; None if it is known.
        is_named: the user named it, so that it is used or is an error.
        remarks: what was unusual about it, a sentence each.
    """

    trajectory: Trajectory | None
    name: str | None = None
    problem: str | None = None
    is_named: bool = False
    remarks: tuple[str, ...] = ()

    def require_times(self, stamps_ns: Stamps) -> GroundTruthTrajectory:
        """The same; TrajectoryError if it was named and is of another time than the images."""
        if self.is_named and self.trajectory is not None:
            name = self.name or "the ground truth"
            named_poses(self.trajectory, stamps_ns, DEFAULT_MAX_DIFFERENCE_NS, name)
        return self


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroundTruthDepth:
    """Ground-truth depth of a frame.

    Attributes:
        depth: (H, W) float32 meters along +z, 0 or NaN if unknown.
        camera: calibration of that grid.
        crop: part of the image that is compared, one of `sfm_ros.evaluation.depth.metrics.CROPS`.
    """

    depth: DepthMap
    camera: CameraIntrinsics
    crop: str = "none"


class GroundTruth(Protocol):
    """Where the ground truth of an input comes from."""

    @property
    def depth_problem(self) -> str | None:
        """Why no ground-truth depth is known; None if it is, or may be."""

    def trajectory(self, stamps_ns: Stamps) -> GroundTruthTrajectory:
        """The ground-truth trajectory; asked for after the run, with (N,) stamps of its images.

        Raises:
            SfmRosError: poses the user named cannot be used.
        """

    def depth(self, item: SourceItem) -> GroundTruthDepth | None:
        """The ground-truth depth of a frame or None; asked for in order of time.

        Raises:
            SfmRosError: it cannot be read.
        """


class FrameGroundTruth:
    """Ground truth that comes with the frames of a source.

    It is the source as well: the poses are collected while the frames pass.

    Args:
        source: the frames.
        crop: part of the image whose depth is compared, see `GroundTruthDepth`.

    Attributes:
        name: of the source.
        depth_problem: None, every frame may bring depth.
    """

    depth_problem: str | None = None

    def __init__(self, source: Source, crop: str = "none") -> None:
        self.name = source.name
        self._source, self._crop = source, crop
        self._poses: dict[int, FloatArray] = {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of the source."""
        return remarks_of(self._source)

    @property
    def unreadable(self) -> int:
        """That of the source."""
        return unreadable_of(self._source)

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Iterator[SourceItem]:
        for item in self._source:
            if item.T_world_camera is not None:
                self._poses.setdefault(item.frame.stamp_ns, item.T_world_camera)
            yield item

    def trajectory(self, stamps_ns: Stamps) -> GroundTruthTrajectory:
        """The poses of the frames so far; see `GroundTruth`."""
        if not self._poses:
            return GroundTruthTrajectory(
                trajectory=None, problem="no ground-truth poses were given"
            )
        try:
            trajectory = Trajectory.of(self._poses)
        except TrajectoryError as error:
            return GroundTruthTrajectory(
                trajectory=None, problem=f"the ground-truth poses cannot be used: {error}"
            )
        return GroundTruthTrajectory(trajectory=trajectory, name="poses of the frames")

    def depth(self, item: SourceItem) -> GroundTruthDepth | None:
        """The depth that comes with a frame, on the grid of its image; see `GroundTruth`."""
        return depth_of_frame(item, self._crop)


def depth_of_frame(item: SourceItem, crop: str = "none") -> GroundTruthDepth | None:
    """The ground-truth depth that comes with a frame, on the grid of its image; or None."""
    if item.depth_m is None:
        return None
    camera = item.frame.intrinsics
    return GroundTruthDepth(depth=item.depth_m, camera=camera, crop=crop)
