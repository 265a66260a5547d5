"""What the demo plays: from its command line to a source of frames or a bag."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.typesys import Stores, get_typestore

from sfm_ros.errors import SourceError
from sfm_ros.evaluation.drive import UnseenDrive
from sfm_ros.sources.base import Source
from sfm_ros.sources.folder import FolderSource
from sfm_ros.sources.kitti import open_kitti
from sfm_ros.sources.video import VideoSource

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_TRANSPORT = "/compressed"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceInput:
    """Frames that are written to a bag first.

    Attributes:
        source: the frames, and the truth about them where there is any.
        verb: what writing them means, for the progress bar.
    """

    source: Source
    verb: str

    @property
    def name(self) -> str:
        """For the report."""
        return self.source.name


@dataclass(frozen=True, kw_only=True, slots=True)
class BagInput:
    """A bag that is played as it is.

    Attributes:
        name: for the report.
        path: file or folder.
        image_topic: without the transport's suffix, as it is remapped to.
        camera_info_topic: of that camera.
        frames: images on the topic.
        compressed: they are sensor_msgs/CompressedImage on ``<image_topic>/compressed``.
    """

    name: str
    path: Path
    image_topic: str
    camera_info_topic: str
    frames: int
    compressed: bool = False


Input = SourceInput | BagInput


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what to play."""
    group = parser.add_argument_group("your own data (default: an unseen synthetic drive)")
    group.add_argument(
        "data", nargs="?", type=Path, metavar="DIR", help="KITTI sequence or drive, bag or video"
    )
    group.add_argument("--images", type=Path, help="folder of pictures; needs --calib")
    group.add_argument("--kitti", type=Path, help="KITTI odometry sequence or raw drive")
    group.add_argument("--bag", type=Path, help="ROS 1 or ROS 2 bag, played as it is")
    group.add_argument("--video", type=Path, help="video file; needs --calib")
    group.add_argument("--calib", type=Path, help="camera_info YAML or KITTI calibration")
    group.add_argument("--poses", type=Path, help="true poses, KITTI or TUM, for --images")
    group.add_argument("--fps", type=float, help="frame rate of --images or --video")
    group.add_argument("--image-topic", help="of --bag; default: the only one")
    group.add_argument("--camera-info-topic", help="of --bag; default: beside the image topic")


def choose_input(options: argparse.Namespace) -> Input:
    """What the options ask for.

    Raises:
        SourceError: more than one input, a missing calibration, or an input that cannot be read.
    """
    named = {key: getattr(options, key) for key in ("data", "images", "kitti", "bag", "video")}
    given = {key: path for key, path in named.items() if path is not None}
    if len(given) > 1:
        raise SourceError(f"{len(given)} inputs are named ({', '.join(given)}), expected one")
    if not given:
        return SourceInput(source=UnseenDrive(), verb="rendering")
    ((kind, path),) = given.items()
    if not path.exists():
        raise SourceError(f"there is no {path}")
    if kind == "data":
        kind = recognise(path)
    if kind == "bag":
        return inspect_bag(path, options.image_topic, options.camera_info_topic)
    return SourceInput(source=_open(kind, path, options), verb="converting")


def recognise(path: Path) -> str:
    """What lies at a path: ``bag``, ``video``, ``kitti`` or ``images``."""
    if path.is_file():
        return "bag" if path.suffix in (".bag", ".mcap", ".db3") else "video"
    if (path / "metadata.yaml").is_file() or any(path.glob("*.mcap")) or any(path.glob("*.db3")):
        return "bag"
    return "kitti" if any(path.glob("image_[0-9]*")) else "images"


def _open(kind: str, path: Path, options: argparse.Namespace) -> Source:
    if kind == "kitti" and options.calib is None:
        return open_kitti(path)
    if kind == "kitti":
        path = sorted(path.glob("image_*"))[0]
    if options.calib is None:
        raise SourceError(
            f"the calibration of the camera that took {path} is missing; pass --calib FILE "
            "(ROS camera_info YAML or KITTI calib.txt)"
        )
    if kind == "video":
        return VideoSource(path, options.calib, fps=options.fps)
    fps = 10.0 if options.fps is None else options.fps
    return FolderSource(path, options.calib, options.poses, fps=fps)


def inspect_bag(path: Path, image_topic: str | None, camera_info_topic: str | None) -> BagInput:
    """Find the camera in a bag.

    Raises:
        SourceError: the bag cannot be read, has no such topic, or several to choose from.
    """
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
            topics = {
                name: (str(info.msgtype), info.msgcount) for name, info in reader.topics.items()
            }
    except (AnyReaderError, OSError, ValueError) as error:
        raise SourceError(f"cannot read the bag {path}: {error}") from error
    images = [name for name, (kind, _) in topics.items() if kind in (RAW_IMAGE, COMPRESSED_IMAGE)]
    image = _the_topic(path, "image", images, image_topic)
    compressed = topics[image][0] == COMPRESSED_IMAGE
    infos = [name for name, (kind, _) in topics.items() if kind == CAMERA_INFO]
    beside = [name for name in infos if _folder(name) == _folder(image.removesuffix(_TRANSPORT))]
    info = _the_topic(path, "camera_info", beside or infos, camera_info_topic)
    return BagInput(
        name=str(path),
        path=path,
        image_topic=image.removesuffix(_TRANSPORT) if compressed else image,
        camera_info_topic=info,
        frames=topics[image][1],
        compressed=compressed,
    )


def _folder(topic: str) -> str:
    return topic.rpartition("/")[0]


def _the_topic(path: Path, what: str, found: list[str], wanted: str | None) -> str:
    fitting = [name for name in found if wanted in (None, name, name.removesuffix(_TRANSPORT))]
    if len(fitting) == 1:
        return fitting[0]
    option = f"--{what.replace('_', '-')}-topic"
    offer = f"it has {', '.join(sorted(found))}" if found else "it has none"
    raise SourceError(
        f"expected one {what} topic{f' {wanted}' if wanted else ''} in {path}, {offer}; "
        f"choose with {option}"
    )
