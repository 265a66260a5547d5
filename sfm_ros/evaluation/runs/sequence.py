"""What a run is made over: frames, and whatever is known of the ground truth about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.offline import DepthOf, depth_of_item
from sfm_ros.formats.trajectory import Stamps, Trajectory
from sfm_ros.source import Source

Loader = Callable[[], Trajectory | None]
PathOf = Callable[[Stamps, Loader], GroundTruthTrajectory]
"""The ground-truth trajectory, once the run is over: from the stamps of its frames, and from what came with
them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """Frames with their ground truth.

    Attributes:
        name: for people.
        source: the frames.
        path_of: gives the ground-truth trajectory after the run.
        depth_of: gives the ground-truth depth of a frame.
        depth_problem: why there is no ground-truth depth; None where there is, or frames may bring it.
    """

    name: str
    source: Source
    path_of: PathOf
    depth_of: DepthOf
    depth_problem: str | None = None


def source_sequence(source: Source) -> Sequence:
    """Frames that bring their ground truth themselves."""

    def path_of(_: Stamps, came_with_frames: Loader) -> GroundTruthTrajectory:
        try:
            found = came_with_frames()
        except TrajectoryError as error:
            return GroundTruthTrajectory(
                trajectory=None, problem=f"the ground-truth poses cannot be used: {error}"
            )
        if found is None:
            return GroundTruthTrajectory(
                trajectory=None, problem="no ground-truth poses were given"
            )
        return GroundTruthTrajectory(trajectory=found, name="poses of the frames")

    return Sequence(name=source.name, source=source, path_of=path_of, depth_of=depth_of_item)
