"""A ROS 1 or ROS 2 bag as a source of frames, read without any ROS installation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.bags.pose_messages import POSE_TYPES, pose_of, stamp_of
from sfm_ros.bags.reader import BagFile, Record
from sfm_ros.bags.speed_messages import SPEED_TYPES, read_speeds
from sfm_ros.datatypes import OPTICAL_FRAME, CameraIntrinsics, FloatArray, Frame, RgbImage
from sfm_ros.errors import CalibrationError, ImageError, SourceError
from sfm_ros.formats.camera_info import intrinsics_from_info
from sfm_ros.formats.image_codec import decode_compressed, decode_raw
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import body_to_optical
from sfm_ros.source import SourceItem
from sfm_ros.sources.folder import intrinsics_for
from sfm_ros.sources.ground_truth import poses_at

RAW_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_TYPE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"

_TRANSPORTS = ("/compressed", "/raw")
_LOG = logging.getLogger(__name__)


class BagSource:
    """The images of one topic of a bag, in order of recording, stamped by their headers.

    A first image that cannot be decoded is an error, since then most likely none can. A later one
    is skipped with a warning and counted, as the node does.

    Attributes:
        name: the bag.
        image_topic: the topic in use.
        skipped: images the latest iteration could not decode.
        fps, camera_height_m: None, a bag does not tell.
    """

    fps: float | None = None
    camera_height_m: float | None = None

    def __init__(
        self,
        path: str | Path | BagFile,
        image_topic: str | None = None,
        camera_info_topic: str | None = None,
        pose_topic: str | None = None,
        calib: str | Path | CameraIntrinsics | None = None,
        speed_topic: str | None = None,
    ) -> None:
        """Open the bag, choose the topics, read the calibration and the ground-truth poses.

        Args:
            path: ``.bag``, ``.mcap`` or ``.db3`` file, or the folder of a ROS 2 bag; or the bag
                where its topics have been listed already.
            image_topic: Image or CompressedImage; by default the only one.
            camera_info_topic: by default ``camera_info`` beside the image topic.
            pose_topic: ground-truth poses of the camera as Odometry or PoseStamped, in body axes (x
                forward, y left, z up: REP 103) at the camera; the frame takes the nearest in time.
            calib: calibration or file of it, in place of the bag's.
            speed_topic: velocities as Odometry or a stamped Twist, such as those of the wheels.

        Raises:
            SourceError: no bag, damaged, empty, or no such topic (its topics are listed).
            CalibrationError: no camera_info where none was passed, or an unusable one.
        """
        self._bag = path if isinstance(path, BagFile) else BagFile(path)
        self.name = self._bag.name
        self.skipped = 0
        self.image_topic = self._choose_image_topic(image_topic)
        first = self._bag.first(self.image_topic)
        rgb = self._first_image(first)
        if calib is not None:
            self._intrinsics = intrinsics_for(rgb, calib)
        else:
            self._intrinsics = self._read_camera_info(camera_info_topic)
        _check_size(rgb, self._intrinsics, self.image_topic)
        self._ground_truth = None if pose_topic is None else self._read_poses(pose_topic)
        self._speeds = None
        if speed_topic is not None:
            self._require(speed_topic, SPEED_TYPES)
            self._speeds = read_speeds(self._bag.records([speed_topic]))

    def __len__(self) -> int:
        return self._bag.topics[self.image_topic][1]

    def __iter__(self) -> Iterator[SourceItem]:
        self.skipped = 0
        for decode in self.deferred():
            item = decode()
            if item is None:
                self.skipped += 1
            else:
                yield item

    def deferred(self) -> Iterator[Callable[[], SourceItem | None]]:
        """See `sfm_ros.source.deferred`."""
        for record in self._bag.records([self.image_topic]):
            yield partial(self._item, record)

    def _item(self, record: Record) -> SourceItem | None:
        try:
            rgb = _decode(record.message)
        except ImageError as error:
            _LOG.warning("%s: an image of %s is skipped: %s", self.name, self.image_topic, error)
            return None
        _check_size(rgb, self._intrinsics, self.image_topic)
        stamp_ns = stamp_of(record)
        frame = Frame(
            stamp_ns=stamp_ns,
            rgb=rgb,
            intrinsics=self._intrinsics,
            frame_id=record.message.header.frame_id or OPTICAL_FRAME,
        )
        return SourceItem(
            frame=frame,
            T_world_camera=poses_at(self._ground_truth, [stamp_ns])[0],
            speed_m_s=None if self._speeds is None else self._speeds.at(stamp_ns),
        )

    def _choose_image_topic(self, wanted: str | None) -> str:
        if wanted is not None:
            self._require(wanted, (RAW_TYPE, COMPRESSED_TYPE))
            return wanted
        names = [
            name
            for name, (kind, _) in self._bag.topics.items()
            if kind in (RAW_TYPE, COMPRESSED_TYPE) and not name.endswith("compressedDepth")
        ]
        # The same camera, raw and compressed: take the image without loss.
        names = [
            name for name in names if _base_topic(name) == name or _base_topic(name) not in names
        ]
        if len(names) == 1:
            return names[0]
        problem = "several image topics; name one" if names else "no image"
        raise SourceError(f"the bag {self.name} holds {problem}. {self._listing()}")

    def _require(self, topic: str, kinds: tuple[str, ...]) -> None:
        kind, count = self._bag.all_topics.get(topic, ("", 0))
        if kind in kinds and count:
            return
        if not kind:
            problem = "has no topic"
        elif kind not in kinds:
            problem = f"has {kind}, expected {' or '.join(kinds)}, on topic"
        else:
            problem = "has no message on topic"
        raise SourceError(f"the bag {self.name} {problem} {topic}. {self._listing()}")

    def _listing(self) -> str:
        entries = [
            f"{name} ({kind}, {count})" for name, (kind, count) in self._bag.all_topics.items()
        ]
        return f"Its topics: {', '.join(sorted(entries)) or 'none, it is empty'}"

    def _first_image(self, record: Record) -> RgbImage:
        try:
            return _decode(record.message)
        except ImageError as error:
            raise SourceError(
                f"cannot decode the first image of {self.image_topic} in {self.name}: {error}"
            ) from error

    def _read_camera_info(self, topic: str | None) -> CameraIntrinsics:
        if topic is not None:
            self._require(topic, (CAMERA_INFO_TYPE,))
        else:
            topic = f"{_base_topic(self.image_topic).rpartition('/')[0]}/camera_info"
            if self._bag.topics.get(topic, ("", 0))[0] != CAMERA_INFO_TYPE:
                raise CalibrationError(
                    f"the bag {self.name} has no {topic}; name the camera_info topic or pass a "
                    f"calibration file. {self._listing()}"
                )
        message = self._bag.first(topic).message
        return intrinsics_from_info(message, f"{topic} in {self.name}")

    def _read_poses(self, topic: str) -> Trajectory:
        self._require(topic, POSE_TYPES)
        poses: dict[int, FloatArray] = {}
        for record in self._bag.records([topic]):
            poses[stamp_of(record)] = body_to_optical(pose_of(record))
        stamps = sorted(poses)
        return Trajectory(np.array(stamps), np.stack([poses[stamp] for stamp in stamps]))


def _base_topic(topic: str) -> str:
    """The image topic a transport's topic belongs to."""
    for transport in _TRANSPORTS:
        topic = topic.removesuffix(transport)
    return topic


def _decode(message: Any) -> RgbImage:
    if hasattr(message, "format"):
        return decode_compressed(message.data, message.format)
    return decode_raw(
        message.data,
        message.width,
        message.height,
        message.step,
        message.encoding,
        bool(message.is_bigendian),
    )


def _check_size(rgb: RgbImage, intrinsics: CameraIntrinsics, topic: str) -> None:
    height, width = rgb.shape[:2]
    if (width, height) != (intrinsics.width, intrinsics.height):
        raise CalibrationError(
            f"an image of {topic} is {width}x{height}, but the calibration is for "
            f"{intrinsics.width}x{intrinsics.height}; pass the calibration of this topic"
        )
