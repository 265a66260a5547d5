"""Writes a source of frames as a ROS 2 bag, one frame in memory at a time.

The ground truth a source knows is kept beside the bag, not only in it: the camera's poses as an array,
depth as one file a frame. The bag itself can be played by any ROS 2 tool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from sfm_ros.bags.messages import (
    STORE,
    camera_info_message,
    ground_truth_message,
    image_message,
)
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray
from sfm_ros.errors import SourceError
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.source import Source, SourceItem

IMAGE_TOPIC = "/camera/image_raw"
CAMERA_INFO_TOPIC = "/camera/camera_info"
GROUND_TRUTH_TOPIC = "/ground_truth/odometry"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GroundTruth:
    """What is known of a sequence besides its images.

    Attributes:
        frames: how many images there are.
        trajectory: poses of the camera at those where it is known, meters; None where at none.
        K: (3, 3) camera matrix of the images (and of the ground-truth depth).
        depth_folder: where ``<stamp>.npy`` lie, (H, W) float32 meters, 0 or NaN where unknown.
    """

    frames: int
    trajectory: Trajectory | None
    K: FloatArray
    depth_folder: Path

    def depth(self, stamp_ns: int) -> DepthMap | None:
        """Ground-truth depth of a frame, or None where it is not known."""
        path = self.depth_folder / f"{stamp_ns}.npy"
        return np.load(path) if path.is_file() else None


def write_bag(
    source: Source,
    bag: Path,
    depth_folder: Path,
    limit: int | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> GroundTruth:
    """Write the first ``limit`` frames of a source as an mcap bag.

    Args:
        source: where the frames come from.
        bag: folder to make; must not be there yet.
        depth_folder: where ground-truth depth goes, if the source has any.
        limit: at most so many frames.
        on_frame: called after each.

    Returns:
        The ground truth of what was written.

    Raises:
        SourceError: the source is empty or cannot be read.
    """
    depth_folder.mkdir(parents=True, exist_ok=True)
    frames = 0
    poses: dict[int, FloatArray] = {}
    camera: CameraIntrinsics | None = None
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        for item in islice(source, limit):
            topics.frame(item)
            frames += 1
            camera = camera or item.frame.intrinsics
            if item.T_world_camera is not None:
                poses[item.frame.stamp_ns] = item.T_world_camera
            if item.depth_m is not None:
                np.save(depth_folder / f"{item.frame.stamp_ns}.npy", item.depth_m)
            on_frame()
    if camera is None:
        raise SourceError(f"{source.name} holds no frame; expected at least one")
    return GroundTruth(
        frames=frames,
        trajectory=_trajectory(poses),
        K=camera.K,
        depth_folder=depth_folder,
    )


def _trajectory(poses: dict[int, FloatArray]) -> Trajectory | None:
    if not poses:
        return None
    return Trajectory(np.array(list(poses), dtype=np.int64), np.array(list(poses.values())))


class BagTopics:
    """The connections of a bag, made when their first message comes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[str, Any] = {}

    def frame(self, item: SourceItem) -> None:
        """Write a frame as camera_info and raw image, with its ground-truth pose where there is one."""
        frame = item.frame
        info = camera_info_message(frame.intrinsics, frame.stamp_ns, frame.frame_id)
        self.add(CAMERA_INFO_TOPIC, info, frame.stamp_ns)
        self.add(IMAGE_TOPIC, image_message(frame), frame.stamp_ns)
        if item.T_world_camera is not None:
            ground_truth = ground_truth_message(
                item.T_world_camera, frame.stamp_ns, frame.frame_id
            )
            self.add(GROUND_TRUTH_TOPIC, ground_truth, frame.stamp_ns)

    def add(self, topic: str, message: Any, stamp_ns: int, is_latched: bool = False) -> None:
        """Write a message.

        Args:
            topic: where it is published.
            message: of `bag_messages`.
            stamp_ns: time of recording.
            is_latched: late subscribers are to receive it too.
        """
        kind = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic,
                kind,
                typestore=STORE,
                offered_qos_profiles=[_LATCHED if is_latched else _RELIABLE],
            )
        self._writer.write(self._connections[topic], stamp_ns, STORE.serialize_cdr(message, kind))


def _qos(depth: int, durability: QosDurability) -> Qos:
    forever = QosTime(sec=0, nsec=0)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )


_RELIABLE = _qos(10, QosDurability.VOLATILE)
_LATCHED = _qos(1, QosDurability.TRANSIENT_LOCAL)
