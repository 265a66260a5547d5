"""The camera in a bag: its topics, and what a player needs to know about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfm_ros.bags.reader import BagFile
from sfm_ros.datatypes import CameraIntrinsics, DepthMap
from sfm_ros.errors import SourceError
from sfm_ros.formats.files import words_of

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
IMAGE_TYPES = (RAW_IMAGE, COMPRESSED_IMAGE)
_COMPRESSED = "/compressed"
_DEPTH_WORDS = frozenset(("depth", "disparity"))
_COLOR_WORDS = frozenset(("rgb", "color", "gray", "mono", "left", "right", "infra", "ir"))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DepthFolder:
    """Ground-truth depth beside a bag, a file per frame.

    Attributes:
        folder: holds ``<stamp_ns>.npy``, (H, W) float32 meters, 0 or NaN if unknown.
        camera: calibration of the images and of the depth.
    """

    folder: Path
    camera: CameraIntrinsics

    def at(self, stamp_ns: int) -> DepthMap | None:
        """Depth of the frame with this stamp, or None if unknown."""
        path = self.folder / f"{stamp_ns}.npy"
        return np.load(path) if path.is_file() else None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlayableBag:
    """A bag, and the topics of one camera in it.

    Attributes:
        path: file or folder.
        image_topic: without the transport's suffix, as it is remapped.
        camera_info_topic: of that camera.
        frames: number of images.
        compressed: they are sensor_msgs/CompressedImage on ``<image_topic>/compressed``.
        depth: ground-truth depth beside the bag, if it was written with it.
    """

    path: Path
    image_topic: str
    camera_info_topic: str
    frames: int
    compressed: bool = False
    depth: DepthFolder | None = None

    @property
    def transported_topic(self) -> str:
        """The topic the images are on."""
        return f"{self.image_topic}{_COMPRESSED}" if self.compressed else self.image_topic


def inspect_bag(
    path: str | Path | BagFile,
    image_topic: str | None = None,
    camera_info_topic: str | None = None,
) -> PlayableBag:
    """Find the topics to play, see `find_image_topic` and `find_camera_info_topic`.

    Raises:
        SourceError: the bag cannot be read, has no such topic, or several to choose from.
    """
    bag = path if isinstance(path, BagFile) else BagFile(path)
    image = find_image_topic(bag, image_topic)
    kind, frames = bag.topics[image]
    compressed = kind == COMPRESSED_IMAGE
    if not has_transport_name(bag, image):
        raise SourceError(
            f"{bag.name} has compressed images on {image}, expected a topic that ends in "
            f"{_COMPRESSED}, as image_transport names it and the node subscribes to it; rename "
            "the topic in the bag"
        )
    info = find_camera_info_topic(bag, image, camera_info_topic)
    if info is None:
        raise SourceError(
            f"the bag {bag.name} has no {camera_info_beside(image)}; name the topic as "
            f"camera_info_topic; {bag.listing()}"
        )
    return PlayableBag(
        path=bag.path,
        image_topic=image.removesuffix(_COMPRESSED) if compressed else image,
        camera_info_topic=info,
        frames=frames,
        compressed=compressed,
    )


def has_transport_name(bag: BagFile, image_topic: str) -> bool:
    """Whether a topic of images has the name that image_transport gives images of its type."""
    is_compressed = bag.topics[image_topic][0] == COMPRESSED_IMAGE
    return not is_compressed or image_topic.endswith(_COMPRESSED)


def find_image_topic(bag: BagFile, requested: str | None = None) -> str:
    """The requested topic of images, with or without ``/compressed``; by default the only one.

    Raises:
        SourceError: no such topic, none at all, or several to choose from.
    """
    if requested is not None:
        transported = bag.named(f"{requested}{_COMPRESSED}")
        if bag.named(requested) not in bag.topics and transported in bag.topics:
            requested = transported
        return bag.require(requested, IMAGE_TYPES)
    cameras = _image_topics(bag)
    if len(cameras) == 1:
        return cameras[0]
    problem = "several image topics; name one as image_topic" if cameras else "no image topic"
    depth = [t for t, (kind, _) in bag.topics.items() if kind in IMAGE_TYPES and is_depth(t)]
    if depth and not cameras:
        problem = f"no image topic but of depth ({', '.join(depth)}); name one as image_topic"
    raise SourceError(f"the bag {bag.name} holds {problem}; {bag.listing()}")


def find_camera_info_topic(
    bag: BagFile, image_topic: str, requested: str | None = None
) -> str | None:
    """The requested topic of camera_info; by default the one beside the image topic.

    In a bag of one camera it may be anywhere, if it is the only one.

    Raises:
        SourceError: the requested topic is not in the bag.
    """
    if requested is not None:
        return bag.require(requested, (CAMERA_INFO,))
    found = [name for name, (kind, _) in bag.topics.items() if kind == CAMERA_INFO]
    beside = bag.named(camera_info_beside(image_topic))
    if beside in found:
        return beside
    return found[0] if len(found) == 1 and len(_image_topics(bag)) == 1 else None


def _image_topics(bag: BagFile) -> list[str]:
    """One topic per camera: raw images are preferred to the same images compressed."""
    names = [
        name
        for name, (kind, _) in bag.topics.items()
        if kind in IMAGE_TYPES and not is_depth(name)
    ]
    return [name for name in names if _base(name) == name or _base(name) not in names]


def is_depth(topic: str) -> bool:
    """Whether a topic is of depth or disparity by its name, not of a color camera beside it."""
    for part in reversed(topic.split("/")):
        words = words_of(part)
        if not _DEPTH_WORDS.isdisjoint(words):
            return True
        if not _COLOR_WORDS.isdisjoint(words):
            return False
    return False


def camera_info_beside(image_topic: str) -> str:
    """Where image_transport expects the calibration of an image topic."""
    return f"{_base(image_topic).rpartition('/')[0]}/camera_info"


def _base(topic: str) -> str:
    """The image topic a transport's topic belongs to."""
    return topic.removesuffix(_COMPRESSED).removesuffix("/raw")
