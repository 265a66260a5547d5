"""The ground-truth depth of a bag's images, where it holds it: a depth camera, or a lidar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rosbags.interfaces import Connection

from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transform_tree import TransformTree
from sfm_ros.bags.transforms import read_transforms
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, Frame
from sfm_ros.errors import SourceError
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth
from sfm_ros.formats.camera_info import intrinsics_from_info
from sfm_ros.formats.serialized import stamp_of_serialized
from sfm_ros.geometry import project
from sfm_ros.preprocess import rectified_camera

IMAGE = "sensor_msgs/msg/Image"
CLOUD = "sensor_msgs/msg/PointCloud2"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

MAX_DISTANCE_NS = 50_000_000
"""A depth image or a scan further from the frame in time shows another moment."""
_MILLIMETERS = 1000.0
_KINDS = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}
_FLOAT32, _FLOAT64 = 7, 8


class BagDepth:
    """Ground-truth depth from one topic of a bag, asked for in order of time.

    Attributes:
        topic: where it comes from.
    """

    def __init__(
        self, bag: BagFile, topic: str, camera_frame: str, tree: TransformTree | None = None
    ) -> None:
        """Look at the topic's first message; the others are read as they are asked for.

        Args:
            bag: the bag.
            topic: sensor_msgs/Image (16UC1 in millimeters or 32FC1 in meters, seen by the camera
                itself) or sensor_msgs/PointCloud2 of a lidar that ``/tf_static`` connects with
                the camera.
            camera_frame: optical frame of the images.
            tree: the bag's transforms, where they have been read already.

        Raises:
            SourceError: no such topic, another type, or another camera than the images'.
        """
        kind, count = bag.all_topics.get(topic, ("", 0))
        if kind not in (IMAGE, CLOUD) or not count:
            raise SourceError(
                f"expected {IMAGE} or {CLOUD} on {topic}, found "
                f"{f'{count} messages of {kind}' if kind else 'no such topic'}"
            )
        self.topic = topic
        self._bag = bag
        self._is_cloud = kind == CLOUD
        self._first = bag.first(topic).message
        self._T_camera_lidar: FloatArray | None = None
        self._camera: CameraIntrinsics | None = None
        if self._is_cloud:
            frame = self._first.header.frame_id
            tree = tree or read_transforms(bag, with_moving=False)
            self._T_camera_lidar = tree.static_transform(camera_frame, frame)
            if self._T_camera_lidar is None:
                raise SourceError(
                    f"/tf_static does not connect the lidar's frame '{frame}' on {topic} with "
                    f"the camera's '{camera_frame}'; record it, or leave the lidar out"
                )
        else:
            self._camera = self._own_camera(camera_frame)
        self._waiting = self._serialized()
        self._before: _Waiting | None = None
        self._after = next(self._waiting, None)

    def _own_camera(self, camera_frame: str) -> CameraIntrinsics | None:
        """Calibration on the camera_info beside a depth topic, or None where there is none."""
        _kind_of(self._first, self.topic)
        frame = self._first.header.frame_id
        if frame.lstrip("/") != camera_frame.lstrip("/"):
            raise SourceError(
                f"the depth on {self.topic} is of the frame '{frame}', the images are of "
                f"'{camera_frame}'; use the topic of depth registered to the images"
            )
        beside = f"{self.topic.rpartition('/')[0]}/camera_info"
        if self._bag.topics.get(beside, ("", 0))[0] != CAMERA_INFO:
            return None
        return intrinsics_from_info(self._bag.first(beside).message, beside)

    def at(self, frame: Frame) -> GroundTruthDepth | None:
        """Ground-truth depth of a frame, or None where there is none near enough in time.

        Frames are asked for in order of time.

        Raises:
            SourceError: the bag is damaged, or a message contradicts itself.
        """
        message = self._nearest(frame.stamp_ns)
        if message is None:
            return None
        if self._T_camera_lidar is not None:
            camera = rectified_camera(frame.intrinsics)
            points = cloud_points(message, self.topic)
            depth = see_points(points, self._T_camera_lidar, frame.intrinsics, camera)
            return GroundTruthDepth(depth=depth, camera=camera, is_rectified=True)
        depth = depth_image(message, self.topic)
        camera = self._camera or frame.intrinsics
        if depth.shape != (camera.height, camera.width):
            raise SourceError(
                f"the depth on {self.topic} is {depth.shape[1]}x{depth.shape[0]}, its calibration "
                f"is for {camera.width}x{camera.height}"
            )
        return GroundTruthDepth(depth=depth, camera=camera, is_rectified=False)

    def _serialized(self) -> Iterator[_Waiting]:
        for connection, log_ns, data in self._bag.serialized([self.topic]):
            yield _Waiting(
                stamp_of_serialized(data, self._bag.is_ros1) or log_ns, connection, data
            )

    def _nearest(self, stamp_ns: int) -> Any | None:
        """The message nearest in time; those that are passed by are not decoded."""
        while self._after is not None and self._after.stamp_ns <= stamp_ns:
            self._before, self._after = self._after, next(self._waiting, None)
        around = [entry for entry in (self._before, self._after) if entry is not None]
        if not around:
            return None
        nearest = min(around, key=lambda entry: abs(entry.stamp_ns - stamp_ns))
        if abs(nearest.stamp_ns - stamp_ns) > MAX_DISTANCE_NS:
            return None
        return self._bag.decode(nearest.connection, nearest.data)


class _Waiting(NamedTuple):
    """A message that has been read but not decoded."""

    stamp_ns: int
    connection: Connection
    data: bytes


def find_lidar(bag: BagFile, camera_frame: str, tree: TransformTree) -> str | None:
    """The topic of the only lidar that ``/tf_static`` connects with the camera, or None."""
    found = []
    for topic, (kind, _) in bag.topics.items():
        if kind == CLOUD:
            frame = bag.first(topic).message.header.frame_id
            # A cloud in the camera's own frame was made of the images.
            is_other = frame.lstrip("/") != camera_frame.lstrip("/")
            if is_other and tree.static_transform(camera_frame, frame) is not None:
                found.append(topic)
    return found[0] if len(found) == 1 else None


def depth_image(message: Any, topic: str) -> DepthMap:
    """(H, W) float32 meters of a sensor_msgs/Image of depth (REP 118), 0 or NaN where unknown.

    Raises:
        SourceError: another encoding, or a size that contradicts the data.
    """
    kind = _kind_of(message, topic)
    data = np.asarray(message.data, dtype=np.uint8)
    row_bytes = message.width * int(kind[1])
    if message.step < row_bytes or data.size < message.step * message.height:
        raise SourceError(
            f"a depth image on {topic} of {message.width}x{message.height} with step "
            f"{message.step} holds {data.size} bytes; the message contradicts itself"
        )
    rows = data[: message.step * message.height].reshape(message.height, message.step)
    order = ">" if message.is_bigendian else "<"
    values = np.ascontiguousarray(rows[:, :row_bytes]).view(order + kind)
    return (values / _MILLIMETERS if kind == "u2" else values).astype(np.float32)


def _kind_of(message: Any, topic: str) -> str:
    kind = _KINDS.get(message.encoding)
    if kind is None:
        raise SourceError(
            f"the depth on {topic} has the encoding '{message.encoding}', expected 16UC1 "
            "(millimeters) or 32FC1 (meters)"
        )
    return kind


def cloud_points(message: Any, topic: str) -> npt.NDArray[np.float64]:
    """(N, 3) finite points of a sensor_msgs/PointCloud2.

    Raises:
        SourceError: no x, y and z of one float type, or a size that contradicts the data.
    """
    fields = {field.name: field for field in message.fields}
    kinds = {fields[name].datatype for name in "xyz" if name in fields}
    if not {"x", "y", "z"} <= set(fields) or kinds not in ({_FLOAT32}, {_FLOAT64}):
        raise SourceError(
            f"the cloud on {topic} has the fields {', '.join(fields) or 'none'}, expected x, y "
            "and z as float32 or float64"
        )
    order = ">" if message.is_bigendian else "<"
    layout = np.dtype(
        {
            "names": ["x", "y", "z"],
            "formats": [order + ("f4" if kinds == {_FLOAT32} else "f8")] * 3,
            "offsets": [fields[name].offset for name in "xyz"],
            "itemsize": message.point_step,
        }
    )
    count = message.width * message.height
    data = np.ascontiguousarray(message.data, dtype=np.uint8)
    if message.row_step != message.width * message.point_step or data.size < (
        count * message.point_step
    ):
        raise SourceError(
            f"a cloud on {topic} of {count} points of {message.point_step} bytes holds "
            f"{data.size}; the message contradicts itself, or its rows are padded"
        )
    rows = data[: count * message.point_step].view(layout)
    points = np.stack([rows[name] for name in "xyz"], axis=1).astype(np.float64)
    return points[np.isfinite(points).all(axis=1)]


def see_points(
    points: npt.NDArray[np.float64],
    T_camera_lidar: FloatArray,
    intrinsics: CameraIntrinsics,
    camera: CameraIntrinsics,
) -> DepthMap:
    """Sparse depth of an image from points of a lidar; where several meet, the nearest.

    Args:
        points: (N, 3) in the lidar's frame, meters.
        T_camera_lidar: (4, 4) into the camera's optical frame.
        intrinsics: of the image as it came; its R turns the camera to the rectified one.
        camera: the rectified pinhole camera.

    Returns:
        (height, width) meters along +z of ``camera``, 0 where no point falls.
    """
    turn = np.eye(4)
    if intrinsics.R is not None and np.any(intrinsics.R):
        turn[:3, :3] = intrinsics.R
    T = turn @ T_camera_lidar
    seen = points @ T[:3, :3].T + T[:3, 3]
    seen = seen[seen[:, 2] > 0]
    pixels = np.rint(project(seen, camera.K)).astype(np.int64)
    inside = np.all((pixels >= 0) & (pixels < (camera.width, camera.height)), axis=1)
    depth = np.full((camera.height, camera.width), np.inf)
    np.minimum.at(depth, (pixels[inside, 1], pixels[inside, 0]), seen[inside, 2])
    return np.where(np.isfinite(depth), depth, 0.0).astype(np.float32)
