"""Converts a KITTI drive to a ROS 2 bag: images, calibration, extrinsics, poses, lidar scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from sfm_ros.bags.messages import (
    camera_info_message,
    compressed_image_message,
    encode_image,
    ground_truth_message,
    image_message,
    scan_message,
    transforms_message,
)
from sfm_ros.bags.split_writer import SplitBag
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, GROUND_TRUTH_TOPIC, IMAGE_TOPIC, BagTopics
from sfm_ros.datatypes import OPTICAL_FRAME, FloatArray, Frame, body_frame_name
from sfm_ros.errors import ConfigError, ImageError, SourceError
from sfm_ros.formats.image_codec import decode_pixels
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform
from sfm_ros.sources.folder import FolderSource, read_image, read_image_bytes
from sfm_ros.sources.kitti.scans import KittiScans, find_scans, read_scan_bytes

COMPRESSIONS = ("none", "png", "jpeg")
SCAN_TOPIC = "/velodyne_points"
STATIC_TOPIC = "/tf_static"
LIDAR_FRAME = "velodyne"
BASE_FRAME = "base_link"
GROUND_FRAME = "base_footprint"
_FIRST_NS = 1_000_000_000
_SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KittiBagConfig:
    """What to write.

    Attributes:
        compression: ``none`` writes sensor_msgs/Image; ``png`` and ``jpeg`` CompressedImage. An
            image file of that kind is copied without decoding it.
        jpeg_quality: 1 to 100, for images that are encoded.
        scans: whether to write the lidar scans.
        frames: only this many, from the first; None writes all.
        frames_per_part: images in one file of the bag, the most that a killed run loses.
        start_ns: added to every stamp; None adds a second if the first one is 0, as in KITTI's
            odometry sequences, because ROS takes a stamp of 0 for none.
    """

    compression: str = "none"
    jpeg_quality: int = 95
    scans: bool = True
    frames: int | None = None
    frames_per_part: int = 100
    start_ns: int | None = None

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            raise ConfigError(
                f"the compression is '{self.compression}', expected one of "
                f"{', '.join(COMPRESSIONS)}"
            )
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"the JPEG quality is {self.jpeg_quality}, expected 1 to 100")
        if self.frames_per_part < 1 or (self.frames is not None and self.frames < 1):
            raise ConfigError(
                f"frames {self.frames} in parts of {self.frames_per_part}, expected at least 1"
            )
        if self.start_ns is not None and self.start_ns < 0:
            raise ConfigError(f"the start is {self.start_ns} ns, expected a time from 0 up")


class KittiBagWriter:
    """Writes a drive, with one image and one scan in memory at a time.

    Attributes:
        frames: number of images.
        frames_done: how many of these are in complete parts already.
    """

    def __init__(self, images: FolderSource, bag: Path, config: KittiBagConfig) -> None:
        """Inspect the drive of `open_kitti`, and the folder of the bag.

        Raises:
            SourceError: see `SplitBag` and `find_scans`.
            CalibrationError: scans without their calibration.
        """
        self._images, self._config = images, config
        self._scans = find_scans(images) if config.scans else None
        self._is_gray = _is_gray(images.files[0])
        first_ns = 0 if images.stamps_ns[0] else _FIRST_NS
        self._start_ns = first_ns if config.start_ns is None else config.start_ns
        self.frames = min(len(images), config.frames or len(images))
        size = config.frames_per_part
        parts = [range(at, min(at + size, self.frames)) for at in range(0, self.frames, size)]
        source = {"images": str(images.files[0].parent.resolve()), "of": len(images)}
        plan, inputs = source | asdict(config), {file.parent for file in self._inputs()}
        self._parts, self._bag = parts, SplitBag(bag, len(parts), plan, inputs)
        self.frames_done = sum(len(part) for part in parts[: self._bag.first_missing])

    def write(self, on_frame: Callable[[], object] = lambda: None) -> None:
        """Write the missing parts, then the metadata of the bag; calls back after each image.

        Raises:
            SourceError: an image or scan cannot be read; complete parts are kept.
            OutputError: the folder cannot be used, see `SplitBag.writing`.
        """
        with self._bag.writing(self._missing_bytes()):
            for index in range(self._bag.first_missing, len(self._parts)):
                with self._bag.part(index) as topics:
                    if index == 0:
                        self._add_extrinsics(topics)
                    for frame in self._parts[index]:
                        self._add_frame(topics, frame)
                        on_frame()

    def _inputs(self, first: int = 0) -> list[Path]:
        """The images and scans of the frames from ``first`` on."""
        scans = [] if self._scans is None else self._scans.files[first : self.frames]
        return [*self._images.files[first : self.frames], *filter(None, scans)]

    def _missing_bytes(self) -> int:
        """About the size of what is not written yet: images are encoded, or grow to raw ones."""
        camera, missing = self._images.intrinsics, self.frames - self.frames_done
        size = sum(file.stat().st_size for file in self._inputs(self.frames_done))
        if self._config.compression == "none":
            size += missing * camera.width * camera.height * (1 if self._is_gray else 3)
        return size

    def contents(self) -> str:
        """Summary of what is written, as text."""
        poses = sum(pose is not None for pose in self._images.poses[: self.frames])
        scans = 0 if self._scans is None else sum(map(bool, self._scans.files[: self.frames]))
        kind = "gray" if self._is_gray else "color"
        return f"{self.frames} {kind} images, {poses} ground-truth poses, {scans} lidar scans"

    def _add_extrinsics(self, topics: BagTopics) -> None:
        stamp_ns = self._stamp(0)
        transforms = extrinsics(self._images.camera_height_m or 0.0, self._scans)
        topics.add(STATIC_TOPIC, transforms_message(transforms, stamp_ns), stamp_ns, True)

    def _stamp(self, index: int) -> int:
        return self._images.stamps_ns[index] + self._start_ns

    def _add_frame(self, topics: BagTopics, index: int) -> None:
        stamp_ns, pose = self._stamp(index), self._images.poses[index]
        self._add_image(topics, index)
        if pose is not None:
            message = ground_truth_message(pose, stamp_ns, OPTICAL_FRAME)
            topics.add(GROUND_TRUTH_TOPIC, message, stamp_ns)
        scan = None if self._scans is None else self._scans.files[index]
        if self._scans is not None and scan is not None:
            scan_ns = self._scans.stamps_ns[index] + self._start_ns
            message = scan_message(read_scan_bytes(scan), scan_ns, LIDAR_FRAME)
            topics.add(SCAN_TOPIC, message, scan_ns)

    def _add_image(self, topics: BagTopics, index: int) -> None:
        file, kind = self._images.files[index], self._config.compression
        stamp_ns, camera = self._stamp(index), self._images.intrinsics
        info = camera_info_message(camera, stamp_ns, OPTICAL_FRAME)
        topics.add(CAMERA_INFO_TOPIC, info, stamp_ns)
        if _SUFFIXES.get(file.suffix.lower()) == kind:
            data = read_image_bytes(file)
        else:
            frame = Frame(stamp_ns=stamp_ns, rgb=read_image(file), intrinsics=camera)
            if kind == "none":
                topics.add(IMAGE_TOPIC, image_message(frame, self._is_gray), stamp_ns)
                return
            data = encode_image(frame, kind, self._config.jpeg_quality, self._is_gray)
        message = compressed_image_message(data, kind, stamp_ns, OPTICAL_FRAME, self._is_gray)
        topics.add(f"{IMAGE_TOPIC}/compressed", message, stamp_ns)


def extrinsics(
    camera_height_m: float, scans: KittiScans | None
) -> dict[tuple[str, str], FloatArray]:
    """(parent, child) -> (4, 4) T_parent_child of a KITTI car.

    ``base_link`` is on the road below the camera and level with it, because KITTI does not give
    the position of the axle; ``base_footprint`` (REP 120) is the same place. The other child of
    ``base_link`` is the camera's body frame (REP 103), whose children are the camera's optical
    frame and, as calibrated, the lidar.
    """
    body = body_frame_name(OPTICAL_FRAME)
    T_body_optical = make_transform(R_BODY_OPTICAL, np.zeros(3))
    transforms = {
        (BASE_FRAME, GROUND_FRAME): np.eye(4),
        (BASE_FRAME, body): make_transform(np.eye(3), [0.0, 0.0, camera_height_m]),
        (body, OPTICAL_FRAME): T_body_optical,
    }
    if scans is not None:
        transforms[body, LIDAR_FRAME] = T_body_optical @ scans.T_camera_lidar
    return transforms


def _is_gray(file: Path) -> bool:
    """Whether an image file has one channel."""
    try:
        return decode_pixels(read_image_bytes(file), cv2.IMREAD_UNCHANGED).ndim == 2
    except ImageError as error:
        raise SourceError(f"cannot read the image {file}: {error}") from error
