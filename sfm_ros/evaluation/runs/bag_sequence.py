"""The images of a bag, and the ground truth about them that it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transforms import read_transforms
from sfm_ros.datatypes import OPTICAL_FRAME, CameraIntrinsics
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.runs.bag_depth import BagDepth, find_lidar
from sfm_ros.evaluation.runs.bag_ground_truth import read_ground_truth_trajectory
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.sequence import Loader, Sequence
from sfm_ros.formats.trajectory import Stamps, read_trajectory
from sfm_ros.sources.bag import BagSource


@dataclass(frozen=True, kw_only=True, slots=True)
class BagTopics:
    """Which topics of a bag to use; None finds them.

    Attributes:
        image, camera_info: the camera.
        poses: ground-truth poses of the camera, see `read_ground_truth_trajectory`.
        fixed_frame: frame of ``/tf`` in which the camera's path is the ground truth.
        depth: ground-truth depth, an image or a cloud, see `BagDepth`.
    """

    image: str | None = None
    camera_info: str | None = None
    poses: str | None = None
    fixed_frame: str | None = None
    depth: str | None = None


def bag_sequence(
    path: Path,
    topics: BagTopics,
    calib: str | Path | CameraIntrinsics | None = None,
    poses: Path | None = None,
) -> Sequence:
    """The images of a bag, and the ground truth it holds.

    Args:
        path: file or folder.
        topics: which ones.
        calib: calibration, or file of it, in place of the bag's.
        poses: ground-truth poses in place of the bag's: a KITTI file with a line for each image, or a TUM
            file on the clock of the stamps.

    Raises:
        SourceError: the bag cannot be read, or lacks what was named.
        CalibrationError: no calibration.
        TrajectoryError: named poses cannot be used.
    """
    bag = BagFile(path)
    known = GroundTruthTrajectory(trajectory=None)
    with bag.kept_open():
        source = BagSource(bag, topics.image, topics.camera_info, calib=calib)
        header = bag.first(source.image_topic).message.header
        camera_frame = header.frame_id or OPTICAL_FRAME
        if poses is None:
            known = read_ground_truth_trajectory(
                bag, camera_frame, topics.poses, topics.fixed_frame
            )
        depth, problem = _bag_depth(bag, camera_frame, topics.depth)

    def path_of(stamps_ns: Stamps, _: Loader) -> GroundTruthTrajectory:
        if poses is None:
            return known
        trajectory = read_trajectory(poses, stamps_ns.tolist())
        return GroundTruthTrajectory(trajectory=trajectory, name="file of poses")

    return Sequence(
        name=source.name,
        source=source,
        path_of=path_of,
        depth_of=(lambda _: None) if depth is None else lambda item: depth.at(item.frame),
        depth_problem=problem,
    )


def _bag_depth(
    bag: BagFile, camera_frame: str, topic: str | None
) -> tuple[BagDepth | None, str | None]:
    """The named topic, or the only lidar; trouble with one that nobody named is a reason."""
    if topic is not None:
        return BagDepth(bag, topic, camera_frame), None
    try:
        tree = read_transforms(bag, with_moving=False)
        found = find_lidar(bag, camera_frame, tree)
        if found is not None:
            return BagDepth(bag, found, camera_frame, tree), None
    except SfmRosError as error:
        return None, str(error)
    return None, (
        "the bag holds no lidar that /tf_static connects with the camera, and no topic "
        "of ground-truth depth was named (--depth-topic)"
    )
