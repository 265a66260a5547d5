"""The ground truth in a bag: poses on a topic or in /tf, depth of a depth camera or a lidar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rosbags.interfaces import Connection

from sfm_ros.bags.camera import CAMERA_INFO, RAW_IMAGE, camera_info_beside
from sfm_ros.bags.depth_messages import (
    POINT_CLOUD,
    check_depth_encoding,
    cloud_points,
    depth_image,
)
from sfm_ros.bags.pose_messages import POSE_TYPES, read_poses
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transform_tree import TransformTree
from sfm_ros.bags.transforms import read_transforms
from sfm_ros.cameras.pixels import choose_camera
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, Frame
from sfm_ros.errors import SfmRosError, SourceError, TrajectoryError
from sfm_ros.evaluation.depth.ground_truth import nearest_depth
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth, GroundTruthTrajectory
from sfm_ros.formats.camera_info import camera_from_info
from sfm_ros.formats.serialized import stamp_of_serialized
from sfm_ros.formats.trajectory import Stamps, Trajectory
from sfm_ros.formats.trajectory_files import PoseFile
from sfm_ros.geometry import body_to_optical, project
from sfm_ros.preprocess import rectified_camera
from sfm_ros.source import SourceItem
from sfm_ros.sources.bag import BagSource

MAX_DISTANCE_NS = 50_000_000
"""A depth image or a scan further away in time shows another scene."""
_MARKED = re.compile(r"truth|(?<![a-z])gt(?![a-z])")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BagGroundTruth:
    """The ground truth that was found in a bag; a `GroundTruth`.

    Attributes:
        found: the trajectory in the bag.
        poses: ground-truth poses to use instead, with a line for each image or on the clock of
            the stamps.
        images: of the bag.
        depth_topic: the depth, None if unknown.
        depth_problem: why the depth is unknown; None if it is known.
    """

    found: GroundTruthTrajectory
    poses: PoseFile | None = None
    images: BagSource | None = None
    depth_topic: BagDepth | None = None
    depth_problem: str | None = None

    def trajectory(self, stamps_ns: Stamps) -> GroundTruthTrajectory:
        """The trajectory in the file of poses, else the one in the bag; see `GroundTruth`."""
        if self.poses is None:
            return self.found.require_times(stamps_ns)
        return GroundTruthTrajectory(
            trajectory=self._timed(self.poses, stamps_ns),
            name=f"file of poses {self.poses.path.name}",
            is_named=True,
            remarks=self.poses.remarks,
        ).require_times(stamps_ns)

    def _timed(self, poses: PoseFile, stamps_ns: Stamps) -> Trajectory:
        """With the stamps of the images, of which some may have been left out or not be run."""
        found = [] if self.images is None else self.images.stamps_ns
        if poses.is_timed or self.images is None or not found:
            return poses.timed(stamps_ns.tolist())
        if self.images.missing:
            raise TrajectoryError(
                f"{self.images.missing} images of {self.images.name} cannot be found, so that the "
                f"lines of {poses.path} cannot be assigned to the others; use poses with times"
            )
        return poses.first(len(found)).timed(found)

    def depth(self, item: SourceItem) -> GroundTruthDepth | None:
        """The depth on the topic, near enough in time; see `GroundTruth`."""
        return None if self.depth_topic is None else self.depth_topic.at(item.frame)


def read_ground_truth_trajectory(
    bag: BagFile, camera_frame: str, pose_topic: str | None, fixed_frame: str | None
) -> GroundTruthTrajectory:
    """The ground-truth trajectory of a bag's camera.

    What the caller names is used or is an error. A topic of poses whose name marks it as ground
    truth is used if it can be; else the reason is returned.

    Args:
        bag: the bag.
        camera_frame: optical frame of the images.
        pose_topic: one of `POSE_TYPES`. If its ``child_frame_id`` is another frame that
            ``/tf_static`` connects with the camera, these are poses of that frame; else of the
            camera, in body axes (x forward, y left, z up: REP 103).
        fixed_frame: the frame of ``/tf`` in which the camera's trajectory is the ground truth.

    Raises:
        SourceError: both are named, what is named is not there, or the bag is damaged.
        TrajectoryError: poses that were named are not finite or not in order.
    """
    if pose_topic is not None and fixed_frame is not None:
        raise SourceError("both a topic of poses and a frame of /tf are named, expected one")
    if fixed_frame is not None:
        path = read_transforms(bag, with_moving=True).path_of(camera_frame, fixed_frame)
        name = f"/tf, {camera_frame} in {fixed_frame}"
        return GroundTruthTrajectory(trajectory=path, name=name, is_named=True)
    if pose_topic is not None:
        found = _read_pose_topic(bag, camera_frame, bag.named(pose_topic))
        return replace(found, is_named=True)
    topics = [name for name, (kind, _) in bag.topics.items() if kind in POSE_TYPES]
    marked = [name for name in topics if _MARKED.search(name.lower())]
    if len(marked) == 1:
        try:
            return _read_pose_topic(bag, camera_frame, marked[0])
        except SfmRosError as error:
            return GroundTruthTrajectory(trajectory=None, problem=str(error))
    offered = f"{', '.join(sorted(marked or topics))}; choose with --pose-topic"
    return GroundTruthTrajectory(
        trajectory=None,
        problem="the bag holds no topic of ground-truth poses"
        + (f" that is marked as such; it has {offered}" if topics else ""),
    )


def _read_pose_topic(bag: BagFile, camera_frame: str, topic: str) -> GroundTruthTrajectory:
    found, child = read_poses(bag, topic)
    poses = body_to_optical(found.poses)
    if child and not _same_frame(child, camera_frame):
        tree = read_transforms(bag, with_moving=False)
        T_child_camera = tree.static_transform(child, camera_frame)
        poses = poses if T_child_camera is None else found.poses @ T_child_camera
    return GroundTruthTrajectory(trajectory=Trajectory(found.stamps_ns, poses), name=topic)


def find_depth(
    bag: BagFile, camera_frame: str, topic: str | None
) -> tuple[BagDepth | None, str | None]:
    """The ground-truth depth on a topic, or of the only lidar; and why there is none.

    SourceError if the topic was named and cannot be used; without a name the reason is returned.
    """
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


def find_lidar(bag: BagFile, camera_frame: str, tree: TransformTree) -> str | None:
    """The topic of the only lidar that ``/tf_static`` connects with the camera, or None."""
    found = []
    for topic, (kind, _) in bag.topics.items():
        if kind == POINT_CLOUD:
            frame = bag.first(topic).message.header.frame_id
            # A cloud in the camera's own frame was made of the images.
            is_other = not _same_frame(frame, camera_frame)
            if is_other and tree.static_transform(camera_frame, frame) is not None:
                found.append(topic)
    return found[0] if len(found) == 1 else None


class BagDepth:
    """Ground-truth depth on one topic of a bag, asked for in order of time."""

    def __init__(
        self, bag: BagFile, topic: str, camera_frame: str, tree: TransformTree | None = None
    ) -> None:
        """Read the topic's first message; the others are read when they are asked for.

        Args:
            bag: the bag.
            topic: sensor_msgs/Image (16UC1 in millimeters or 32FC1 in meters, seen by the camera
                itself) or sensor_msgs/PointCloud2 of a lidar that ``/tf_static`` connects with
                the camera.
            camera_frame: optical frame of the images.
            tree: the bag's transforms, if they have been read already.

        Raises:
            SourceError: no such topic, another type, or another camera than the images'.
        """
        topic = bag.require(topic, (RAW_IMAGE, POINT_CLOUD))
        self._bag, self._topic = bag, topic
        first = bag.first(topic).message
        self._T_camera_lidar: FloatArray | None = None
        self._camera: CameraIntrinsics | None = None
        if bag.topics[topic][0] == POINT_CLOUD:
            tree = tree or read_transforms(bag, with_moving=False)
            self._T_camera_lidar = self._extrinsics(first.header.frame_id, camera_frame, tree)
        else:
            self._camera = self._own_camera(first, camera_frame)
        self._messages: Iterator[_Serialized] | None = None
        self._before: _Serialized | None = None
        self._after: _Serialized | None = None

    def _extrinsics(self, frame: str, camera_frame: str, tree: TransformTree) -> FloatArray:
        """T_camera_lidar of a lidar in this frame."""
        T_camera_lidar = tree.static_transform(camera_frame, frame)
        if T_camera_lidar is None:
            raise SourceError(
                f"/tf_static does not connect the lidar's frame '{frame}' on {self._topic} with "
                f"the camera's '{camera_frame}'; record it, or leave the lidar out"
            )
        return T_camera_lidar

    def _own_camera(self, first: Any, camera_frame: str) -> CameraIntrinsics | None:
        """Calibration on the camera_info beside a depth topic, or None if there is none."""
        check_depth_encoding(first, self._topic)
        frame = first.header.frame_id
        if not _same_frame(frame, camera_frame):
            raise SourceError(
                f"the depth on {self._topic} is of the frame '{frame}', the images are of "
                f"'{camera_frame}'; use the topic of depth registered to the images"
            )
        beside = self._bag.named(camera_info_beside(self._topic))
        if self._bag.topics.get(beside, ("", 0))[0] != CAMERA_INFO:
            return None
        stated = camera_from_info(self._bag.first(beside).message, beside)
        return choose_camera(stated, (self._topic, beside)).intrinsics

    def at(self, frame: Frame) -> GroundTruthDepth | None:
        """Depth of a frame, asked for in order of time; None if none is near enough in time.

        Raises:
            SourceError: the bag is damaged, or a message contradicts itself.
        """
        message = self._nearest(frame.stamp_ns)
        if message is None:
            return None
        if self._T_camera_lidar is not None:
            camera = rectified_camera(frame.intrinsics)
            points = cloud_points(message, self._topic)
            depth = project_cloud(points, self._T_camera_lidar, frame.intrinsics, camera)
            return GroundTruthDepth(depth=depth, camera=camera)
        depth = depth_image(message, self._topic)
        camera = self._camera or frame.intrinsics
        if depth.shape != (camera.height, camera.width):
            raise SourceError(
                f"the depth on {self._topic} is {depth.shape[1]}x{depth.shape[0]}, its "
                f"calibration is for {camera.width}x{camera.height}"
            )
        return GroundTruthDepth(depth=depth, camera=camera)

    def _serialized(self) -> Iterator[_Serialized]:
        for connection, log_ns, data in self._bag.serialized([self._topic]):
            stamp_ns = stamp_of_serialized(data, self._bag.is_ros1) or log_ns
            yield _Serialized(stamp_ns, connection, data)

    def _nearest(self, stamp_ns: int) -> Any | None:
        """The message nearest in time; those that are skipped are not decoded."""
        if self._messages is None:  # opens the bag, so not while it is kept open for other uses
            self._messages = self._serialized()
            self._after = next(self._messages, None)
        while self._after is not None and self._after.stamp_ns <= stamp_ns:
            self._before, self._after = self._after, next(self._messages, None)
        around = [entry for entry in (self._before, self._after) if entry is not None]
        if not around:
            return None
        nearest = min(around, key=lambda entry: abs(entry.stamp_ns - stamp_ns))
        if abs(nearest.stamp_ns - stamp_ns) > MAX_DISTANCE_NS:
            return None
        return self._bag.decode(nearest.connection, nearest.data)


class _Serialized(NamedTuple):
    """A message that has been read but not decoded."""

    stamp_ns: int
    connection: Connection
    data: bytes


def project_cloud(
    points: npt.NDArray[np.float64],
    T_camera_lidar: FloatArray,
    intrinsics: CameraIntrinsics,
    camera: CameraIntrinsics,
) -> DepthMap:
    """Sparse depth of an image from the points of a lidar; of points on one pixel the nearest.

    Args:
        points: (N, 3) in the lidar's frame, meters.
        T_camera_lidar: (4, 4) into the camera's optical frame.
        intrinsics: of the image as it was recorded; its R rotates into the rectified camera.
        camera: the rectified pinhole camera.

    Returns:
        (height, width) meters along +z of ``camera``, 0 without a point.
    """
    T_rectified_camera = np.eye(4)
    if intrinsics.R is not None and np.any(intrinsics.R):
        T_rectified_camera[:3, :3] = intrinsics.R
    T = T_rectified_camera @ T_camera_lidar
    seen = points @ T[:3, :3].T + T[:3, 3]
    seen = seen[seen[:, 2] > 0]
    pixels = np.rint(project(seen, camera.K)).astype(np.int64)
    return nearest_depth(pixels, seen[:, 2], camera.width, camera.height)


def _same_frame(first: str, second: str) -> bool:
    return first.lstrip("/") == second.lstrip("/")
