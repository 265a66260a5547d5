"""Extrinsics of KITTI's sensors (Geiger et al. 2013, section III)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sfm_ros.datatypes import FloatArray
from sfm_ros.formats.kitti_calibration import read_kitti_numbers
from sfm_ros.geometry import make_transform


def read_camera_from_lidar(calibration_folder: Path, camera: str) -> FloatArray:
    """(4, 4) T_camera_lidar of a rectified camera, such as ``"02"``, in the folder of a day.

    Raises:
        CalibrationError: a file or an entry is missing or wrong.
    """
    cameras = calibration_folder / "calib_cam_to_cam.txt"
    R_rect = read_kitti_numbers(cameras, "R_rect_00", 3, 3)
    T_rectified_raw = make_transform(R_rect, np.zeros(3))
    T_raw_lidar = read_rigid(calibration_folder / "calib_velo_to_cam.txt")
    T_camera_rectified = _camera_from_rectified(cameras, f"P_rect_{camera}")
    return T_camera_rectified @ T_rectified_raw @ T_raw_lidar


def read_camera_from_lidar_of_sequence(calib: Path, camera: str) -> FloatArray:
    """(4, 4) T_camera_lidar of a camera, such as ``"0"``, in the ``calib.txt`` of a sequence.

    Raises:
        CalibrationError: the file or an entry is missing or wrong.
    """
    T_rectified_lidar = np.eye(4)
    T_rectified_lidar[:3] = read_kitti_numbers(calib, "Tr", 3, 4)
    return _camera_from_rectified(calib, f"P{camera}") @ T_rectified_lidar


def read_rigid(file: Path) -> FloatArray:
    """The (4, 4) transform in the lines ``R`` and ``T`` of a file; see `read_kitti_numbers`."""
    R = read_kitti_numbers(file, "R", 3, 3)
    return make_transform(R, read_kitti_numbers(file, "T", 3))


def _camera_from_rectified(file: Path, key: str) -> FloatArray:
    """(4, 4) translation from the first rectified camera to the one with this projection."""
    P = read_kitti_numbers(file, key, 3, 4)
    return make_transform(np.eye(3), np.linalg.solve(P[:, :3], P[:, 3]))
