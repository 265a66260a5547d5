"""Cameras in YAML (or JSON, or OpenCV's XML) documents, in the layouts of several programs.

* camera_calibration of ROS and a printed CameraInfo message, in any version;
* OpenCV's FileStorage, as its calibration samples write it, also of two cameras (M1, D1, M2, D2);
* EuRoC's ``sensor.yaml`` and Kalibr's ``camchain.yaml``;
* the settings of ORB-SLAM, and of VINS (camodocal).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sfm_ros.errors import CalibrationError, printable
from sfm_ros.formats.camera_choice import FileCamera
from sfm_ros.formats.camera_info import CameraInfoFields
from sfm_ros.formats.distortion import EQUIDISTANT, canonical_model
from sfm_ros.formats.regions import Region

Document = Mapping[str, Any]

_KEYS = {
    "width": ("image_width", "width", "image_Width"),
    "height": ("image_height", "height", "image_Height"),
    "size": ("resolution", "image_size", "imageSize", "size"),
    "K": ("camera_matrix", "k", "K", "cameraMatrix", "Camera_Matrix", "intrinsic_matrix"),
    "D": (
        *("distortion_coefficients", "d", "D", "distortion_coeffs", "dist_coeffs", "distCoeffs"),
        "Distortion_Coefficients",
    ),
    "R": ("rectification_matrix", "r", "R"),
    "P": ("projection_matrix", "p", "P"),
    "model": ("distortion_model", "camera_model"),
}
_MOST_CAMERAS = 64


def cameras_of_document(document: Document, origin: str) -> list[FileCamera]:
    """Every camera in a document; none if there is no known layout in it.

    Raises:
        CalibrationError: an entry is missing or wrong, or of a projection that is not supported.
    """
    for layout in (_orb_slam, _opencv_stereo):
        found = layout(document, origin)
        if found:
            return found
    single = _single(document, "", origin)
    if single is not None:
        return [single]
    entries = list(document.items())[:_MOST_CAMERAS]
    nested = (_single(v, str(name), origin) for name, v in entries if isinstance(v, Mapping))
    return [camera for camera in nested if camera is not None]


def _single(document: Document, name: str, origin: str) -> FileCamera | None:
    """The camera whose keys are those of this mapping, or None."""
    if isinstance(document.get("projection_parameters"), Mapping):
        return _camodocal(document, name, origin)
    if isinstance(document.get("intrinsics"), Sequence):
        return _kalibr(document, name, origin)
    if not any(key in document for key in (*_KEYS["K"], *_KEYS["P"])):
        return None
    width, height = _size(document, origin)
    fields = CameraInfoFields(
        width=width,
        height=height,
        K=_camera_matrix(document, origin),
        D=_or_empty(_entry(document, "D")),
        R=_entry(document, "R"),
        P=_entry(document, "P"),
        distortion_model=_model_name(document),
        region=_region(document, origin),
    )
    return FileCamera(name=name, fields=fields)


def _camera_matrix(document: Document, origin: str) -> Any:
    K = _entry(document, "K")
    if K is None:
        found = ", ".join(map(str, document)) or "no key"
        raise CalibrationError(f"{origin}: no camera_matrix; the file has {printable(found)}")
    return K


def _or_empty(D: Any) -> Any:
    return () if D is None else D


def _model_name(document: Document) -> str:
    """The distortion model; ``camera_model`` names it in older files, else the projection."""
    if _number(document.get("fisheye_model")):  # OpenCV's sample sets it to 1
        return EQUIDISTANT
    model = str(document.get("distortion_model") or "")
    projection = str(document.get("camera_model") or "")
    if model:
        return model
    return "" if projection.lower() == "pinhole" else projection


def _kalibr(document: Document, name: str, origin: str) -> FileCamera:
    """An entry of Kalibr's camchain or EuRoC's sensor.yaml: intrinsics fu, fv, cu, cv."""
    what = f"{origin}, {name}" if name else origin
    projection = str(document.get("camera_model") or "pinhole")
    if projection.lower() != "pinhole" and canonical_model(projection) is None:
        raise CalibrationError(
            f"{what}: the camera_model is '{printable(projection, 50)}', expected pinhole; "
            "calibrate with pinhole-radtan or pinhole-equi"
        )
    values = document["intrinsics"]
    model = _model_name(document)
    D = _or_empty(_entry(document, "D"))
    if model.lower() == "none":
        model, D = "", ()
    width, height = _size(document, origin)
    return FileCamera(
        name=name,
        topic=str(document.get("rostopic") or ""),
        fields=CameraInfoFields(
            width=width,
            height=height,
            K=_pinhole_matrix(values, "intrinsics", what),
            D=D,
            distortion_model=model,
        ),
    )


def _camodocal(document: Document, name: str, origin: str) -> FileCamera:
    """A camera of VINS: PINHOLE with k1, k2, p1, p2, or KANNALA_BRANDT with k2 to k5."""
    kind = str(document.get("model_type") or "PINHOLE").upper()
    projection = document["projection_parameters"]
    if kind == "PINHOLE":
        keys, source = ("fx", "fy", "cx", "cy"), document.get("distortion_parameters") or {}
        names, model = ("k1", "k2", "p1", "p2"), ""
    elif kind == "KANNALA_BRANDT":
        keys, source = ("mu", "mv", "u0", "v0"), projection
        names, model = ("k2", "k3", "k4", "k5"), EQUIDISTANT
    else:
        raise CalibrationError(
            f"{origin}: the model_type is '{printable(kind, 50)}', expected PINHOLE or "
            "KANNALA_BRANDT; calibrate with one of these"
        )
    width, height = _size(document, origin)
    if not isinstance(source, Mapping):
        raise CalibrationError(f"{origin}: distortion_parameters is no list of named numbers")
    fields = CameraInfoFields(
        width=width,
        height=height,
        K=_pinhole_matrix([projection.get(key) for key in keys], "projection_parameters", origin),
        D=[source.get(key, 0.0) for key in names],
        distortion_model=model,
    )
    return FileCamera(name=name or str(document.get("camera_name") or ""), fields=fields)


def _orb_slam(document: Document, origin: str) -> list[FileCamera]:
    """The cameras in the settings of ORB-SLAM2 and 3, also the raw ones of a stereo pair."""
    cameras = [
        _orb_slam_stereo(document, side, origin)
        for side in ("LEFT", "RIGHT")
        if f"{side}.K" in document
    ]
    if cameras:
        return cameras
    prefixes = [p for p in ("Camera", "Camera1", "Camera2") if f"{p}.fx" in document]
    return [_orb_slam_camera(document, prefix, origin) for prefix in prefixes]


def _orb_slam_camera(document: Document, prefix: str, origin: str) -> FileCamera:
    def value(key: str) -> Any:
        return document.get(f"{prefix}.{key}")

    kind = str(document.get("Camera.type") or "PinHole")
    is_fisheye = kind.lower() == "kannalabrandt8"
    if kind.lower() not in ("pinhole", "rectified", "kannalabrandt8"):
        raise CalibrationError(
            f"{origin}: Camera.type is '{printable(kind, 50)}', expected PinHole, Rectified or "
            "KannalaBrandt8"
        )
    names = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "p1", "p2", "k3")
    width, height = _orb_slam_size(document, "Camera", origin)
    fields = CameraInfoFields(
        width=width,
        height=height,
        K=_pinhole_matrix([value(k) for k in ("fx", "fy", "cx", "cy")], f"{prefix}.fx", origin),
        D=[0.0 if value(key) is None else value(key) for key in names],
        distortion_model=EQUIDISTANT if is_fisheye else "",
    )
    is_rectified = True if kind.lower() == "rectified" else None
    reason = "Camera.type is Rectified" if is_rectified else ""
    name = "" if prefix == "Camera" else prefix
    return FileCamera(name=name, fields=fields, is_rectified=is_rectified, reason=reason)


def _orb_slam_stereo(document: Document, side: str, origin: str) -> FileCamera:
    def entry(key: str) -> Any:
        return _data(document.get(f"{side}.{key}"))

    width, height = _orb_slam_size(document, side, origin)
    fields = CameraInfoFields(
        width=width,
        height=height,
        K=entry("K"),
        D=_or_empty(entry("D")),
        R=entry("R"),
        P=entry("P"),
    )
    return FileCamera(name=side.lower(), fields=fields)


def _orb_slam_size(document: Document, prefix: str, origin: str) -> tuple[int, int]:
    """Width and height under a prefix; zero for one that is not given."""

    def pixels(key: str) -> int:
        value = document.get(key)
        return 0 if value is None else _pixels(value, key, origin)

    return pixels(f"{prefix}.width"), pixels(f"{prefix}.height")


def _opencv_stereo(document: Document, origin: str) -> list[FileCamera]:
    """The two cameras of OpenCV's stereo calibration: M1, D1, M2, D2, without a size."""
    if "M1" not in document:
        return []
    return [
        FileCamera(
            name=name,
            fields=CameraInfoFields(
                width=0,
                height=0,
                K=_data(document[f"M{number}"]),
                D=_or_empty(_data(document.get(f"D{number}"))),
            ),
        )
        for number, name in ((1, "left"), (2, "right"))
        if f"M{number}" in document
    ]


