"""A folder of images as a source of frames."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from sfm_ros.cameras.pixels import PixelCamera, choose_camera, given_camera
from sfm_ros.datatypes import CameraIntrinsics, FloatArray, Frame, RgbImage
from sfm_ros.errors import CalibrationError, ImageError, SourceError, UnsafeFileError
from sfm_ros.formats.calibration import read_camera
from sfm_ros.formats.files import natural_key
from sfm_ros.formats.gray_range import AUTO_BITS, GrayLevels, GrayRange
from sfm_ros.formats.image_codec import (
    DEEP_HEADER,
    decode_compressed,
    levels_of_file,
    may_be_deep,
)
from sfm_ros.formats.trajectory import Trajectory, named_poses
from sfm_ros.formats.trajectory_files import read_pose_file
from sfm_ros.safety import limits
from sfm_ros.safety.files import read_bytes
from sfm_ros.source import SourceItem
from sfm_ros.sources.timestamps import DEFAULT_FPS, find_times, timed_files

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_DEEP_SUFFIXES = (".png", ".tif", ".tiff")
"""Of files that may hold 16-bit images."""
MAX_POSE_DISTANCE_NS = 20_000_000
"""Poses further in time from a frame are not assigned to it; 0.2 m of travel at 10 m/s."""


class FolderSource:
    """The images of a folder in order of time; see `timed_files`.

    Attributes:
        name: the folder.
        fps: frames per second, the mean rate.
        camera_height_m: height of the camera above the road, or None if unknown.
        files: image file of each frame.
        stamps_ns: stamp of each frame.
        poses: ground-truth pose (4, 4) T_world_camera of each frame, or None.
        camera: the camera of all frames, and why it is taken.
        intrinsics: of that camera.
        remarks: what was unusual, a sentence each.
    """

    def __init__(
        self,
        images_dir: str | Path,
        calib: str | Path | CameraIntrinsics,
        poses: str | Path | Trajectory | None = None,
        fps: float | None = None,
        times: str | Path | None = None,
        camera: str | int | None = None,
        camera_height_m: float | None = None,
        frames: Collection[int] | None = None,
        max_megapixels: float | None = None,
        input: str = "auto",
        bits: int = AUTO_BITS,
        columns: str | None = None,
    ) -> None:
        """List the folder and read its first image; the others are decoded while iterating.

        Args:
            images_dir: folder of png, jpg, bmp, tif or webp images, color or gray.
            calib: camera of these images, or a calibration file (see `read_camera`).
            poses: ground-truth poses T_world_camera: a file with a line for each image (KITTI),
                or a file or trajectory on the clock of the stamps; see `read_pose_file`.
            fps: frame rate if there is no file of times; replaces the times in the names, if they
                are times.
            times: file of times; by default ``times.txt`` or ``timestamps.txt`` in the folder or
                its parent, if there is one.
            camera: which camera of a calibration file with several.
            camera_height_m: height of the camera above the road, if known.
            frames: keep only the images whose names are these numbers (``000123.png`` is 123).
            max_megapixels: see `decode_compressed`.
            input, bits: see ``PreprocessConfig``.
            columns: of a file of poses without a header, see `read_pose_file`.

        Raises:
            SourceError: no folder or image, an unreadable first image, times that do not fit the
                images, or none of the requested frames.
            CalibrationError: see `read_camera` and `choose_camera`.
            TrajectoryError: the poses cannot be read, or are of another time than the images.
        """
        folder = Path(images_dir)
        self.name = str(images_dir)
        self.camera_height_m = camera_height_m
        times_file = Path(times) if times is not None else find_times(folder)
        timed = timed_files(list_images(folder), times_file, fps)
        self.files, self.stamps_ns, self.remarks = timed.files, timed.stamps_ns, timed.remarks
        span_ns = self.stamps_ns[-1] - self.stamps_ns[0]
        self.fps = (len(self.files) - 1) * 1e9 / span_ns if span_ns else fps or DEFAULT_FPS
        self._max_megapixels, self._bits = max_megapixels, bits
        first = read_image(self.files[0], max_megapixels)
        self.camera = camera_for(first, calib, camera, (folder_name(folder),), input)
        self.intrinsics = self.camera.intrinsics
        self.poses = self._poses_of_frames(poses, columns)
        if frames is not None:
            self._keep_numbers(set(frames))

    def _poses_of_frames(
        self, poses: str | Path | Trajectory | None, columns: str | None
    ) -> list[FloatArray | None]:
        if poses is None and columns is not None:
            raise SourceError(f"the columns {columns} are stated without a file of poses")
        if poses is None:
            return [None] * len(self.stamps_ns)
        if isinstance(poses, Trajectory):
            trajectory, name = poses, f"the ground truth of {self.name}"
        else:
            file = read_pose_file(poses, columns)
            self.remarks += file.remarks
            trajectory, name = file.timed(self.stamps_ns), str(poses)
        found = named_poses(trajectory, self.stamps_ns, MAX_POSE_DISTANCE_NS, name)
        missing = sum(pose is None for pose in found)
        if missing:
            self.remarks += (f"{name}: {missing} of {len(found)} images have no pose",)
        return found

    def _keep_numbers(self, numbers: set[int]) -> None:
        indices = [i for i, file in enumerate(self.files) if frame_number(file) in numbers]
        if not indices:
            raise SourceError(f"{self.name} has none of the {len(numbers)} requested frames")
        self._keep(indices)

    def _keep(self, indices: Sequence[int]) -> None:
        self.files = [self.files[i] for i in indices]
        self.stamps_ns = [self.stamps_ns[i] for i in indices]
        self.poses = [self.poses[i] for i in indices]

    def __len__(self) -> int:
        return len(self.files)

    def between(self, first: int, last: int) -> FolderSource:
        """The frames with indices ``first`` to ``last``, both included; none is decoded.

        Raises:
            SourceError: the source has no such frames.
        """
        if not 0 <= first <= last < len(self):
            raise SourceError(
                f"frames {first} to {last} requested, but {self.name} has 0 to {len(self) - 1}"
            )
        part = copy.copy(self)
        part._keep(range(first, last + 1))
        part.name = f"{self.name}, frames {first} to {last}"
        return part

    def __iter__(self) -> Iterator[SourceItem]:
        """The frames; SourceError with the file's name if an image cannot be decoded."""
        return (decode() for decode in self.deferred())

    def deferred(self) -> Iterator[Callable[[], SourceItem]]:
        """See `sfm_ros.source.deferred`."""
        gray = GrayRange(self._bits)
        for file, stamp_ns, pose in zip(self.files, self.stamps_ns, self.poses, strict=True):
            levels = _levels(file, gray, self._max_megapixels)
            yield partial(self._decode, file, stamp_ns, pose, levels)

    def _decode(
        self, file: Path, stamp_ns: int, pose: FloatArray | None, levels: GrayLevels | None
    ) -> SourceItem:
        rgb = read_image(file, self._max_megapixels, levels)
        try:
            frame = Frame(stamp_ns=stamp_ns, rgb=rgb, intrinsics=self.intrinsics)
        except CalibrationError as error:
            raise CalibrationError(f"{file}: {error}") from None
        return SourceItem(frame=frame, T_world_camera=pose)


