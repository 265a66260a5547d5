"""Writes a source of frames as a ROS 2 bag, one frame in memory at a time.

The truth a source knows is kept beside the bag, not only in it: the camera's poses as an array,
depth as one file a frame. The bag itself can be played by any ROS 2 tool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, Frame
from sfm_ros.errors import SourceError
from sfm_ros.geometry import optical_to_body, quat_xyzw_from_matrix
from sfm_ros.sources.base import Source, SourceItem
from sfm_ros.trajectory import Trajectory

IMAGE_TOPIC = "/camera/image_raw"
CAMERA_INFO_TOPIC = "/camera/camera_info"
TRUTH_TOPIC = "/ground_truth/odometry"
TRUTH_FRAME = "ground_truth"

_STORE = get_typestore(Stores.ROS2_JAZZY)
_TYPES = _STORE.types


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Truth:
    """What is known of a sequence besides its pictures.

    Attributes:
        frames: how many pictures there are.
        trajectory: poses of the camera at those where it is known, metres; None where at none.
        K: (3, 3) camera matrix of the pictures (and of the true depth).
        depth_folder: where ``<stamp>.npy`` lie, (H, W) float32 metres, 0 or NaN where unknown.
    """

    frames: int
    trajectory: Trajectory | None
    K: FloatArray
    depth_folder: Path

    def depth(self, stamp_ns: int) -> DepthMap | None:
        """True depth of a frame, or None where it is not known."""
        path = self.depth_folder / f"{stamp_ns}.npy"
        return np.load(path) if path.is_file() else None


def write_bag(
    source: Source,
    bag: Path,
    depth_folder: Path,
    limit: int | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> Truth:
    """Write the first ``limit`` frames of a source as an mcap bag.

    Args:
        source: where the frames come from.
        bag: folder to make; must not be there yet.
        depth_folder: where true depth goes, if the source has any.
        limit: at most so many frames.
        on_frame: called after each.

    Returns:
        The truth of what was written.

    Raises:
        SourceError: the source is empty or cannot be read.
    """
    depth_folder.mkdir(parents=True, exist_ok=True)
    frames = 0
    poses: dict[int, FloatArray] = {}
    camera: CameraIntrinsics | None = None
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = _Topics(writer)
        for item in islice(source, limit):
            topics.write(item)
            frames += 1
            camera = camera or item.frame.intrinsics
            if item.T_world_camera is not None:
                poses[item.frame.stamp_ns] = item.T_world_camera
            if item.depth_m is not None:
                np.save(depth_folder / f"{item.frame.stamp_ns}.npy", item.depth_m)
            on_frame()
    if camera is None:
        raise SourceError(f"{source.name} holds no frame; expected at least one")
    return Truth(
        frames=frames,
        trajectory=_trajectory(poses),
        K=camera.K,
        depth_folder=depth_folder,
    )


def _trajectory(poses: dict[int, FloatArray]) -> Trajectory | None:
    if not poses:
        return None
    return Trajectory(np.array(list(poses), dtype=np.int64), np.array(list(poses.values())))


class _Topics:
    """The connections of a bag, made when their first message comes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[str, Any] = {}

    def write(self, item: SourceItem) -> None:
        stamp = item.frame.stamp_ns
        self._add(CAMERA_INFO_TOPIC, camera_info_message(item.frame), stamp)
        self._add(IMAGE_TOPIC, image_message(item.frame), stamp)
        if item.T_world_camera is not None:
            self._add(TRUTH_TOPIC, truth_message(item), stamp)

    def _add(self, topic: str, message: Any, stamp_ns: int) -> None:
        kind = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=_STORE)
        self._writer.write(self._connections[topic], stamp_ns, _STORE.serialize_cdr(message, kind))


def _header(stamp_ns: int, frame_id: str) -> Any:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = _TYPES["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return _TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def image_message(frame: Frame) -> Any:
    """The picture as sensor_msgs/Image in the camera drivers' usual bgr8."""
    height, width = frame.rgb.shape[:2]
    return _TYPES["sensor_msgs/msg/Image"](
        header=_header(frame.stamp_ns, frame.frame_id),
        height=height,
        width=width,
        encoding="bgr8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(frame.rgb[:, :, ::-1]).reshape(-1),
    )


def camera_info_message(frame: Frame) -> Any:
    """The calibration as sensor_msgs/CameraInfo; without P the picture keeps K when rectified."""
    camera = frame.intrinsics
    P = np.hstack([camera.K, np.zeros((3, 1))]) if camera.P is None else camera.P
    R = np.eye(3) if camera.R is None else camera.R
    roi = _TYPES["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return _TYPES["sensor_msgs/msg/CameraInfo"](
        header=_header(frame.stamp_ns, frame.frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion_model,
        d=np.array(camera.distortion, dtype=np.float64),
        k=camera.K.reshape(-1),
        r=np.asarray(R, dtype=np.float64).reshape(-1),
        p=np.asarray(P, dtype=np.float64).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def truth_message(item: SourceItem) -> Any:
    """The true pose as nav_msgs/Odometry in body axes (REP 103), without covariance or twist."""
    assert item.T_world_camera is not None
    T = optical_to_body(item.T_world_camera)
    point = _TYPES["geometry_msgs/msg/Point"]
    vector = _TYPES["geometry_msgs/msg/Vector3"]
    x, y, z = T[:3, 3].tolist()
    qx, qy, qz, qw = quat_xyzw_from_matrix(T[:3, :3]).tolist()
    pose = _TYPES["geometry_msgs/msg/Pose"](
        position=point(x=x, y=y, z=z),
        orientation=_TYPES["geometry_msgs/msg/Quaternion"](x=qx, y=qy, z=qz, w=qw),
    )
    still = _TYPES["geometry_msgs/msg/Twist"](
        linear=vector(x=0.0, y=0.0, z=0.0), angular=vector(x=0.0, y=0.0, z=0.0)
    )
    unknown = np.zeros(36)
    return _TYPES["nav_msgs/msg/Odometry"](
        header=_header(item.frame.stamp_ns, TRUTH_FRAME),
        child_frame_id=item.frame.frame_id,
        pose=_TYPES["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=unknown),
        twist=_TYPES["geometry_msgs/msg/TwistWithCovariance"](twist=still, covariance=unknown),
    )
