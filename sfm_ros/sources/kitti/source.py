"""Opens KITTI raw drives and odometry sequences, in the layouts of their downloads."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sfm_ros.errors import SourceError
from sfm_ros.formats.gray_range import AUTO_BITS
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.sources.folder import FolderSource, list_images
from sfm_ros.sources.kitti.oxts import read_oxts_trajectory
from sfm_ros.sources.timestamps import find_times, timed_files

CAMERA_HEIGHT_M = 1.65
"""Height of KITTI's cameras above the road."""
FPS = 10.0

# Color first: cameras 2 and 3.
_CAMERA_ORDER = ("02", "2", "03", "3", "00", "0", "01", "1")


def is_kitti(folder: Path) -> bool:
    """Whether a folder has the layout of a KITTI drive, raw or odometry."""
    return any(child.is_dir() for child in folder.glob("image_[0-9]*"))


def open_kitti(
    path: str | Path,
    camera: str | int | None = None,
    frames: Collection[int] | None = None,
    max_megapixels: float | None = None,
    input: str = "auto",
    bits: int = AUTO_BITS,
) -> FolderSource:
    """Open a KITTI drive, raw or odometry.

    * **raw**: the drive's folder (``2011_09_26_drive_0095_sync``) with ``image_02/data`` and the
      calibration in its parent. Poses are read from ``oxts``, if present.
    * **odometry**: a sequence's folder (``sequences/03``) with ``image_0`` and ``calib.txt``.
      Poses are read from ``poses.txt`` in it or from ``../../poses/03.txt``, if present.

    Args:
        path: folder of the drive or sequence.
        camera: 0 to 3; by default the left color camera, or else the first one found.
        frames: numbers of the frames to keep; by default all.
        max_megapixels: see `decode_compressed`.
        input, bits: see ``PreprocessConfig``.

    Raises:
        SourceError: neither layout, no such camera, or none of the requested frames.
        CalibrationError: the calibration is missing or does not fit the images.
        TrajectoryError: the poses cannot be read.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SourceError(f"there is no KITTI folder {folder}")
    images = image_folder(folder, camera)
    name = images.name.removeprefix("image_")
    poses: Path | Trajectory | None
    if (images / "data").is_dir():
        images = images / "data"
        calib, poses = folder.parent / "calib_cam_to_cam.txt", _oxts_poses(folder, images, name)
    else:
        calib, poses = folder / "calib.txt", _pose_file(folder)
    return FolderSource(
        images,
        calib,
        poses,
        FPS,
        camera=name,
        camera_height_m=CAMERA_HEIGHT_M,
        frames=frames,
        max_megapixels=max_megapixels,
        input=input,
        bits=bits,
    )


def image_folder(folder: Path, camera: str | int | None = None) -> Path:
    """The ``image_*`` folder of a camera of a drive; see `open_kitti`."""
    found = {child.name.removeprefix("image_"): child for child in folder.glob("image_*")}
    if not found:
        raise SourceError(
            f"{folder} is no KITTI drive: expected image_02/data (raw) or image_0 and calib.txt "
            "(odometry)"
        )
    if camera is None:
        return next((found[name] for name in _CAMERA_ORDER if name in found), min(found.values()))
    for name, child in found.items():
        if name.lstrip("0") == str(camera).lstrip("0"):
            return child
    raise SourceError(f"{folder} has no camera {camera}; it has {', '.join(sorted(found))}")


def _oxts_poses(drive: Path, images: Path, camera: str) -> Trajectory | None:
    oxts = drive / "oxts" / "data"
    if not oxts.is_dir():
        return None
    files, times = list_images(images), find_times(images)
    stamps = timed_files(files, times, FPS).stamps_ns
    return read_oxts_trajectory(oxts, drive.parent, camera, stamps)


def _pose_file(sequence: Path) -> Path | None:
    published = sequence.parent.parent / "poses" / f"{sequence.name}.txt"
    return next((file for file in (sequence / "poses.txt", published) if file.is_file()), None)