def _pinhole_matrix(values: Any, name: str, origin: str) -> list[Any]:
    """K of fx, fy, cx, cy."""
    numbers = list(values)
    if len(numbers) != 4 or any(_number(value) is None for value in numbers):
        raise CalibrationError(
            f"{origin}: {name} is {printable(numbers, 100)}, expected fx, fy, cx and cy"
        )
    fx, fy, cx, cy = (_number(value) for value in numbers)
    return [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]


def _number(value: Any) -> float | None:
    """A number, also one that is written such as 1e-5, which YAML takes for text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _data(value: Any) -> Any:
    """The numbers of a matrix that is wrapped in its rows and columns."""
    return value.get("data") if isinstance(value, Mapping) else value


def _entry(document: Document, name: str) -> Any:
    """The value under any of a field's keys."""
    for key in _KEYS[name]:
        if document.get(key) is not None:
            return _data(document[key])
    return None


def _size(document: Document, origin: str) -> tuple[int, int]:
    """Width and height; zeros if the document has neither."""
    pair = _entry(document, "size")
    if isinstance(pair, Mapping):
        pair = [pair.get("width"), pair.get("height")]
    if isinstance(pair, Sequence) and not isinstance(pair, str) and len(pair) == 2:
        return _pixels(pair[0], "resolution", origin), _pixels(pair[1], "resolution", origin)
    width, height = _entry(document, "width"), _entry(document, "height")
    if width is None and height is None:
        return 0, 0
    return _pixels(width, "image_width", origin), _pixels(height, "image_height", origin)


def _pixels(value: Any, name: str, origin: str) -> int:
    """A positive whole number, also if it is written as 640.0."""
    number = _number(value)
    if number is None or not 0 < number < 1e9 or number != int(number):
        raise CalibrationError(
            f"{origin}: {name} is {printable(repr(value), 50)}, expected a positive number of "
            "pixels"
        )
    return int(number)


def _region(document: Document, origin: str) -> Region:
    """The region of interest and the binning of a printed message."""
    roi = document.get("roi")
    parts: Document = roi if isinstance(roi, Mapping) else {}

    def count(mapping: Document, key: str) -> int:
        value = mapping.get(key)
        number = 0.0 if value is None else _number(value)
        if number is None or not 0 <= number < 1e9 or number != int(number):
            raise CalibrationError(
                f"{origin}: {key} is {printable(repr(value), 50)}, expected a number of pixels"
            )
        return int(number)

    return Region(
        x=count(parts, "x_offset"),
        y=count(parts, "y_offset"),
        width=count(parts, "width"),
        height=count(parts, "height"),
        bins_x=count(document, "binning_x"),
        bins_y=count(document, "binning_y"),
    )
