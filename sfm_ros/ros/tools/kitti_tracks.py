"""A KITTI drive that can be played: images, calibration, extrinsics and ground-truth poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.bags.messages import (
    STORE,
    camera_info_message,
    ground_truth_message,
    image_message,
    transforms_message,
)
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC
from sfm_ros.datatypes import OPTICAL_FRAME
from sfm_ros.errors import SourceError
from sfm_ros.ros import compat
from sfm_ros.ros.tools.bag_tracks import Track
from sfm_ros.source import SourceItem
from sfm_ros.sources.kitti.source import open_kitti
from sfm_ros.sources.kitti.to_bag import STATIC_TOPIC, extrinsics


class PlayableDrive:
    """The bag that `sfm_kitti_to_bag` would write, made while it is played.

    Args:
        path: folder of a KITTI raw drive or odometry sequence.
        topics: only these; all if empty.

    Raises:
        SfmRosError: the folder cannot be read, or has no such topic.
    """

    def __init__(self, path: Path, topics: Sequence[str] = ()) -> None:
        self._drive = open_kitti(path)
        offered = list(self._offered())
        names = [track.topic for track in offered]
        for topic in topics:
            if topic not in names:
                raise SourceError(
                    f"the drive {path} has no topic {topic}; it is played as {', '.join(names)}"
                )
        self.tracks = [track for track in offered if not topics or track.topic in topics]

    def _offered(self) -> Iterator[Track]:
        count = len(self._drive)
        yield Track(CAMERA_INFO_TOPIC, "sensor_msgs/msg/CameraInfo", CameraInfo, count)
        yield Track(IMAGE_TOPIC, "sensor_msgs/msg/Image", Image, count)
        poses = sum(pose is not None for pose in self._drive.poses)
        if poses:
            yield Track(GROUND_TRUTH_TOPIC, "nav_msgs/msg/Odometry", Odometry, poses)
        transforms = compat.transform_message_class()
        if transforms is not None:
            yield Track(STATIC_TOPIC, "tf2_msgs/msg/TFMessage", transforms, 1, is_latched=True)

    def messages(self) -> Iterator[tuple[str, int, bytes]]:
        """See `Playable`.

        Raises:
            SourceError: an image cannot be read.
        """
        topics = {track.topic for track in self.tracks}
        begin_ns = self._drive.stamps_ns[0]
        transforms = extrinsics(self._drive.camera_height_m or 0.0, None)
        static: list[tuple[str, Any]] = [(STATIC_TOPIC, transforms_message(transforms, begin_ns))]
        yield from _serialized(static, begin_ns, topics)
        for item in self._drive:
            yield from _serialized(_frame_messages(item), item.frame.stamp_ns, topics)


def _frame_messages(item: SourceItem) -> list[tuple[str, Any]]:
    frame = item.frame
    info = camera_info_message(frame.intrinsics, frame.stamp_ns, frame.frame_id)
    messages = [(CAMERA_INFO_TOPIC, info), (IMAGE_TOPIC, image_message(frame))]
    if item.T_world_camera is not None:
        ground_truth = ground_truth_message(item.T_world_camera, frame.stamp_ns, OPTICAL_FRAME)
        messages.append((GROUND_TRUTH_TOPIC, ground_truth))
    return messages


def _serialized(
    messages: list[tuple[str, Any]], time_ns: int, topics: set[str]
) -> Iterator[tuple[str, int, bytes]]:
    for topic, message in messages:
        if topic in topics:
            yield topic, time_ns, bytes(STORE.serialize_cdr(message, message.__msgtype__))
