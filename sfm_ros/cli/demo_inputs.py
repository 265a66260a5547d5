"""What is played or scored: from a command line to a source of frames or a bag."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfm_ros.cli.progress import progress
from sfm_ros.errors import SourceError
from sfm_ros.source import Source
from sfm_ros.sources.factory import open_source

if TYPE_CHECKING:
    from sfm_ros.bags.writer import GroundTruth

RAW_IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_TRANSPORT = "/compressed"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceInput:
    """Frames that are written to a bag first.

    Attributes:
        source: the frames, and the ground truth about them where there is any.
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


def add_input_options(
    parser: argparse.ArgumentParser, title: str = "your own data"
) -> argparse._ArgumentGroup:
    """The options that say what to play; returns their group."""
    group = parser.add_argument_group(title)
    group.add_argument(
        "data", nargs="?", type=Path, metavar="DIR", help="KITTI sequence or drive, bag or video"
    )
    group.add_argument("--images", type=Path, help="folder of images; needs --calib")
    group.add_argument("--kitti", type=Path, help="KITTI odometry sequence or raw drive")
    group.add_argument("--bag", type=Path, help="ROS 1 or ROS 2 bag")
    group.add_argument("--video", type=Path, help="video file; needs --calib")
    group.add_argument("--calib", type=Path, help="camera_info YAML or KITTI calibration")
    group.add_argument("--poses", type=Path, help="ground-truth poses, KITTI or TUM, for --images")
    group.add_argument("--fps", type=float, help="frame rate of --images or --video")
    group.add_argument(
        "--pose-topic", help="of --bag: ground-truth poses, Odometry or PoseStamped"
    )
    group.add_argument("--image-topic", help="of --bag; default: the only one")
    group.add_argument("--camera-info-topic", help="of --bag; default: beside the image topic")
    return group


def choose_input(options: argparse.Namespace) -> Input:
    """What the options ask for.

    Raises:
        SourceError: more than one input, a missing calibration, or an input that cannot be read.
    """
    given = given_kind(options)
    if given is None:
        from sfm_ros.synthetic.held_out import HeldOutStreet

        return SourceInput(source=HeldOutStreet(), verb="rendering")
    kind, path = given
    if kind == "bag" and options.calib is None and options.pose_topic is None:
        return inspect_bag(path, options.image_topic, options.camera_info_topic)
    if kind == "kitti" and options.calib is not None:
        kind, path = "images", sorted(path.glob("image_*"))[0]
    return SourceInput(source=_open(kind, path, options), verb="converting")


def given_kind(options: argparse.Namespace) -> tuple[str, Path] | None:
    """The kind of the input that is named (see `recognize`) and where it is; None for none.

    Raises:
        SourceError: more than one is named, or it is not there.
    """
    kinds = ("data", "images", "kitti", "bag", "video")
    given = {kind: path for kind in kinds if (path := getattr(options, kind)) is not None}
    if len(given) > 1:
        raise SourceError(f"{len(given)} inputs are named ({', '.join(given)}), expected one")
    for kind, path in given.items():
        if not path.exists():
            raise SourceError(f"there is no {path}")
        return (recognize(path) if kind == "data" else kind), path
    return None


def convert(
    chosen: SourceInput, folder: Path, depth_folder: Path, limit: int | None
) -> tuple[BagInput, GroundTruth]:
    """Write frames as a bag that can be played, with the ground truth about them beside it.

    Raises:
        SourceError: the source is empty or cannot be read.
    """
    from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, IMAGE_TOPIC, write_bag

    source = chosen.source
    total = len(source) if limit is None else min(len(source), limit)
    shutil.rmtree(folder, ignore_errors=True)
    with progress(chosen.verb, total) as bar:
        ground_truth = write_bag(
            source, folder, depth_folder, limit, lambda: bar.update() and None
        )
    bag = BagInput(
        name=source.name,
        path=folder,
        image_topic=IMAGE_TOPIC,
        camera_info_topic=CAMERA_INFO_TOPIC,
        frames=ground_truth.frames,
    )
    return bag, ground_truth


def recognize(path: Path) -> str:
    """What lies at a path: ``bag``, ``video``, ``kitti`` or ``images``."""
    if path.is_file():
        return "bag" if path.suffix in (".bag", ".mcap", ".db3") else "video"
    if (path / "metadata.yaml").is_file() or any(path.glob("*.mcap")) or any(path.glob("*.db3")):
        return "bag"
    return "kitti" if any(path.glob("image_[0-9]*")) else "images"


def _open(kind: str, path: Path, options: argparse.Namespace) -> Source:
    names = ("calib", "poses", "fps", "image_topic", "camera_info_topic", "pose_topic")
    arguments: dict[str, Any] = {name: getattr(options, name) for name in names}
    arguments[kind] = path
    return open_source(**arguments)


def inspect_bag(path: Path, image_topic: str | None, camera_info_topic: str | None) -> BagInput:
    """Find the camera in a bag.

    Raises:
        SourceError: the bag cannot be read, has no such topic, or several to choose from.
    """
    from sfm_ros.bags.reader import BagFile

    topics = BagFile(path).topics
    images = [name for name, (kind, _) in topics.items() if kind in (RAW_IMAGE, COMPRESSED_IMAGE)]
    if image_topic is None:  # of an image that is there raw and compressed, take the raw one
        images = [n for n in images if n == _base(n) or _base(n) not in images]
    image = _the_topic(path, "image", images, image_topic)
    compressed = topics[image][0] == COMPRESSED_IMAGE
    if compressed and not image.endswith(_TRANSPORT):
        raise SourceError(
            f"{path} has compressed images on {image}; the node looks for them on a topic that "
            f"ends in {_TRANSPORT}, as image_transport names it; rename the topic in the bag"
        )
    infos = [name for name, (kind, _) in topics.items() if kind == CAMERA_INFO]
    beside = [name for name in infos if _folder(name) == _folder(_base(image))]
    info = _the_topic(path, "camera_info", beside or infos, camera_info_topic)
    return BagInput(
        name=str(path),
        path=path,
        image_topic=_base(image),
        camera_info_topic=info,
        frames=topics[image][1],
        compressed=compressed,
    )


def _base(topic: str) -> str:
    return topic.removesuffix(_TRANSPORT)


def _folder(topic: str) -> str:
    return topic.rpartition("/")[0]


def _the_topic(path: Path, what: str, found: list[str], wanted: str | None) -> str:
    fitting = [name for name in found if wanted in (None, name, _base(name))]
    if len(fitting) == 1:
        return fitting[0]
    option = f"--{what.replace('_', '-')}-topic"
    offer = f"it has {', '.join(sorted(found))}" if found else "it has none"
    raise SourceError(
        f"expected one {what} topic{f' {wanted}' if wanted else ''} in {path}, {offer}; "
        f"choose with {option}"
    )
