"""Writes a source of frames as a ROS 2 bag, one frame in memory at a time.

Any ROS 2 tool can play the bag. Ground-truth poses are on a topic of it; ground-truth depth is
kept beside it, a file per frame.
"""

from __future__ import annotations

from collections.abc import Callable
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

from sfm_ros.bags.camera import DepthFolder, PlayableBag
from sfm_ros.bags.messages import (
    STORE,
    camera_info_message,
    ground_truth_message,
    image_message,
)
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import SourceError
from sfm_ros.source import Source, SourceItem

IMAGE_TOPIC = "/camera/image_raw"
CAMERA_INFO_TOPIC = "/camera/camera_info"
GROUND_TRUTH_TOPIC = "/ground_truth/odometry"


def write_bag(
    source: Source,
    bag: Path,
    depth_folder: Path,
    limit: int | None = None,
    on_frame: Callable[[], object] = lambda: None,
) -> PlayableBag:
    """Write the first ``limit`` frames of a source as an mcap bag.

    Args:
        source: the frames.
        bag: folder to make; must not exist.
        depth_folder: receives the ground-truth depth, if the source has any.
        limit: at most this many frames.
        on_frame: called after each frame.

    Raises:
        SourceError: the source is empty or cannot be read.
    """
    depth_folder.mkdir(parents=True, exist_ok=True)
    frames = 0
    camera: CameraIntrinsics | None = None
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        topics = BagTopics(writer)
        for item in islice(source, limit):
            topics.frame(item)
            frames += 1
            camera = camera or item.frame.intrinsics
            if item.depth_m is not None:
                np.save(depth_folder / f"{item.frame.stamp_ns}.npy", item.depth_m)
            on_frame()
    if camera is None:
        raise SourceError(f"{source.name} holds no frame; expected at least one")
    return PlayableBag(
        path=bag,
        image_topic=IMAGE_TOPIC,
        camera_info_topic=CAMERA_INFO_TOPIC,
        frames=frames,
        depth=DepthFolder(folder=depth_folder, camera=camera),
    )


class BagTopics:
    """The topics of a bag, each declared with its first message."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._connections: dict[str, Any] = {}

    def frame(self, item: SourceItem) -> None:
        """Write a frame as camera_info and raw image, with its ground-truth pose if known."""
        frame = item.frame
        info = camera_info_message(frame.intrinsics, frame.stamp_ns, frame.frame_id)
        self.add(CAMERA_INFO_TOPIC, info, frame.stamp_ns)
        self.add(IMAGE_TOPIC, image_message(frame), frame.stamp_ns)
        if item.T_world_camera is not None:
            pose = ground_truth_message(item.T_world_camera, frame.stamp_ns, frame.frame_id)
            self.add(GROUND_TRUTH_TOPIC, pose, frame.stamp_ns)

    def add(self, topic: str, message: Any, stamp_ns: int, is_latched: bool = False) -> None:
        """Write a message of `messages`; ``stamp_ns`` is the time of recording.

        Late subscribers receive a latched one, too.
        """
        kind = message.__msgtype__
        if topic not in self._connections:
            profiles = [bag_qos(is_latched)]
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=STORE, offered_qos_profiles=profiles
            )
        self._writer.write(self._connections[topic], stamp_ns, STORE.serialize_cdr(message, kind))


def bag_qos(is_latched: bool = False, is_reliable: bool = True) -> Qos:
    """A quality of service in the form that a bag stores."""
    forever = QosTime(sec=0, nsec=0)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if is_latched else 10,
        reliability=QosReliability.RELIABLE if is_reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if is_latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
