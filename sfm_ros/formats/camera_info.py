"""Calibrations from the fields of CameraInfo, be it a message of any ROS version or a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, FloatArray, read_only
from sfm_ros.errors import CalibrationError
from sfm_ros.geometry import is_rotation

# ROS distortion models and how many coefficients each may have.
_COEFFICIENT_COUNTS = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
    "fisheye": (4,),
}


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
            distortion model, an R that is no rotation, or a camera that is not calibrated.
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
    return replace(
        CameraIntrinsics.from_matrix(int(fields.width), int(fields.height), K),
        distortion_model=model,
        distortion=coefficients,
        R=R,
        P=_optional_matrix(fields.P, (3, 4), "projection_matrix (P)", origin),
    )


def _distortion(fields: CameraInfoFields, origin: str) -> tuple[str, tuple[float, ...]]:
    """Name of the distortion model, and its coefficients."""
    D = parse_numbers(fields.D, (-1,), "distortion_coefficients (D)", origin)
    if not np.any(D):
        return "plumb_bob", ()
    model = fields.distortion_model or "plumb_bob"
    if model not in _COEFFICIENT_COUNTS:
        raise CalibrationError(
            f"{origin}: the distortion model is '{model}', expected one of "
            f"{', '.join(_COEFFICIENT_COUNTS)}"
        )
    if D.size not in _COEFFICIENT_COUNTS[model]:
        raise CalibrationError(
            f"{origin}: {D.size} distortion coefficients, but the model '{model}' has "
            f"{' or '.join(map(str, _COEFFICIENT_COUNTS[model]))}"
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
        raise CalibrationError(f"{origin}: {name} is {values!r}, expected numbers") from None
    if not np.all(np.isfinite(array)):
        raise CalibrationError(
            f"{origin}: {name} holds a number that is not finite: {array.tolist()}"
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
