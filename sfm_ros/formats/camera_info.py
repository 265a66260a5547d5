"""From a CameraInfo message, of whatever library and ROS version, to a calibration."""

from __future__ import annotations

from typing import Any

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.formats.calibration import calibration_from_fields


def intrinsics_from_info(info: Any, where: str = "camera_info") -> CameraIntrinsics:
    """The calibration in a CameraInfo of ROS 1 or 2, for the image as it is sent.

    A region of interest and binning are applied, in this order, as the message's definition says.

    Args:
        info: anything with the fields of sensor_msgs/CameraInfo (ROS 1 writes K, D, R, P).
        where: topic or file, for messages.

    Raises:
        CalibrationError: see `calibration_from_fields`.
    """
    K, D, R, P = (
        getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
        for name in ("k", "d", "r", "p")
    )
    camera = calibration_from_fields(
        width=info.width,
        height=info.height,
        K=K,
        D=D,
        R=R,
        P=P,
        distortion_model=info.distortion_model,
        where=where,
    )
    roi = info.roi
    if roi.width and roi.height:
        camera = camera.cropped(roi.x_offset, roi.y_offset, roi.width, roi.height)
    bins_x, bins_y = max(info.binning_x, 1), max(info.binning_y, 1)
    if (bins_x, bins_y) != (1, 1):
        camera = camera.resized(camera.width // bins_x, camera.height // bins_y)
    return camera
