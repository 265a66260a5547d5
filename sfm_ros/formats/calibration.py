"""Camera calibrations from files: ROS camera_info YAML, KITTI's three text formats, a bare 3x3 K.

`read_calibration` recognizes the format from the content. The image's size is passed in by
whoever opened an image: KITTI's files need it, and for the others it is the check that the
calibration belongs to the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from sfm_ros.datatypes import CameraIntrinsics, FloatArray, read_only
from sfm_ros.errors import CalibrationError
from sfm_ros.geometry import is_rotation

# ROS distortion models and how many coefficients each may have.
_COEFFICIENTS = {
    "plumb_bob": (0, 4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
    "fisheye": (4,),
}

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
    """Read a camera calibration, whatever of the known formats it is in.

    * **camera_info YAML** (camera_calibration, or a printed CameraInfo message).
    * **KITTI odometry** ``calib.txt``: lines ``P0: `` ... ``P3: ``, rectified cameras.
    * **KITTI raw** ``calib_cam_to_cam.txt``: the rectified camera where the image has the size
      ``S_rect_xx``, the distorted one (with D, R and P) where it has the size ``S_xx``.
    * **nine numbers**: a bare K, row by row, of an image without distortion.

    Args:
        path: the file.
        width, height: size of the image in pixels. May be left out for YAML only.
        camera: which camera of a KITTI file, such as ``"02"`` or 2. By default the only one, or 02
            of a raw file and 0 of an odometry file.

    Raises:
        CalibrationError: no such file, unknown format, missing key, wrong count of numbers, a
            number that is zero or not finite where it may not be, or a size that does not fit.
    """
    path = Path(path)
    text = _read_text(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(text, path, width, height)
    if width is None or height is None:
        raise CalibrationError(
            f"the calibration {path} does not hold the image's size; pass width and height"
        )
    numbers = _bare_matrix(text)
    if numbers is not None:
        return calibration_from_fields(width=width, height=height, K=numbers, where=str(path))
    return _from_kitti(_kitti_lines(text, path), path, width, height, camera)


def _read_text(path: Path) -> str:
    if not path.exists():
        raise CalibrationError(f"there is no calibration file {path}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"cannot read the calibration {path}: {error}") from error


def calibration_from_fields(
    *,
    width: int,
    height: int,
    K: npt.ArrayLike,
    D: npt.ArrayLike = (),
    R: npt.ArrayLike | None = None,
    P: npt.ArrayLike | None = None,
    distortion_model: str = "",
    where: str = "camera_info",
) -> CameraIntrinsics:
    """The calibration in the fields of a CameraInfo message or file.

    An R or P of zeros means "not given", as in messages of drivers that rectify themselves; a K of
    zeros means "not calibrated" and is an error.

    Args:
        width, height: pixels.
        K, R, P: 9, 9 and 12 numbers, row by row.
        D: coefficients; none or zeros mean no distortion.
        distortion_model: ROS name; empty is ``plumb_bob``.
        where: file or topic, for messages.

    Raises:
        CalibrationError: see `read_calibration`.
    """
    K3 = _matrix(K, (3, 3), "camera_matrix (K)", where)
    coefficients = _matrix(D, None, "distortion_coefficients (D)", where)
    model = distortion_model or "plumb_bob"
    if not np.any(coefficients):
        model, coefficients = "plumb_bob", coefficients[:0]
    elif model not in _COEFFICIENTS:
        raise CalibrationError(
            f"{where}: the distortion model is '{model}', expected one of "
            f"{', '.join(_COEFFICIENTS)}"
        )
    elif coefficients.size not in _COEFFICIENTS[model]:
        raise CalibrationError(
            f"{where}: {coefficients.size} distortion coefficients, but the model '{model}' has "
            f"{' or '.join(map(str, _COEFFICIENTS[model]))}"
        )
    rotation = _optional(R, (3, 3), "rectification_matrix (R)", where)
    if rotation is not None and not is_rotation(rotation, tolerance=1e-2):
        raise CalibrationError(
            f"{where}: the rectification_matrix (R) is not a rotation: {rotation}"
        )
    if K3[2, 2] == 0 or K3[0, 0] <= 0 or K3[1, 1] <= 0:
        raise CalibrationError(
            f"{where}: the focal length is fx={K3[0, 0]:g}, fy={K3[1, 1]:g}, expected positive "
            "numbers; the camera is not calibrated"
        )
    return CameraIntrinsics(
        width=int(width),
        height=int(height),
        fx=float(K3[0, 0]),
        fy=float(K3[1, 1]),
        cx=float(K3[0, 2]),
        cy=float(K3[1, 2]),
        distortion_model=model,
        distortion=tuple(float(value) for value in coefficients),
        R=rotation,
        P=_optional(P, (3, 4), "projection_matrix (P)", where),
    )


def _matrix(
    values: npt.ArrayLike, shape: tuple[int, ...] | None, what: str, where: str
) -> FloatArray:
    try:
        array = np.array(values, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise CalibrationError(f"{where}: {what} is {values!r}, expected numbers") from None
    if not np.all(np.isfinite(array)):
        raise CalibrationError(
            f"{where}: {what} holds a number that is not finite: {array.tolist()}"
        )
    if shape is None:
        return array
    if array.size != int(np.prod(shape)):
        raise CalibrationError(
            f"{where}: {what} has {array.size} numbers, expected {int(np.prod(shape))}"
        )
    return array.reshape(shape)


def _optional(
    values: npt.ArrayLike | None, shape: tuple[int, ...], what: str, where: str
) -> FloatArray | None:
    matrix = None if values is None else _matrix(values, shape, what, where)
    return None if matrix is None or not np.any(matrix) else read_only(matrix)


def _check_size(found: tuple[int, int], width: int | None, height: int | None, where: str) -> None:
    wanted = (width or found[0], height or found[1])
    if found != wanted:
        raise CalibrationError(
            f"{where}: the calibration is for {found[0]}x{found[1]} images, but the image is "
            f"{wanted[0]}x{wanted[1]}; calibrate at this size or scale fx, fy, cx, cy with it"
        )


def _from_yaml(text: str, path: Path, width: int | None, height: int | None) -> CameraIntrinsics:
    try:
        document = next(iter(yaml.safe_load_all(text)), None)
    except yaml.YAMLError as error:
        raise CalibrationError(f"{path} is not a camera_info YAML file: {error}") from error
    if not isinstance(document, Mapping):
        raise CalibrationError(
            f"{path} holds a {type(document).__name__}, expected the keys of a camera_info file "
            "(image_width, image_height, camera_matrix, ...)"
        )
    where = str(path)
    size = (_whole(document, "width", where), _whole(document, "height", where))
    _check_size(size, width, height, where)
    K = _entry(document, "K")
    if K is None:
        raise CalibrationError(
            f"{where}: no camera_matrix; the file has {', '.join(map(str, document)) or 'nothing'}"
        )
    D = _entry(document, "D")
    return calibration_from_fields(
        width=size[0],
        height=size[1],
        K=K,
        D=() if D is None else D,
        R=_entry(document, "R"),
        P=_entry(document, "P"),
        distortion_model=str(document.get("distortion_model") or ""),
        where=where,
    )


def _entry(document: Mapping[str, Any], name: str) -> Any:
    """The value under any of a field's keys; the list itself where it is wrapped as a matrix."""
    for key in _KEYS[name]:
        if document.get(key) is not None:
            value = document[key]
            return value.get("data") if isinstance(value, Mapping) else value
    return None


