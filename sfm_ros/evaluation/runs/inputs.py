"""Opens what an evaluation runs over: frames, their ground truth, and a bag that can be played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from sfm_ros.bags.camera import PlayableBag, has_transport_name, inspect_bag
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transforms import read_transforms
from sfm_ros.bags.writer import write_bag
from sfm_ros.cameras.pixels import PixelCamera
from sfm_ros.datatypes import OPTICAL_FRAME
from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.evaluation.runs.bag_ground_truth import (
    BagGroundTruth,
    find_depth,
    read_ground_truth_trajectory,
)
from sfm_ros.evaluation.runs.depth_images import WithDepthImages
from sfm_ros.evaluation.runs.ground_truth import (
    FrameGroundTruth,
    GroundTruth,
    GroundTruthTrajectory,
)
from sfm_ros.formats.trajectory_files import PoseFile, read_pose_file
from sfm_ros.source import Source, SourceItem, remarks_of, unreadable_of
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.factory import open_source
from sfm_ros.sources.kitti.source import CAMERA_HEIGHT_M, image_folder
from sfm_ros.synthetic.held_out import HeldOutStreet

_SOURCE_OPTIONS = (
    "calib",
    "camera",
    "poses",
    "columns",
    "fps",
    "image_topic",
    "camera_info_topic",
    "pose_topic",
)
_READING_OPTIONS = ("input", "bits", "max_megapixels")
_BAG_OPTIONS = ("ground_truth_frame", "depth_topic", "speed_topic")


@dataclass(frozen=True, kw_only=True, slots=True)
class InputOptions:
    """The input a user names; None if an option is not given.

    Attributes:
        kind: one of `sfm_ros.sources.factory.KINDS`; None renders the held-out street.
        path: of the recording; None with no kind.
        calib: file of the calibration; replaces the one in a bag.
        camera: which camera of a calibration file with several, or of a KITTI drive.
        poses: file of ground-truth poses of images or a bag.
        columns: of that file, if it has no header; see `read_pose_file`.
        fps: frame rate of images or a video.
        image_topic, camera_info_topic: the camera in a bag.
        pose_topic: ground-truth poses in a bag.
        ground_truth_frame: frame of a bag's ``/tf`` in which the camera's trajectory is the ground
            truth, instead of a topic.
        depth_topic: ground-truth depth in a bag, see `BagDepth`.
        speed_topic: the vehicle's speed in a bag, Odometry or a stamped Twist, for the scale of
            the offline run.
        depth_images: folder of 16-bit ground-truth depth of images or a KITTI folder, see
            `WithDepthImages`.
        units_per_meter: stored value of one meter in them.
        depth_crop: part of the image whose depth is compared; by default Garg's of KITTI's depth
            images, else all.
        ground_frame: frame of a bag's ``/tf_static`` above which the camera's height is known.
        input, bits, max_megapixels: see ``PreprocessConfig``.
    """

    kind: str | None = None
    path: Path | None = None
    calib: Path | None = None
    camera: str | None = None
    poses: Path | None = None
    columns: str | None = None
    fps: float | None = None
    image_topic: str | None = None
    camera_info_topic: str | None = None
    pose_topic: str | None = None
    ground_truth_frame: str | None = None
    depth_topic: str | None = None
    speed_topic: str | None = None
    depth_images: Path | None = None
    units_per_meter: float = 256.0
    depth_crop: str | None = None
    ground_frame: str | None = None
    input: str = "auto"
    bits: int = 0
    max_megapixels: float | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """How images are read, by the names of the sources' arguments."""
        return {name: getattr(self, name) for name in _READING_OPTIONS}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluationInput:
    """What an evaluation runs over.

    Attributes:
        name: for people.
        source: the frames.
        ground_truth: of the frames.
        bag: the same frames as a bag to play; None until `playable` or `converted`.
        camera_height_m: height of the camera above the road; None if the input does not have it.
        camera: the camera of the images, and why it is taken; None if the images are rendered.
    """

    name: str
    source: Source
    ground_truth: GroundTruth
    bag: PlayableBag | None = None
    camera_height_m: float | None = None
    camera: PixelCamera | None = None

    @property
    def calibration(self) -> str | None:
        """Every camera that the images have had so far, and why; None if they are rendered."""
        if self.camera is None:
            return None
        cameras = getattr(self.source, "cameras", None) or [self.camera]
        return "; then ".join(dict.fromkeys(camera.text for camera in cameras))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was unusual about the input so far, a sentence each."""
        return remarks_of(self.source)

    @property
    def unreadable(self) -> int:
        """Frames that the input lists and could not read, in the latest run so far."""
        return unreadable_of(self.source)

    @property
    def may_miss_images(self) -> bool:
        """Whether the number of frames is what a bag lists, which may be more than it holds."""
        return isinstance(self.source, BagSource)

    def missing(
        self, limit: int | None, is_read: bool, on_frame: Callable[[], object] = lambda: None
    ) -> int:
        """Images that the bag lists and does not hold: `unreadable` without those not decoded.

        Unless the frames were read before, up to a limit or to the end, they are read for it,
        with a call of ``on_frame`` after each.
        """
        if not isinstance(self.source, BagSource):
            return 0
        if not is_read:
            for _ in islice(self.source, limit):
                on_frame()
        return self.source.missing

    def playable(self) -> EvaluationInput | None:
        """The input with the bag it is read from; None if the node would not get the same frames.

        That is if the frames are no bag's, if a calibration replaces the one in the bag, if the
        images have no stamps, or if the name of the topic is not one that the node subscribes to.
        SourceError if the bag cannot be played.
        """
        source = self.source
        if not isinstance(source, BagSource) or source.camera_info_topic is None:
            return None
        if source.is_timed_by_recording or not has_transport_name(source.bag, source.image_topic):
            return None
        bag = inspect_bag(source.bag, source.image_topic, source.camera_info_topic)
        return replace(self, bag=bag)

    def converted(
        self,
        folder: Path,
        depth_folder: Path,
        limit: int | None = None,
        on_frame: Callable[[], object] = lambda: None,
    ) -> EvaluationInput:
        """The input with its frames written to a new bag, and read from it; see `write_bag`."""
        bag = write_bag(self.source, folder, depth_folder, limit, on_frame)
        return replace(self, bag=bag, source=_ConvertedBag(bag, self.remarks, self.unreadable))


class _ConvertedBag:
    """The frames of a bag written from another source, with the depth that was kept beside it."""

    def __init__(self, bag: PlayableBag, remarks: tuple[str, ...], unreadable: int) -> None:
        self._frames = BagSource(bag.path, bag.image_topic, bag.camera_info_topic)
        self._depth = bag.depth
        self.name, self.remarks, self.unreadable = self._frames.name, remarks, unreadable

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[SourceItem]:
        for item in self._frames:
            depth = None if self._depth is None else self._depth.at(item.frame.stamp_ns)
            yield replace(item, depth_m=depth)


def open_input(options: InputOptions) -> EvaluationInput:
    """Open the input a user names.

    Raises:
        SfmRosError: it cannot be read, or lacks what was named; see the sources.
    """
    if options.kind == "bag" and options.depth_images is not None:
        raise SourceError("--depth-images is an option of images; a bag has --depth-topic")
    if options.kind == "bag" and options.depth_crop is not None:
        raise SourceError("--depth-crop is an option of images; of a bag all depth is compared")
    if options.kind == "bag" and options.path is not None:
        return _open_bag(options.path, options)
    for name in _BAG_OPTIONS:
        if getattr(options, name) is not None:
            raise SourceError(f"--{name.replace('_', '-')} is an option of a bag only")
    source = _open_frames(options)
    camera, height_m = getattr(source, "camera", None), getattr(source, "camera_height_m", None)
    if options.kind == "kitti":
        height_m = CAMERA_HEIGHT_M
    crop = options.depth_crop or "none"
    if options.depth_images is not None:
        source = WithDepthImages(source, options.depth_images, options.units_per_meter)
        crop = options.depth_crop or ("garg" if options.kind == "kitti" else "none")
    frames = FrameGroundTruth(source, crop)
    return EvaluationInput(
        name=frames.name,
        source=frames,
        ground_truth=frames,
        camera_height_m=height_m,
        camera=camera,
    )


def _open_frames(options: InputOptions) -> Source:
    """A source whose frames bring their ground truth."""
    kind, path = options.kind, options.path
    if kind is None or path is None:
        return HeldOutStreet()
    if kind == "kitti" and options.calib is not None:  # only the images of the sequence
        kind, path = "images", image_folder(path, options.camera)
    named = {name: getattr(options, name) for name in _SOURCE_OPTIONS}
    return open_source(kind, path, options.reading, **named)


def _open_bag(path: Path, options: InputOptions) -> EvaluationInput:
    """The images of a bag, and the ground truth in it."""
    if options.camera is not None and options.calib is None:
        raise SourceError("--camera names one of a --calib file; a bag's own is chosen by topic")
    bag, poses = BagFile(path), _poses_beside(options)
    trajectory = GroundTruthTrajectory(trajectory=None)
    with bag.kept_open():
        source = BagSource(
            bag,
            options.image_topic,
            options.camera_info_topic,
            calib=options.calib,
            speed_topic=options.speed_topic,
            camera=options.camera,
            **options.reading,
        )
        if poses is not None and not poses.is_timed:
            poses.timed(range(len(source)))  # before the run: is there one for each image?
        camera_frame = bag.first(source.image_topic).message.header.frame_id or OPTICAL_FRAME
        if options.poses is None:
            trajectory = read_ground_truth_trajectory(
                bag, camera_frame, options.pose_topic, options.ground_truth_frame
            )
        depth, problem = find_depth(bag, camera_frame, options.depth_topic)
        height_m = _height_in(bag, camera_frame, options.ground_frame)
    ground_truth = BagGroundTruth(
        found=trajectory,
        poses=poses,
        images=source,
        depth_topic=depth,
        depth_problem=problem,
    )
    return EvaluationInput(
        name=source.name,
        source=source,
        ground_truth=ground_truth,
        camera_height_m=height_m,
        camera=source.camera,
    )


def _poses_beside(options: InputOptions) -> PoseFile | None:
    """The file of ground-truth poses of a bag."""
    if options.poses is None:
        if options.columns is not None:
            raise SourceError("--columns is stated without --poses")
        return None
    if options.pose_topic is not None or options.ground_truth_frame is not None:
        raise SourceError("both --poses and poses in the bag are named, expected one")
    return read_pose_file(options.poses, options.columns)


def _height_in(bag: BagFile, camera_frame: str, ground_frame: str | None) -> float | None:
    """Height of the camera above a frame; None if ``/tf_static`` does not connect them."""
    if not ground_frame:
        return None
    try:
        T = read_transforms(bag, with_moving=False).static_transform(ground_frame, camera_frame)
    except SfmRosError:  # the images may be whole nevertheless
        return None
    return float(T[2, 3]) if T is not None and T[2, 3] > 0 else None
