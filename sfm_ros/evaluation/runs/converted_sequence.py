"""A bag that was written from another source, with the ground truth that was kept beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, IMAGE_TOPIC, GroundTruth
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth, GroundTruthTrajectory
from sfm_ros.evaluation.runs.offline import depth_of_item
from sfm_ros.evaluation.runs.sequence import Loader, Sequence
from sfm_ros.formats.trajectory import Stamps
from sfm_ros.source import SourceItem
from sfm_ros.sources.bag import BagSource


def converted_sequence(bag: Path, ground_truth: GroundTruth, name: str) -> Sequence:
    """What `write_bag` wrote, as a sequence.

    Args:
        bag: folder of the bag, see `write_bag`.
        ground_truth: what `write_bag` returned.
        name: of the source.
    """
    source = BagSource(bag, IMAGE_TOPIC, CAMERA_INFO_TOPIC)

    def path_of(_: Stamps, __: Loader) -> GroundTruthTrajectory:
        if ground_truth.trajectory is None:
            return GroundTruthTrajectory(
                trajectory=None, problem="no ground-truth poses were given"
            )
        return GroundTruthTrajectory(
            trajectory=ground_truth.trajectory, name="poses of the frames"
        )

    def depth_of(item: SourceItem) -> GroundTruthDepth | None:
        depth = ground_truth.depth(item.frame.stamp_ns)
        return depth_of_item(replace(item, depth_m=depth))

    return Sequence(name=name, source=source, path_of=path_of, depth_of=depth_of)
