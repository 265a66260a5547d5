"""Camera calibrations from files: ROS camera_info YAML, KITTI's text formats, a bare 3x3 K.

The format is recognized from the content. The image size comes from whoever opened an image: the
text formats do not hold it, and for YAML it checks that the calibration belongs to the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError, UnsafeFileError
from sfm_ros.formats.camera_info import CameraInfoFields, calibration_from_fields
from sfm_ros.formats.files import read_text
from sfm_ros.formats.kitti_calibration import calibration_from_kitti
from sfm_ros.safety.documents import parse_yaml

# The keys of a camera_calibration file, then those of a printed CameraInfo message.
_KEYS = {
    "width": ("image_width", "width"),
    "height": ("image_height", "height"),
    "K": ("camera_matrix", "k", "K"),
    "D": ("distortion_coefficients", "d", "D"),
    "R": ("rectification_matrix", "r", "R"),
    "P": ("projection_matrix", "p", "P"),
}


def read_calibration(
    path: str | Path,
    width: int | None = None,
    height: int | None = None,
    camera: str | int | None = None,
) -> CameraIntrinsics:
    """Read a camera calibration in any of the known formats.

    * **camera_info YAML** (camera_calibration, or a printed CameraInfo message).
    * **KITTI odometry** ``calib.txt``: lines ``P0: `` ... ``P3: ``, rectified cameras.
    * **KITTI raw** ``calib_cam_to_cam.txt``: the rectified camera for an image of the size
      ``S_rect_xx``, the distorted one (with D, R and P) for an image of the size ``S_xx``.
    * **nine numbers**: a bare K, row by row, of an image without distortion.

    Args:
        path: the file.
        width, height: size of the image in pixels. May be left out for YAML only.
        camera: which camera of a KITTI file, such as ``"02"`` or 2. By default the only one, or 02
            of a raw file and 0 of an odometry file.

    Raises:
        CalibrationError: no such file, unknown format, missing key, wrong count of numbers, a
            number that is zero or not finite but must not be, or a size that does not fit.
    """
    path = Path(path)
    text = read_text(path, "calibration", CalibrationError)
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(text, str(path), width, height)
    if width is None or height is None:
        raise CalibrationError(
            f"the calibration {path} does not hold the image's size; pass width and height"
        )
    K = _bare_matrix(text)
    if K is None:
        return calibration_from_kitti(text, path, (width, height), camera)
    return calibration_from_fields(CameraInfoFields(width=width, height=height, K=K), str(path))


def _bare_matrix(text: str) -> list[float] | None:
    """The nine numbers of K; None if the text holds anything else."""
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        return None
    return numbers if len(numbers) == 9 else None


def _from_yaml(text: str, origin: str, width: int | None, height: int | None) -> CameraIntrinsics:
    document = _parse_yaml(text, origin)
    fields = CameraInfoFields(
        width=_positive(document, "width", origin),
        height=_positive(document, "height", origin),
        K=_entry(document, "K"),
        D=_entry(document, "D") or (),
        R=_entry(document, "R"),
        P=_entry(document, "P"),
        distortion_model=str(document.get("distortion_model") or ""),
    )
    image = (width or fields.width, height or fields.height)
    if image != (fields.width, fields.height):
        raise CalibrationError(
            f"{origin}: the calibration is for {fields.width}x{fields.height} images, but the "
            f"image is {image[0]}x{image[1]}; calibrate at this size or scale fx, fy, cx, cy "
            "with it"
        )
    if fields.K is None:
        found = ", ".join(map(str, document)) or "no key"
        raise CalibrationError(f"{origin}: no camera_matrix; the file has {found}")
    return calibration_from_fields(fields, origin)


def _parse_yaml(text: str, origin: str) -> Mapping[str, Any]:
    """The first document of a file; a printed message ends in a line ``---``."""
    try:
        document = parse_yaml(text, first_only=True)
    except UnsafeFileError as error:
        raise CalibrationError(f"{origin} is not a camera_info YAML file: {error}") from error
    if not isinstance(document, Mapping):
        raise CalibrationError(
            f"{origin} holds a {type(document).__name__}, expected the keys of a camera_info file "
            "(image_width, image_height, camera_matrix, ...)"
        )
    return document


def _entry(document: Mapping[str, Any], name: str) -> Any:
    """The value under any of a field's keys; of a wrapped matrix its list of numbers."""
    for key in _KEYS[name]:
        if document.get(key) is not None:
            value = document[key]
            return value.get("data") if isinstance(value, Mapping) else value
    return None


def _positive(document: Mapping[str, Any], name: str, origin: str) -> int:
    value = _entry(document, name)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise CalibrationError(
            f"{origin}: {_KEYS[name][0]} is {value!r}, expected a positive number of pixels"
        )
    return value