def frame_number(file: Path) -> int | None:
    """123 for ``000123.png``; None if the name is not a number."""
    return int(file.stem) if file.stem.isdecimal() else None


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder in natural order.

    Raises:
        SourceError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise SourceError(f"there is no folder of images {folder}")
    visible = (file for file in folder.iterdir() if not file.name.startswith("."))
    files = [file for file in visible if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise SourceError(f"{folder} holds no image, expected {', '.join(IMAGE_SUFFIXES)} files")
    return sorted(files, key=natural_key)


def _levels(file: Path, gray: GrayRange, max_megapixels: float | None) -> GrayLevels | None:
    """The levels of an image file, see `levels_of_file`; None if it cannot be read."""
    if gray.fixed is not None:
        return gray.fixed
    if file.suffix.lower() not in _DEEP_SUFFIXES:
        return None
    try:
        with file.open("rb") as opened:
            is_deep = may_be_deep(opened.read(DEEP_HEADER))
        if not is_deep:
            return None
        return levels_of_file(read_image_bytes(file), gray, max_megapixels)
    except (OSError, SourceError):
        return None


def folder_name(folder: Path) -> str:
    """The last parts of a folder's path, which show the camera: ``cam0/data``, ``image_rect``."""
    return "/".join(folder.resolve().parts[-2:])


def read_image(
    file: Path, max_megapixels: float | None = None, levels: GrayLevels | None = None
) -> RgbImage:
    """Decode an image file to (H, W, 3) uint8 RGB; ``levels`` as in `decode_message`.

    Raises:
        SourceError: it is truncated or larger than that, or cannot be read or decoded.
    """
    data = read_image_bytes(file)
    try:
        return decode_compressed(data, file.suffix[1:].lower(), max_megapixels, levels)
    except ImageError as error:
        raise SourceError(f"cannot read the image {file}: {error}") from error


def read_image_bytes(file: Path) -> bytes:
    """An image file as it is; SourceError if it cannot be read."""
    try:
        return read_bytes(file, limits.BINARY_FILE)
    except (OSError, UnsafeFileError) as error:
        raise SourceError(f"cannot read the image {file}: {error}") from error


def intrinsics_for(
    rgb: RgbImage, calib: str | Path | CameraIntrinsics, camera: str | int | None = None
) -> CameraIntrinsics:
    """The intrinsics of `camera_for`."""
    return camera_for(rgb, calib, camera).intrinsics


def camera_for(
    rgb: RgbImage,
    calib: str | Path | CameraIntrinsics,
    camera: str | int | None = None,
    names: Sequence[str] = (),
    input: str = "auto",
) -> PixelCamera:
    """A given camera, or the one that the calibration in a file gives the image.

    See `read_camera` and `choose_camera`.
    """
    if isinstance(calib, CameraIntrinsics):
        return given_camera(calib)
    height, width = rgb.shape[:2]
    stated = read_camera(calib, width, height, camera, names)
    return choose_camera(stated, names, input)
