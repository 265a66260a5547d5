"""Camera calibrations from files: those of ROS, OpenCV, EuRoC, Kalibr, ORB-SLAM, VINS and KITTI.

The format is recognized from the content. The image size comes from whoever opened an image: the
text formats do not hold it, and in the others it must be that of the image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sfm_ros.errors import CalibrationError, UnsafeFileError
from sfm_ros.formats.camera_choice import FileCamera, camera_of_images
from sfm_ros.formats.camera_documents import cameras_of_document
from sfm_ros.formats.camera_info import CameraInfoFields, StatedCamera
from sfm_ros.formats.files import read_text
from sfm_ros.formats.kitti_calibration import kitti_cameras
from sfm_ros.formats.opencv_xml import document_of_xml
from sfm_ros.safety.documents import parse_yaml

EXPECTED = (
    "a YAML file of camera_calibration, OpenCV, EuRoC, Kalibr or ORB-SLAM, KITTI's calib.txt "
    "(lines 'P0: ...') or calib_cam_to_cam.txt (lines 'P_rect_02: ...'), camera_calibration's "
    "ost.txt, or the nine numbers of K"
)
_YAML_SUFFIXES = (".yaml", ".yml", ".json")
_OPENCV_TAG = re.compile(r"!!opencv-[a-z-]+")


def read_camera(
    path: str | Path,
    width: int | None = None,
    height: int | None = None,
    camera: str | int | None = None,
    names: Sequence[str] = (),
) -> StatedCamera:
    """Read a camera calibration in any of the known formats.

    * **YAML, JSON or OpenCV's XML**: see `sfm_ros.formats.camera_documents`.
    * **KITTI odometry** ``calib.txt``: lines ``P0: `` ... ``P3: ``, rectified cameras.
    * **KITTI raw** ``calib_cam_to_cam.txt``: the rectified camera for an image of the size
      ``S_rect_xx``, the distorted one (with D, R and P) for an image of the size ``S_xx``.
    * **ost.txt** of camera_calibration.
    * **nine numbers**: a bare K, row by row, of an image without distortion.

    Args:
        path: the file.
        width, height: size of the image in pixels. May be left out if the file holds it.
        camera: which camera of a file with several, such as ``"02"``, 2, ``"cam0"`` or ``"left"``.
            By default the one that ``names`` or the size show, or 02 of a raw file of KITTI and 0
            of an odometry file.
        names: of the images: their topic or folder.

    Raises:
        CalibrationError: no such file, unknown format, missing key, wrong count of numbers, a
            number that is zero or not finite but must not be, a size that does not fit, or several
            cameras to choose from.
    """
    path = Path(path)
    text = read_text(path, "calibration", CalibrationError).removeprefix("\ufeff")
    size = None if width is None or height is None else (width, height)
    cameras = _cameras(text, path, size, camera)
    return camera_of_images(cameras, str(path), size, camera, names)


def _cameras(
    text: str, path: Path, size: tuple[int, int] | None, requested: str | int | None
) -> Sequence[FileCamera]:
    head = text.lstrip()[:200]
    if head.startswith(("<?xml", "<opencv_storage")):
        return _of_document(document_of_xml(text, str(path)), path)
    if path.suffix.lower() in _YAML_SUFFIXES or head.startswith(("%YAML", "{")):
        return _of_document(_parse_yaml(text, str(path)), path)
    if re.search(r"^\s*\[image\]", text, re.MULTILINE):
        return [_of_ost(text, path)]
    if size is None:
        raise CalibrationError(
            f"the calibration {path} does not hold the image's size; pass width and height"
        )
    K = _bare_matrix(text)
    if K is not None:
        return [FileCamera(name="", fields=CameraInfoFields(width=0, height=0, K=K))]
    cameras = kitti_cameras(text, path, size, requested)
    if not cameras:
        document = _yaml_or_none(text)
        if isinstance(document, Mapping):
            cameras = cameras_of_document(document, str(path))
    if not cameras:
        found = ", ".join(re.findall(r"^\s*([\w.]+)\s*:", text, re.MULTILINE)[:20])
        raise CalibrationError(
            f"{path} is no known calibration: expected {EXPECTED}; found "
            f"{found or 'no line of these'}"
        )
    return cameras


def _of_document(document: Mapping[str, Any], path: Path) -> list[FileCamera]:
    cameras = cameras_of_document(document, str(path))
    if cameras:
        return cameras
    found = ", ".join(map(str, list(document)[:20])) or "no key"
    raise CalibrationError(f"{path}: no camera_matrix; the file has {found}; expected {EXPECTED}")


def _bare_matrix(text: str) -> list[float] | None:
    """The nine numbers of K; None if the text holds anything else."""
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        return None
    return numbers if len(numbers) == 9 else None


def _parse_yaml(text: str, origin: str) -> Mapping[str, Any]:
    """The first document of a file; a printed message ends in a line ``---``."""
    try:
        document = parse_yaml(_plain_yaml(text), first_only=True)
    except UnsafeFileError as error:
        raise CalibrationError(f"{origin} is not a camera_info YAML file: {error}") from error
    if not isinstance(document, Mapping):
        raise CalibrationError(
            f"{origin} holds a {type(document).__name__}, expected the keys of a camera_info file "
            "(image_width, image_height, camera_matrix, ...)"
        )
    return document


def _yaml_or_none(text: str) -> Any:
    try:
        return parse_yaml(_plain_yaml(text), first_only=True)
    except UnsafeFileError:
        return None


def _plain_yaml(text: str) -> str:
    """Without what OpenCV's FileStorage adds to YAML: its header and its tags."""
    head, newline, rest = text.lstrip().partition("\n")
    body = rest if head.startswith("%YAML") and newline else text
    return _OPENCV_TAG.sub("", body)


def _of_ost(text: str, path: Path) -> FileCamera:
    """The ``ost.txt`` of camera_calibration: a title in each line before the numbers."""
    blocks: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words or words[0].startswith("["):
            continue
        if re.match(r"[A-Za-z]", words[0]) and words[0].lower() not in ("nan", "inf"):
            title = " ".join(words)
            blocks[title] = []
        else:
            blocks.setdefault(title, []).extend(words)
    document = {
        "image_width": "".join(blocks.get("width", [])),
        "image_height": "".join(blocks.get("height", [])),
        "camera_matrix": blocks.get("camera matrix"),
        "distortion_coefficients": blocks.get("distortion"),
        "rectification_matrix": blocks.get("rectification"),
        "projection_matrix": blocks.get("projection"),
    }
    (camera,) = _of_document(document, path)
    return camera
