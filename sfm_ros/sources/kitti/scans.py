"""The lidar scans of a KITTI drive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SourceError, UnsafeFileError
from sfm_ros.safety import limits
from sfm_ros.safety.files import read_bytes
from sfm_ros.sources.folder import FolderSource
from sfm_ros.sources.kitti.calibration import (
    read_camera_from_lidar,
    read_camera_from_lidar_of_sequence,
)
from sfm_ros.sources.timestamps import find_times, stamps_of

_POINT_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KittiScans:
    """Scans of the lidar on the roof; its axes are x forward, y left, z up.

    Attributes:
        T_camera_lidar: (4, 4), into the optical frame of the images' camera.
        files: scan of the same number as each image, or None if there is none.
        stamps_ns: stamp of each scan; the image's if the drive has no times for its scans.
    """

    T_camera_lidar: FloatArray
    files: list[Path | None]
    stamps_ns: list[int]


def find_scans(images: FolderSource) -> KittiScans | None:
    """The scans that belong to the images of `open_kitti`; None if the drive has no scans.

    Raises:
        CalibrationError: there are scans, but their extrinsics are missing or wrong.
        SourceError: their file of times does not fit them.
    """
    folder = images.files[0].parent
    is_raw = folder.name == "data"
    camera_folder = folder.parent if is_raw else folder
    drive, camera = camera_folder.parent, camera_folder.name.removeprefix("image_")
    folder = drive / "velodyne_points" / "data" if is_raw else drive / "velodyne"
    by_number = {file.stem: file for file in sorted(folder.glob("*.bin"))}
    files = [by_number.get(image.stem) for image in images.files]
    if not any(files):
        return None
    if is_raw:
        T_camera_lidar = read_camera_from_lidar(drive.parent, camera)
    else:
        T_camera_lidar = read_camera_from_lidar_of_sequence(drive / "calib.txt", camera)
    return KittiScans(
        T_camera_lidar=T_camera_lidar,
        files=files,
        stamps_ns=_stamps(folder, list(by_number.values()), files, images.stamps_ns),
    )


def _stamps(
    folder: Path, scans: list[Path], used: list[Path | None], images_ns: list[int]
) -> list[int]:
    # Only a raw drive has times of its own for the scans.
    times = find_times(folder) if folder.name == "data" else None
    if times is None:
        return images_ns
    own = dict(zip(scans, stamps_of(scans, times)[0], strict=True))
    return [
        image if file is None else own[file] for file, image in zip(used, images_ns, strict=True)
    ]


def read_scan_bytes(file: Path) -> bytes:
    """The bytes of a scan: little-endian float32 x, y, z (meters) and reflectance per point.

    Raises:
        SourceError: the file cannot be read, or is not a whole number of points or empty.
    """
    try:
        data = read_bytes(file, limits.BINARY_FILE)
    except (OSError, UnsafeFileError) as error:
        raise SourceError(f"cannot read the lidar scan {file}: {error}") from error
    if not data or len(data) % _POINT_BYTES:
        raise SourceError(
            f"the lidar scan {file} has {len(data)} bytes, expected a multiple of {_POINT_BYTES} "
            "(x, y, z and reflectance as float32); download or copy it again"
        )
    return data
