"""Ground-truth depth of single images: projected lidar scans, and depth images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.errors import ImageError, SourceError, UnsafeFileError
from sfm_ros.formats.image_codec import decode_pixels
from sfm_ros.formats.kitti_calibration import read_kitti_numbers
from sfm_ros.geometry import make_transform
from sfm_ros.safety import limits
from sfm_ros.safety.files import read_bytes
from sfm_ros.sources.kitti.calibration import read_rigid
from sfm_ros.sources.kitti.scans import read_scan_bytes

LIDAR_DEPTHS = ("camera", "lidar")
"""``camera``: along the +z axis of the camera. ``lidar``: along the forward axis of the lidar,
0.27 m behind the camera, as in the programs of most published KITTI tables."""

_UNKNOWN_VALUES = (0, 65535)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LidarView:
    """Projection of the lidar into a rectified KITTI camera.

    Attributes:
        P_image_velo: (3, 4), from the lidar frame to pixels.
        width, height: of the image.
    """

    P_image_velo: FloatArray
    width: int
    height: int


def read_lidar_view(calibration_folder: Path, camera: str) -> LidarView:
    """P_rect_xx @ R_rect_00 @ T_cam_velo (Geiger et al. 2013, equation 8) of a day's folder.

    Raises:
        CalibrationError: a file or an entry is missing or wrong.
    """
    cameras = calibration_folder / "calib_cam_to_cam.txt"
    P = read_kitti_numbers(cameras, f"P_rect_{camera}", 3, 4)
    R_rect = read_kitti_numbers(cameras, "R_rect_00", 3, 3)
    T_cam_velo = read_rigid(calibration_folder / "calib_velo_to_cam.txt")
    width, height = read_kitti_numbers(cameras, f"S_rect_{camera}", 2)
    return LidarView(
        P_image_velo=P @ make_transform(R_rect, np.zeros(3)) @ T_cam_velo,
        width=int(width),
        height=int(height),
    )


def read_scan(file: Path) -> npt.NDArray[np.float32]:
    """(N, 3) points of a KITTI scan: x forward, y left, z up, meters; see `read_scan_bytes`."""
    points = np.frombuffer(read_scan_bytes(file), dtype="<f4").reshape(-1, 4)[:, :3]
    return points[np.isfinite(points).all(axis=1)]


def scan_depth(
    points: npt.NDArray[np.float32], view: LidarView, depth_of: str = "camera"
) -> DepthMap:
    """Sparse depth of an image from a lidar scan; the nearest point of each pixel.

    As in Eigen et al. (2014) and later programs, points behind the lidar are dropped, and the
    pixel of a point is ``round(u) - 1, round(v) - 1``, because KITTI's matrices count from 1.

    Args:
        points: (N, 3) in the lidar frame, meters.
        view: see `read_lidar_view`.
        depth_of: one of `LIDAR_DEPTHS`.

    Returns:
        (height, width) meters, 0 if unknown.
    """
    ahead = points[points[:, 0] >= 0].astype(np.float64)
    projected = ahead @ view.P_image_velo[:, :3].T + view.P_image_velo[:, 3]
    in_front = projected[:, 2] > 0
    ahead, projected = ahead[in_front], projected[in_front]
    pixels = np.round(projected[:, :2] / projected[:, 2:]).astype(np.int64) - 1
    depth = ahead[:, 0] if depth_of == "lidar" else projected[:, 2]
    return nearest_depth(pixels, depth, view.width, view.height)


def nearest_depth(
    pixels: npt.NDArray[np.int64], depth: FloatArray, width: int, height: int
) -> DepthMap:
    """(height, width) depth of points (N,) on pixels (N, 2), the nearest of each; 0 if unknown."""
    inside = np.all((pixels >= 0) & (pixels < (width, height)), axis=1)
    nearest = np.full((height, width), np.inf)
    np.minimum.at(nearest, (pixels[inside, 1], pixels[inside, 0]), depth[inside])
    return np.where(np.isfinite(nearest), nearest, 0.0).astype(np.float32)


def read_depth_image(file: Path, units_per_meter: float) -> DepthMap:
    """(H, W) meters, 0 if unknown, of a 16-bit single-channel image; 0 and 65535 mean unknown.

    KITTI's annotated depth has 256 units per meter, that of RGB-D cameras 1000.

    Raises:
        SourceError: it cannot be read, or has another format.
    """
    try:
        image = decode_pixels(read_bytes(file, limits.BINARY_FILE), cv2.IMREAD_UNCHANGED)
    except FileNotFoundError:
        raise SourceError(f"cannot read the depth image {file}: it is missing") from None
    except (OSError, UnsafeFileError, ImageError) as error:
        raise SourceError(f"cannot read the depth image {file}: {error}") from error
    if image.dtype != np.uint16 or image.ndim != 2:
        raise SourceError(
            f"the depth image {file} has shape {image.shape} and type {image.dtype}, expected "
            "(height, width) uint16; a colored depth image contains no meters"
        )
    depth = image.astype(np.float32) / np.float32(units_per_meter)
    depth[np.isin(image, _UNKNOWN_VALUES)] = 0.0
    return depth
