"""The ground-truth trajectory of the camera, where a bag holds it: on a topic of poses, or in its transforms."""

from __future__ import annotations

import re

import numpy as np

from sfm_ros.bags.pose_messages import POSE_TYPES, pose_of, stamp_of
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transforms import read_transforms
from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import body_to_optical

_MARKED = re.compile(r"truth|(?<![a-z])gt(?![a-z])")


def read_ground_truth_trajectory(
    bag: BagFile, camera_frame: str, pose_topic: str | None, fixed_frame: str | None
) -> GroundTruthTrajectory:
    """The ground-truth trajectory of a bag's camera.

    What the caller names is used or is an error. What the bag offers by itself (a topic of poses
    whose name says that it is the ground truth) is used where it can be; trouble with it is a reason.

    Args:
        bag: the bag.
        camera_frame: optical frame of the images.
        pose_topic: one of `POSE_TYPES`. Where its ``child_frame_id`` is another frame that
            ``/tf_static`` connects with the camera, it is the path of that frame; else that of
            the camera, in body axes (x forward, y left, z up: REP 103).
        fixed_frame: the frame of ``/tf`` in which the camera's path is the ground truth.

    Raises:
        SourceError: both are named, what is named is not there, or the bag is damaged.
        TrajectoryError: poses that were named are not finite or not in order.
    """
    if pose_topic is not None and fixed_frame is not None:
        raise SourceError("both a topic of poses and a frame of /tf are named, expected one")
    if fixed_frame is not None:
        path = read_transforms(bag, with_moving=True).path_of(camera_frame, fixed_frame)
        return GroundTruthTrajectory(trajectory=path, name=f"/tf, {camera_frame} in {fixed_frame}")
    if pose_topic is not None:
        return _named(bag, camera_frame, pose_topic)
    topics = [name for name, (kind, _) in bag.topics.items() if kind in POSE_TYPES]
    marked = [name for name in topics if _MARKED.search(name.lower())]
    if len(marked) == 1:
        try:
            return _named(bag, camera_frame, marked[0])
        except SfmRosError as error:
            return GroundTruthTrajectory(trajectory=None, problem=str(error))
    offered = f"{', '.join(sorted(marked or topics))}; choose with --pose-topic"
    return GroundTruthTrajectory(
        trajectory=None,
        problem="the bag holds no topic of ground-truth poses"
        + (f" that is marked as such; it has {offered}" if topics else ""),
    )


def _named(bag: BagFile, camera_frame: str, topic: str) -> GroundTruthTrajectory:
    kind, count = bag.all_topics.get(topic, ("", 0))
    if kind not in POSE_TYPES or not count:
        listing = ", ".join(f"{n} ({k}, {c})" for n, (k, c) in sorted(bag.all_topics.items()))
        found = f"{count} messages of {kind}" if kind else "no such topic"
        raise SourceError(
            f"expected {' or '.join(POSE_TYPES)} on {topic}, found {found}; the bag has {listing}"
        )
    poses: dict[int, FloatArray] = {}
    child = ""
    for record in bag.records([topic]):
        child = str(getattr(record.message, "child_frame_id", ""))
        poses[stamp_of(record)] = pose_of(record)
    stamps = sorted(poses)
    T_world_child = np.stack([poses[stamp] for stamp in stamps])
    return GroundTruthTrajectory(
        trajectory=Trajectory(
            np.array(stamps), _camera_poses(bag, T_world_child, child, camera_frame)
        ),
        name=topic,
    )


def _camera_poses(
    bag: BagFile, T_world_child: FloatArray, child: str, camera_frame: str
) -> FloatArray:
    if child and child.lstrip("/") != camera_frame.lstrip("/"):
        tree = read_transforms(bag, with_moving=False)
        T_child_camera = tree.static_transform(child, camera_frame)
        if T_child_camera is not None:
            return T_world_child @ T_child_camera
    return body_to_optical(T_world_child)