def _whole(document: Mapping[str, Any], name: str, where: str) -> int:
    value = _entry(document, name)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise CalibrationError(
            f"{where}: {_KEYS[name][0]} is {value!r}, expected a positive number of pixels"
        )
    return value


def _bare_matrix(text: str) -> FloatArray | None:
    try:
        numbers = np.array([float(word) for word in text.replace(",", " ").split()])
    except ValueError:
        return None
    return numbers if numbers.size == 9 else None


def read_kitti_numbers(path: str | Path, key: str, count: int) -> FloatArray:
    """The numbers after ``key:`` in a KITTI calibration file.

    Raises:
        CalibrationError: no such file or line, or not ``count`` finite numbers.
    """
    path = Path(path)
    return _numbers(_keyed_lines(_read_text(path)), key, count, path)


def _keyed_lines(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value for key, colon, value in pairs if colon and key.strip()}


def _kitti_lines(text: str, path: Path) -> dict[str, str]:
    lines = _keyed_lines(text)
    if not any(key.startswith("P") for key in lines):
        raise CalibrationError(
            f"{path} is no known calibration: expected a camera_info .yaml file, KITTI's "
            "calib.txt (lines 'P0: ...'), KITTI's calib_cam_to_cam.txt (lines 'P_rect_02: ...') "
            f"or the nine numbers of K; found {', '.join(lines) or 'no line of these'}"
        )
    return lines


