"""Calibrations from the fields of CameraInfo, be it a message of any ROS version or a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, FloatArray, read_only
from sfm_ros.errors import CalibrationError, printable
from sfm_ros.geometry import is_rotation

# ROS distortion models and how many coefficients each may have.
_COEFFICIENT_COUNTS = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
    "fisheye": (4,),
}
_FOCAL_RATIOS = (0.01, 100.0)
"""Focal lengths over the longer side of the image: beyond any fisheye and any telephoto lens."""
_MAX_CENTER_RATIO = 10.0
"""Distance of the principal point from the origin of the image over its longer side."""
_MAX_COEFFICIENT = 1e4
"""Of the distortion; those of a rational model reach some hundreds."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CameraInfoFields:
    """The calibration in a CameraInfo message or file, before any check.

    Attributes:
        width, height: image size in pixels.
        K: 9 numbers, row by row; zeros mean "not calibrated".
        D: distortion coefficients; none or zeros mean no distortion.
        R, P: 9 and 12 numbers, row by row; None or zeros mean "not given", as drivers that rectify
            the image themselves send them.
        distortion_model: ROS name; empty means ``plumb_bob``.
    """

    width: int
    height: int
    K: npt.ArrayLike
    D: npt.ArrayLike = ()
    R: npt.ArrayLike | None = None
    P: npt.ArrayLike | None = None
    distortion_model: str = ""


def calibration_from_fields(fields: CameraInfoFields, origin: str) -> CameraIntrinsics:
    """Check the fields and convert them; ``origin`` is the topic or file, for error messages.

    Raises:
        CalibrationError: a wrong count of numbers, a number that is not finite, an unknown
            distortion model, an R that is no rotation, a camera that is not calibrated, or numbers
            that no camera of this image size has.
    """
    K = parse_numbers(fields.K, (3, 3), "camera_matrix (K)", origin)
    model, coefficients = _distortion(fields, origin)
    R = _optional_matrix(fields.R, (3, 3), "rectification_matrix (R)", origin)
    if R is not None and not is_rotation(R, tolerance=1e-2):
        raise CalibrationError(f"{origin}: the rectification_matrix (R) is not a rotation: {R}")
    if K[2, 2] == 0 or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise CalibrationError(
            f"{origin}: the focal length is fx={K[0, 0]:g}, fy={K[1, 1]:g}, expected positive "
            "numbers; the camera is not calibrated"
        )
    P = _optional_matrix(fields.P, (3, 4), "projection_matrix (P)", origin)
    size = int(fields.width), int(fields.height)
    _check_pinhole(K, size, f"{origin}: camera_matrix (K)")
    if P is not None and P[0, 0] > 0:  # else it is not used
        _check_pinhole(P, size, f"{origin}: projection_matrix (P)")
    return replace(
        CameraIntrinsics.from_matrix(*size, K),
        distortion_model=model,
        distortion=coefficients,
        R=R,
        P=P,
    )


def _check_pinhole(matrix: FloatArray, size: tuple[int, int], what: str) -> None:
    """Refuse focal lengths and a principal point that no camera of this image size has."""
    longer = max(size)
    low, high = (ratio * longer for ratio in _FOCAL_RATIOS)
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    if not (low <= min(fx, fy) and max(fx, fy) <= high):
        raise CalibrationError(
            f"{what}: the focal length is fx={fx:g}, fy={fy:g}, expected {low:g} to {high:g} "
            f"pixels for a {size[0]}x{size[1]} image; calibrate it again"
        )
    if max(abs(cx), abs(cy)) > _MAX_CENTER_RATIO * longer:
        raise CalibrationError(
            f"{what}: the principal point is cx={cx:g}, cy={cy:g}, expected at most "
            f"{_MAX_CENTER_RATIO * longer:g} pixels from the origin of a {size[0]}x{size[1]} "
            "image; calibrate it again"
        )


