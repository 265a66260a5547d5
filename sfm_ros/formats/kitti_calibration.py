"""KITTI's calibration files: a line ``key: numbers`` for each matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sfm_ros.datatypes import FloatArray
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.camera_choice import FileCamera, is_same_name, no_such_camera
from sfm_ros.formats.camera_info import CameraInfoFields, parse_numbers
from sfm_ros.formats.files import read_text


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of a file: key -> text after the colon."""

    path: Path
    values: dict[str, str]

    @classmethod
    def parse(cls, text: str, path: Path) -> _Lines:
        pairs = (line.partition(":") for line in text.splitlines())
        values = {key.strip(): value for key, colon, value in pairs if colon and key.strip()}
        return cls(path, values)

    def numbers(self, key: str, *shape: int) -> FloatArray:
        """The numbers of a line, in a shape."""
        if key not in self.values:
            raise CalibrationError(
                f"{self.path}: no line '{key}:'; found {', '.join(self.values)}"
            )
        return parse_numbers(self.values[key].split(), shape, key, str(self.path))

    def size(self, key: str) -> tuple[int, ...] | None:
        """Width and height in a line; None if there is no such line."""
        return tuple(map(int, self.numbers(key, 2).tolist())) if key in self.values else None


def read_kitti_numbers(path: str | Path, key: str, *shape: int) -> FloatArray:
    """The numbers after ``key:`` in a KITTI calibration file, in a shape.

    Raises:
        CalibrationError: no such file or line, or another count of finite numbers.
    """
    path = Path(path)
    text = read_text(path, "calibration", CalibrationError)
    return _Lines.parse(text, path).numbers(key, *shape)


def kitti_cameras(
    text: str, path: Path, size: tuple[int, int], requested: str | int | None = None
) -> list[FileCamera]:
    """The cameras in a raw or an odometry calibration; none if it is neither.

    Args:
        text: content of the file.
        path: for messages.
        size: width and height of the images: a raw calibration describes rectified ones of one
            size and distorted ones of another.
        requested: the only camera to read: the lines of the others may be of no use.

    Raises:
        CalibrationError: a line is missing or has another count of numbers, or there is no such
            camera.
    """
    lines = _Lines.parse(text, path)
    is_raw = any(key.startswith("P_rect_") for key in lines.values)
    prefix, default = ("P_rect_", "02") if is_raw else ("P", "0")
    found = [key.removeprefix(prefix) for key in lines.values if key.startswith(prefix)]
    names = [name for name in found if name.isdecimal()]
    make = _raw_camera if is_raw else _odometry_camera
    if names and requested is not None:
        names = [_requested_name(names, str(requested), path)]
    cameras = [make(lines, name, size) for name in names]
    return [replace(camera, is_default=camera.name == default) for camera in cameras]


def _requested_name(names: list[str], requested: str, path: Path) -> str:
    same = [name for name in names if is_same_name(name, requested)]
    if len(same) != 1:
        raise no_such_camera(str(path), requested, names)
    return same[0]


def _odometry_camera(lines: _Lines, name: str, _: tuple[int, int]) -> FileCamera:
    P = lines.numbers(f"P{name}", 3, 4)
    fields = CameraInfoFields(width=0, height=0, K=P[:, :3])
    reason = "KITTI's sequences are rectified"
    return FileCamera(name=name, fields=fields, is_rectified=True, reason=reason)


def _raw_camera(lines: _Lines, name: str, size: tuple[int, int]) -> FileCamera:
    P = lines.numbers(f"P_rect_{name}", 3, 4)
    raw_size, rectified_size = (lines.size(key + name) for key in ("S_", "S_rect_"))
    if size == raw_size != rectified_size:
        fields = CameraInfoFields(
            width=size[0],
            height=size[1],
            K=lines.numbers(f"K_{name}", 9),
            D=lines.numbers(f"D_{name}", 5),
            R=lines.numbers(f"R_rect_{name}", 9),
            P=P,
        )
        return FileCamera(
            name=name, fields=fields, is_rectified=False, reason=f"they have the size S_{name}"
        )
    if rectified_size not in (None, size):
        sizes = ((rectified_size, "rectified"), (raw_size, "distorted"))
        known = " or ".join(f"{s[0]}x{s[1]} ({kind})" for s, kind in sizes if s is not None)
        raise CalibrationError(
            f"{lines.path}, camera {name}: the image is {size[0]}x{size[1]}, but the calibration "
            f"is for images of {known}"
        )
    width, height = rectified_size or (0, 0)
    return FileCamera(
        name=name,
        fields=CameraInfoFields(width=width, height=height, K=P[:, :3]),
        is_rectified=True,
        reason=f"they have the size S_rect_{name}" if rectified_size else "P_rect is given alone",
    )
