"""Ground-truth camera poses of a KITTI raw drive, from its GPS/IMU records (OXTS)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import SourceError
from sfm_ros.formats.files import read_text
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import inverse, make_transform, so3_exp
from sfm_ros.sources.kitti.calibration import read_camera_from_lidar, read_rigid

_EARTH_RADIUS_M = 6378137.0
_FIELDS = 30


def read_oxts_trajectory(
    folder: Path, calibration_folder: Path, camera: str, stamps_ns: Sequence[int]
) -> Trajectory:
    """Read T_world_camera in meters, with the first camera as the world frame.

    Latitude and longitude are projected by Mercator at the first latitude, as in the data set's
    paper (Geiger et al. 2013, section IV).

    Args:
        folder: ``oxts/data`` of a drive: a text file of 30 numbers for each frame.
        calibration_folder: folder of the day, with its three ``calib_*.txt``.
        camera: such as ``"02"``.
        stamps_ns: stamp of each frame.

    Raises:
        SourceError: missing files, too few numbers, or another count of files than stamps.
        CalibrationError: a calibration is missing or wrong.
    """
    files = sorted(folder.glob("*.txt"))
    if len(files) != len(stamps_ns):
        raise SourceError(
            f"{folder} holds {len(files)} poses, expected one for each of {len(stamps_ns)} images"
        )
    T_velo_imu = read_rigid(calibration_folder / "calib_imu_to_velo.txt")
    T_imu_camera = inverse(read_camera_from_lidar(calibration_folder, camera) @ T_velo_imu)
    records = [_read_record(file) for file in files]
    scale = np.cos(np.deg2rad(records[0][0]))
    poses = np.stack([_imu_pose(record, scale) @ T_imu_camera for record in records])
    return Trajectory(np.array(stamps_ns, dtype=np.int64), poses).rebased()


def _read_record(file: Path) -> FloatArray:
    try:
        numbers = np.array([float(word) for word in read_text(file, "pose", SourceError).split()])
    except ValueError as error:
        raise SourceError(f"cannot read the pose in {file}: {error}") from error
    if len(numbers) != _FIELDS:
        raise SourceError(f"{file} has {len(numbers)} numbers, expected the {_FIELDS} of OXTS")
    return numbers


def _imu_pose(record: FloatArray, scale: float) -> FloatArray:
    """(4, 4) T_world_imu of latitude, longitude (deg), altitude (m), roll, pitch, yaw (rad).

    ``scale`` is the cosine of the first latitude. World axes are east, north, up.
    """
    latitude, longitude, altitude, roll, pitch, yaw = record[:6]
    east = scale * _EARTH_RADIUS_M * np.deg2rad(longitude)
    north = scale * _EARTH_RADIUS_M * np.log(np.tan(np.deg2rad(90.0 + latitude) / 2))
    R = so3_exp([0.0, 0.0, yaw]) @ so3_exp([0.0, pitch, 0.0]) @ so3_exp([roll, 0.0, 0.0])
    return make_transform(R, [east, north, altitude])
