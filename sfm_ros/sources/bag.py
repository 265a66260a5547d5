"""A ROS 1 or ROS 2 bag as a source of frames, read without any ROS installation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeVar

from sfm_ros.bags.camera import camera_info_beside, find_camera_info_topic, find_image_topic
from sfm_ros.bags.pose_messages import read_poses, read_speeds
from sfm_ros.bags.reader import BagFile, Record
from sfm_ros.cameras.followed import FollowedCamera
from sfm_ros.cameras.pixels import PixelCamera
from sfm_ros.datatypes import OPTICAL_FRAME, CameraIntrinsics, Frame, RgbImage
from sfm_ros.errors import CalibrationError, ImageError, SourceError
from sfm_ros.formats.gray_range import AUTO_BITS, GrayLevels, GrayRange
from sfm_ros.formats.image_codec import decode_message, levels_of
from sfm_ros.formats.serialized import header_stamp, stamp_of_serialized
from sfm_ros.formats.trajectory import Trajectory, named_poses, nearest_poses
from sfm_ros.geometry import body_to_optical
from sfm_ros.preprocess import calibration_key
from sfm_ros.source import SourceItem
from sfm_ros.sources.folder import MAX_POSE_DISTANCE_NS, camera_for

_Used = TypeVar("_Used")
_LOG = logging.getLogger(__name__)
_FIRST_IMAGES = 16
"""Images of which one must be usable for the others to be read, and have a stamp to be used."""


class BagSource:
    """The images of one topic of a bag, in order of recording, stamped by their headers.

    A camera_info that changes is followed. An image is skipped with a warning and counted, as by
    the node, if it cannot be decoded, has another size, or comes after a camera_info that cannot
    be used; but if none of the first ones can be used it is an error: most likely none can.

    Attributes:
        name: the bag.
        bag: the bag.
        image_topic: the topic in use.
        camera_info_topic: the topic in use; None if a calibration was passed.
        camera: the camera of the first images, and why it is taken.
        cameras: every camera of the latest iteration so far.
        skipped: images of the latest iteration that are not this camera's: of another size, or
            after a camera_info that cannot be used.
        missing: images that the bag lists and the latest iteration did not find.
        stamps_ns: of the images that it found, in order, those left out included.
        damaged: images that it could not decode.
        is_timed_by_recording: the images have no stamps, so that the times of recording stand in.
        remarks: what was unusual so far, a sentence each.
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
        self._counting = Lock()
        self.stamps_ns: list[int] = []
        self.bag = path if isinstance(path, BagFile) else BagFile(path)
        self.name = self.bag.name
        self.skipped = self.missing = self.damaged = 0
        self._max_megapixels, self._input, self._bits = max_megapixels, input, bits
        self.camera_info_topic: str | None = None
        self.image_topic = find_image_topic(self.bag, image_topic)
        with self.bag.kept_open():
            self.is_timed_by_recording = self._has_zero_stamps()
            if calib is None:
                self.camera = self._camera_of_bag(camera_info_topic)
            else:
                names = (self.image_topic,)
                self.camera = self._first_usable(
                    lambda rgb: camera_for(rgb, calib, camera, names, input)
                )
            self.cameras = [self.camera]
            poses = None if pose_topic is None else self._read_ground_truth(pose_topic)
            self._ground_truth = poses
            self._speeds = None if speed_topic is None else read_speeds(self.bag, speed_topic)

    def __len__(self) -> int:
        return self.bag.topics[self.image_topic][1]

    def __iter__(self) -> Iterator[SourceItem]:
        for decode in self.deferred():
            item = decode()
            if item is not None:
                yield item

    @property
    def remarks(self) -> tuple[str, ...]:
        """See the class."""
        notes = {
            "the stamps are zero, so that the times of recording are used; the node refuses such "
            "images": self.is_timed_by_recording,
            f"{self.skipped} images are left out, which are of another size or without a "
            "calibration": self.skipped,
            f"{self.missing} of {len(self)} images are listed and cannot be found": self.missing,
            f"{self.damaged} images cannot be decoded": self.damaged,
        }
        found = (
            f"{self.name}, {self.image_topic}: {text}" for text, is_so in notes.items() if is_so
        )
        return (*self.bag.remarks, *found)

    @property
    def unreadable(self) -> int:
        """Images that the latest iteration could not read."""
        return self.missing + self.damaged

    def _has_zero_stamps(self) -> bool:
        """Whether the first images are without stamps; one of zero may be the start of time."""
        first = islice(self.bag.serialized([self.image_topic]), _FIRST_IMAGES)
        return not any(stamp_of_serialized(data, self.bag.is_ros1) for _, _, data in first)

    def _stamp_of(self, record: Record) -> int:
        return record.log_ns if self.is_timed_by_recording else header_stamp(record.message)

    def deferred(self) -> Iterator[Callable[[], SourceItem | None]]:
        """See `sfm_ros.source.deferred`."""
        self.skipped = self.missing = self.damaged = 0
        gray, infos = GrayRange(self._bits), self.camera_info_topic
        followed = None if infos is None else self._follow(infos)
        # Images before the first camera_info that can be used are of the same camera.
        camera: PixelCamera | None = self.camera
        self.cameras = [self.camera]
        self.stamps_ns = stamps = []
        for record in self.bag.records([self.image_topic, *([infos] if infos else [])]):
            if followed is None or record.topic == self.image_topic:
                stamps.append(self._stamp_of(record))
                levels = levels_of(record.message, gray, self._max_megapixels)
                yield partial(self._item, record, levels, camera)
            elif followed.take(record.message):
                camera = self._changed(followed, camera)
        self.missing = max(len(self) - len(stamps), 0)
        if self._ground_truth is not None:
            name = f"the poses in {self.name}"
            named_poses(self._ground_truth, stamps, MAX_POSE_DISTANCE_NS, name)

    def _changed(self, followed: FollowedCamera, before: PixelCamera | None) -> PixelCamera | None:
        """The camera after a camera_info of another content, which is reported."""
        camera = followed.camera
        if camera is None:
            _LOG.warning("%s: a camera_info is skipped: %s", self.name, followed.error)
            return None if followed.has_been_usable else before
        if calibration_key(camera.intrinsics) == calibration_key(self.camera.intrinsics):
            return self.camera
        _LOG.warning("%s: the calibration changes: %s", self.name, camera.text)
        self.cameras.append(camera)
        return camera

    def _item(
        self, record: Record, levels: GrayLevels | None, camera: PixelCamera | None
    ) -> SourceItem | None:
        try:
            rgb = decode_message(record.message, self._max_megapixels, levels)
            if camera is not None:  # else it is reported with its camera_info
                self._require_size(camera, rgb)
        except (ImageError, CalibrationError) as error:
            _LOG.warning("%s: an image of %s is skipped: %s", self.name, self.image_topic, error)
            with self._counting:  # threads decode
                self.damaged += isinstance(error, ImageError)
                self.skipped += isinstance(error, CalibrationError)
            return None
        if camera is None:
            with self._counting:
                self.skipped += 1
            return None
        stamp_ns = self._stamp_of(record)
        frame = Frame(
            stamp_ns=stamp_ns,
            rgb=rgb,
            intrinsics=camera.intrinsics,
            frame_id=record.message.header.frame_id or OPTICAL_FRAME,
        )
        poses = self._ground_truth
        near = [None] if poses is None else nearest_poses(poses, [stamp_ns], MAX_POSE_DISTANCE_NS)
        return SourceItem(
            frame=frame,
            T_world_camera=near[0],
            speed_m_s=None if self._speeds is None else self._speeds.at(stamp_ns),
        )

    def _first_usable(self, use: Callable[[RgbImage], _Used]) -> _Used:
        """What ``use`` makes of the first image that it can use; raises the error of the first."""
        first: SourceError | CalibrationError | None = None
        for record in islice(self.bag.records([self.image_topic]), _FIRST_IMAGES):
            try:
                return use(self._decode_first(record))
            except (SourceError, CalibrationError) as error:
                first = first or error
        if first is None:
            self.bag.first(self.image_topic)  # raises: the bag lists images and holds none
        assert first is not None
        raise first

    def _decode_first(self, record: Record) -> RgbImage:
        try:
            return decode_message(record.message, self._max_megapixels)
        except ImageError as error:
            raise SourceError(
                f"cannot decode the first image of {self.image_topic} in {self.name}: {error}"
            ) from error

    def _require_size(self, camera: PixelCamera, rgb: RgbImage) -> None:
        height, width = rgb.shape[:2]
        camera.require_size(width, height, f"an image of {self.image_topic}")

    def _follow(self, topic: str) -> FollowedCamera:
        names = (self.image_topic, topic)
        return FollowedCamera(f"{topic} in {self.name}", names, self._input)

    def _camera_of_bag(self, requested: str | None) -> PixelCamera:
        """The camera of the first images, one of which has its size."""
        height, width = self._first_usable(lambda rgb: rgb.shape[:2])  # before the calibration
        camera = self._first_camera(requested)
        if (width, height) != (camera.intrinsics.width, camera.intrinsics.height):
            self._first_usable(partial(self._require_size, camera))
        return camera

    def _first_camera(self, requested: str | None) -> PixelCamera:
        """The camera of the first camera_info that can be used."""
        topic = find_camera_info_topic(self.bag, self.image_topic, requested)
        if topic is None:
            raise CalibrationError(
                f"the bag {self.name} has no {camera_info_beside(self.image_topic)}; name the "
                f"camera_info topic or pass a calibration file; {self.bag.listing()}"
            )
        self.camera_info_topic = topic
        followed, first = self._follow(topic), None
        for record in self.bag.records([topic]):
            followed.take(record.message)
            if followed.camera is not None:
                return followed.camera
            first = first or followed.error
        raise first or SourceError(f"the bag {self.name} lists {topic} and holds none of it")

    def _read_ground_truth(self, topic: str) -> Trajectory:
        found, _ = read_poses(self.bag, topic)
        return Trajectory(found.stamps_ns, body_to_optical(found.poses))