def _distortion(fields: CameraInfoFields, origin: str) -> tuple[str, tuple[float, ...]]:
    """Name of the distortion model, and its coefficients."""
    D = parse_numbers(fields.D, (-1,), "distortion_coefficients (D)", origin)
    if not np.any(D):
        return "plumb_bob", ()
    model = fields.distortion_model or "plumb_bob"
    if model not in _COEFFICIENT_COUNTS:
        raise CalibrationError(
            f"{origin}: the distortion model is '{printable(model, 50)}', expected one of "
            f"{', '.join(_COEFFICIENT_COUNTS)}"
        )
    if D.size not in _COEFFICIENT_COUNTS[model]:
        raise CalibrationError(
            f"{origin}: {D.size} distortion coefficients, but the model '{model}' has "
            f"{' or '.join(map(str, _COEFFICIENT_COUNTS[model]))}"
        )
    largest = float(np.abs(D).max())
    if largest > _MAX_COEFFICIENT:
        raise CalibrationError(
            f"{origin}: a distortion coefficient is {largest:g}, expected at most "
            f"{_MAX_COEFFICIENT:g}; calibrate it again"
        )
    return model, tuple(D.tolist())


def parse_numbers(
    values: npt.ArrayLike, shape: tuple[int, ...], name: str, origin: str
) -> FloatArray:
    """Finite numbers as a float64 array of a shape; (-1,) takes any count.

    Raises:
        CalibrationError: they are no numbers, not finite, or not as many.
    """
    try:
        array = np.array(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        found = printable(repr(values))
        raise CalibrationError(f"{origin}: {name} is {found}, expected numbers") from None
    if not np.all(np.isfinite(array)):
        raise CalibrationError(
            f"{origin}: {name} holds a number that is not finite: {printable(array.tolist())}"
        )
    count = int(np.prod(shape))
    if count >= 0 and array.size != count:
        raise CalibrationError(f"{origin}: {name} has {array.size} numbers, expected {count}")
    return array.reshape(shape)


def _optional_matrix(
    values: npt.ArrayLike | None, shape: tuple[int, ...], name: str, origin: str
) -> FloatArray | None:
    matrix = None if values is None else parse_numbers(values, shape, name, origin)
    return None if matrix is None or not np.any(matrix) else read_only(matrix)


def intrinsics_from_info(info: Any, origin: str = "camera_info") -> CameraIntrinsics:
    """The calibration in a CameraInfo message of ROS 1 or 2, for the image as it is sent.

    A region of interest and binning are applied, in this order, as the message defines them.

    Args:
        info: anything with the fields of sensor_msgs/CameraInfo (ROS 1 writes K, D, R, P).
        origin: topic or file, for messages.

    Raises:
        CalibrationError: see `calibration_from_fields`.
    """
    fields = CameraInfoFields(
        width=info.width,
        height=info.height,
        distortion_model=info.distortion_model,
        **_matrices(info),
    )
    camera = calibration_from_fields(fields, origin)
    roi = info.roi
    if roi.width and roi.height:
        camera = camera.cropped(roi.x_offset, roi.y_offset, roi.width, roi.height)
    bins_x, bins_y = max(info.binning_x, 1), max(info.binning_y, 1)
    if (bins_x, bins_y) != (1, 1):
        camera = camera.resized(camera.width // bins_x, camera.height // bins_y)
    return camera


def calibration_key(info: Any) -> tuple[Any, ...]:
    """A CameraInfo of ROS 1 or 2 without its header, comparable: NaN equals NaN in it."""
    roi = info.roi
    region = (roi.x_offset, roi.y_offset, roi.width, roi.height, info.binning_x, info.binning_y)
    numbers = [tuple(repr(float(value)) for value in m) for m in _matrices(info).values()]
    return (info.width, info.height, info.distortion_model, region, *numbers)


def _matrices(info: Any) -> dict[str, Any]:
    """K, D, R and P, which ROS 1 writes in upper case and ROS 2 in lower case."""
    is_ros2 = hasattr(info, "k")
    return {name: getattr(info, name.lower() if is_ros2 else name) for name in "KDRP"}
