"""A ROS 1 or ROS 2 bag as a source of frames, read without any ROS installation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from sfm_ros.bags.camera import camera_info_beside, find_camera_info_topic, find_image_topic
from sfm_ros.bags.pose_messages import read_poses, read_speeds, stamp_of
from sfm_ros.bags.reader import BagFile, Record
from sfm_ros.cameras.pixels import PixelCamera, choose_camera
from sfm_ros.datatypes import OPTICAL_FRAME, CameraIntrinsics, Frame, RgbImage
from sfm_ros.errors import CalibrationError, ImageError, SourceError
from sfm_ros.formats.camera_info import camera_from_info
from sfm_ros.formats.gray_range import AUTO_BITS, GrayLevels, GrayRange
from sfm_ros.formats.image_codec import decode_message, levels_of
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import body_to_optical
from sfm_ros.source import SourceItem
from sfm_ros.sources.folder import camera_for, poses_at

_LOG = logging.getLogger(__name__)


class BagSource:
    """The images of one topic of a bag, in order of recording, stamped by their headers.

    A first image that cannot be decoded is an error, since then most likely none can. A later one
    is skipped with a warning and counted, as the node does.

    Attributes:
        name: the bag.
        bag: the bag.
        image_topic: the topic in use.
        camera_info_topic: the topic in use; None if a calibration was passed.
        camera: the camera of the images, and why it is taken.
        skipped: images the latest iteration could not decode.
        fps, camera_height_m: None, a bag does not state them.
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
        max_megapixels: float | None = None,
        camera: str | int | None = None,
        input: str = "auto",
        bits: int = AUTO_BITS,
    ) -> None:
        """Open the bag, choose the topics, read the calibration and the ground-truth poses.

        Args:
            path: ``.bag``, ``.mcap`` or ``.db3`` file, or the folder of a ROS 2 bag; or the bag
                if its topics have been listed already.
            image_topic: see `find_image_topic`.
            camera_info_topic: see `find_camera_info_topic`.
            pose_topic: ground-truth poses of the camera as Odometry or PoseStamped, in body axes
                (x forward, y left, z up: REP 103); the frame takes the nearest in time.
            calib: camera of the images or a calibration file, instead of the bag's.
            speed_topic: velocities as Odometry or a stamped Twist, such as those of the wheels.
            max_megapixels: see `decode_compressed`.
            camera: which camera of a calibration file with several.
            input, bits: see ``PreprocessConfig``.

        Raises:
            SourceError: no bag, damaged, empty, or no such topic (its topics are listed).
            CalibrationError: neither a camera_info nor ``calib``, or an unusable one; see
                `choose_camera`.
        """
        self.bag = path if isinstance(path, BagFile) else BagFile(path)
        self.name = self.bag.name
        self.skipped = 0
        self._max_megapixels, self._input, self._bits = max_megapixels, input, bits
        self.camera_info_topic: str | None = None
        self.image_topic = find_image_topic(self.bag, image_topic)
        with self.bag.kept_open():
            rgb = self._first_image()
            if calib is not None:
                self.camera = camera_for(rgb, calib, camera, (self.image_topic,), input)
            else:
                self.camera = self._read_camera_info(camera_info_topic)
            self._check_size(rgb)
            poses = None if pose_topic is None else self._read_ground_truth(pose_topic)
            self._ground_truth = poses
            self._speeds = None if speed_topic is None else read_speeds(self.bag, speed_topic)

    def __len__(self) -> int:
        return self.bag.topics[self.image_topic][1]

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
        gray = GrayRange(self._bits)
        for record in self.bag.records([self.image_topic]):
            yield partial(self._item, record, levels_of(record.message, gray))

    def _item(self, record: Record, levels: GrayLevels | None) -> SourceItem | None:
        try:
            rgb = decode_message(record.message, self._max_megapixels, levels)
        except ImageError as error:
            _LOG.warning("%s: an image of %s is skipped: %s", self.name, self.image_topic, error)
            return None
        self._check_size(rgb)
        stamp_ns = stamp_of(record)
        frame = Frame(
            stamp_ns=stamp_ns,
            rgb=rgb,
            intrinsics=self.camera.intrinsics,
            frame_id=record.message.header.frame_id or OPTICAL_FRAME,
        )
        return SourceItem(
            frame=frame,
            T_world_camera=poses_at(self._ground_truth, [stamp_ns])[0],
            speed_m_s=None if self._speeds is None else self._speeds.at(stamp_ns),
        )

    def _first_image(self) -> RgbImage:
        try:
            first = self.bag.first(self.image_topic).message
            return decode_message(first, self._max_megapixels)
        except ImageError as error:
            raise SourceError(
                f"cannot decode the first image of {self.image_topic} in {self.name}: {error}"
            ) from error

    def _check_size(self, rgb: RgbImage) -> None:
        height, width = rgb.shape[:2]
        self.camera.require_size(width, height, f"an image of {self.image_topic}")

    def _read_camera_info(self, requested: str | None) -> PixelCamera:
        topic = find_camera_info_topic(self.bag, self.image_topic, requested)
        if topic is None:
            raise CalibrationError(
                f"the bag {self.name} has no {camera_info_beside(self.image_topic)}; name the "
                f"camera_info topic or pass a calibration file; {self.bag.listing()}"
            )
        self.camera_info_topic = topic
        stated = camera_from_info(self.bag.first(topic).message, f"{topic} in {self.name}")
        return choose_camera(stated, (self.image_topic, topic), self._input)

    def _read_ground_truth(self, topic: str) -> Trajectory:
        found, _ = read_poses(self.bag, topic)
        return Trajectory(found.stamps_ns, body_to_optical(found.poses))
