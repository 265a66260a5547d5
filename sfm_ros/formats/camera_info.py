"""Calibrations in CameraInfo messages of any ROS version, and in files with the same fields.

What is stated is checked and kept; `sfm_ros.cameras.pixels` decides which part of it the images
have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sfm_ros.datatypes import CameraIntrinsics, FloatArray, read_only
from sfm_ros.errors import CalibrationError, printable
from sfm_ros.formats.distortion import is_known, parse_distortion
from sfm_ros.formats.regions import FULL, Region, applied
from sfm_ros.geometry import is_rotation

_FOCAL_RATIOS = (0.01, 100.0)
"""Focal lengths over the longer side of the image: beyond any fisheye and any telephoto lens."""
_MAX_CENTER_RATIO = 10.0
"""Distance of the principal point from the origin of the image over its longer side."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CameraInfoFields:
    """The calibration in a CameraInfo message or file, before any check.

    Attributes:
        width, height: image size in pixels.
        K: 9 numbers, row by row; zeros mean "not calibrated", unless P has numbers.
        D: distortion coefficients; none or zeros mean no distortion.
        R, P: 9 and 12 numbers, row by row; None or zeros mean "not given", as drivers that rectify
            the image themselves send them, and so does an identity for P.
        distortion_model: any name that `parse_distortion` knows; empty means ``plumb_bob``.
        region: part of the calibrated image that the images show, and their binning.
    """

    width: int
    height: int
    K: npt.ArrayLike
    D: npt.ArrayLike = ()
    R: npt.ArrayLike | None = None
    P: npt.ArrayLike | None = None
    distortion_model: str = ""
    region: Region = FULL


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StatedCamera:
    """What a message or file states about a camera, checked, at the size of its images.

    Attributes:
        origin: topic or file.
        intrinsics: K, D, R and P; from P alone if there is no K.
        has_K: False if only P is given.
        is_rectified: whether the images are rectified, if the format itself states it.
        reason: why ``is_rectified`` is known, as part of a sentence.
        remarks: what was unusual and how it was taken, a sentence each.
        size_note: how the size follows from the calibrated one; empty if they are equal.
    """

    origin: str
    intrinsics: CameraIntrinsics
    has_K: bool = True
    is_rectified: bool | None = None
    reason: str = ""
    remarks: tuple[str, ...] = ()
    size_note: str = ""


def state_camera(fields: CameraInfoFields, origin: str) -> StatedCamera:
    """Check the fields and convert them; ``origin`` is the topic or file, for error messages.

    A region of interest and binning are applied, in this order, as CameraInfo defines them.

    Raises:
        CalibrationError: a wrong count of numbers, a number that is not finite, an unknown
            distortion model, an R that is no rotation, a camera that is not calibrated, numbers
            that no camera of this image size has, or a region that contradicts them.
    """
    K = parse_numbers(fields.K, (3, 3), "camera_matrix (K)", origin)
    D = parse_numbers(fields.D, (-1,), "distortion_coefficients (D)", origin)
    model, coefficients = parse_distortion(fields.distortion_model, D, origin)
    R = _optional_matrix(fields.R, (3, 3), "rectification_matrix (R)", origin)
    if R is not None and not (np.abs(R).max() < 2 and is_rotation(R, tolerance=1e-2)):
        raise CalibrationError(f"{origin}: the rectification_matrix (R) is not a rotation: {R}")
    P = _optional_matrix(fields.P, (3, 4), "projection_matrix (P)", origin)
    if P is not None and np.array_equal(P, np.eye(3, 4)):  # as of a driver that does not know it
        P = None
    has_K = bool(np.any(K))
    if not has_K and P is not None and P[0, 0] > 0 and P[1, 1] > 0:
        K = P[:, :3]
    if K[2, 2] == 0 or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise CalibrationError(
            f"{origin}: the focal length is fx={K[0, 0]:g}, fy={K[1, 1]:g}, expected positive "
            "numbers; the camera is not calibrated"
        )
    size = _whole(fields.width, origin), _whole(fields.height, origin)
    _check_pinhole(K, size, f"{origin}: camera_matrix (K)")
    if P is not None and P[0, 0] > 0:  # else it is not used
        _check_pinhole(P, size, f"{origin}: projection_matrix (P)")
    stated = replace(
        CameraIntrinsics.from_matrix(*size, K),
        distortion_model=model,
        distortion=coefficients,
        R=R,
        P=P,
    )
    camera, remarks, size_note = applied(fields.region, stated, origin)
    return StatedCamera(
        origin=origin,
        intrinsics=camera,
        has_K=has_K,
        remarks=(*_unknown_model(fields.distortion_model), *remarks),
        size_note=size_note,
    )


def _unknown_model(name: str) -> tuple[str, ...]:
    if is_known(name):
        return ()
    shown = printable(name, 50)
    return (
        f"the distortion model '{shown}' is unknown, its coefficients are zero: taken as none",
    )


def _whole(value: Any, origin: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise CalibrationError(
            f"{origin}: the image size is {printable(repr(value), 50)}, expected pixels"
        ) from None


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


def parse_numbers(
    values: npt.ArrayLike, shape: tuple[int, ...], name: str, origin: str
) -> FloatArray:
    """Finite numbers as a float64 array of a shape; (-1,) takes any count.

    Raises:
        CalibrationError: they are no numbers, not finite, or not as many.
    """
    try:
        if isinstance(values, list) and any(isinstance(value, bool) for value in values):
            raise ValueError
        array = np.array(values, dtype=np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
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


def camera_from_info(info: Any, origin: str = "camera_info") -> StatedCamera:
    """What a CameraInfo message of ROS 1 or 2 states, for the image as it is sent.

    Args:
        info: anything with the fields of sensor_msgs/CameraInfo (ROS 1 writes K, D, R, P).
        origin: topic or file, for messages.

    Raises:
        CalibrationError: see `state_camera`.
    """
    roi = info.roi
    fields = CameraInfoFields(
        width=info.width,
        height=info.height,
        distortion_model=info.distortion_model,
        region=Region(
            x=roi.x_offset,
            y=roi.y_offset,
            width=roi.width,
            height=roi.height,
            bins_x=info.binning_x,
            bins_y=info.binning_y,
        ),
        **_matrices(info),
    )
    return state_camera(fields, origin)


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