def _from_kitti(
    lines: dict[str, str], path: Path, width: int, height: int, camera: str | int | None
) -> CameraIntrinsics:
    is_raw = any(key.startswith("P_rect_") for key in lines)
    prefix, digits = ("P_rect_", 2) if is_raw else ("P", 1)
    offered = [key[len(prefix) :] for key in lines if key.startswith(prefix)]
    name = _choose_camera(offered, digits, camera, str(path))
    P = _numbers(lines, prefix + name, 12, path).reshape(3, 4)
    where = f"{path}, camera {name}"
    size, rectified_size = (_size(lines, key + name, path) for key in ("S_", "S_rect_"))
    if (width, height) == size and size != rectified_size:
        return calibration_from_fields(
            width=width,
            height=height,
            K=_numbers(lines, f"K_{name}", 9, path),
            D=_numbers(lines, f"D_{name}", 5, path),
            R=_numbers(lines, f"R_rect_{name}", 9, path),
            P=P,
            where=where,
        )
    if rectified_size is not None and (width, height) != rectified_size:
        also = f" or {size[0]}x{size[1]} (distorted)" if size else ""
        raise CalibrationError(
            f"{where}: the image is {width}x{height}, but the calibration is for images of "
            f"{rectified_size[0]}x{rectified_size[1]} (rectified){also}"
        )
    return calibration_from_fields(width=width, height=height, K=P[:, :3], where=where)


def _choose_camera(offered: list[str], digits: int, camera: str | int | None, where: str) -> str:
    wanted = str(camera if camera is not None else "02" if digits == 2 else "0")
    wanted = wanted.lstrip("0").zfill(digits)
    if wanted in offered:
        return wanted
    if camera is None and len(offered) == 1:
        return offered[0]
    raise CalibrationError(
        f"{where}: no camera {wanted}; the file has {', '.join(offered)}; name one of them"
    )


def _numbers(lines: dict[str, str], key: str, count: int, path: Path) -> FloatArray:
    if key not in lines:
        raise CalibrationError(f"{path}: no line '{key}:'; found {', '.join(lines)}")
    return _matrix(lines[key].split(), (count,), key, str(path))


def _size(lines: dict[str, str], key: str, path: Path) -> tuple[int, int] | None:
    if key not in lines:
        return None
    width, height = _numbers(lines, key, 2, path)
    return int(width), int(height)


def write_camera_info_yaml(
    path: str | Path, intrinsics: CameraIntrinsics, camera_name: str = "camera"
) -> None:
    """Write a calibration as camera_calibration does; reading it gives back equal numbers."""
    R = np.eye(3) if intrinsics.R is None else intrinsics.R
    P = np.hstack([intrinsics.K, np.zeros((3, 1))]) if intrinsics.P is None else intrinsics.P
    D = np.array(intrinsics.distortion or (0.0,) * 5)[None]
    lines = [
        f"image_width: {intrinsics.width}",
        f"image_height: {intrinsics.height}",
        f"camera_name: {camera_name}",
        f"camera_matrix: {_yaml_matrix(intrinsics.K)}",
        f"distortion_model: {intrinsics.distortion_model}",
        f"distortion_coefficients: {_yaml_matrix(D)}",
        f"rectification_matrix: {_yaml_matrix(R)}",
        f"projection_matrix: {_yaml_matrix(P)}",
    ]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _yaml_matrix(matrix: FloatArray) -> str:
    rows, columns = matrix.shape
    data = ", ".join(repr(float(value)) for value in matrix.ravel())
    return f"{{rows: {rows}, cols: {columns}, data: [{data}]}}"
