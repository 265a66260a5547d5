"""KITTI's calibration files: a line ``key: numbers`` for each matrix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sfm_ros.datatypes import CameraIntrinsics, FloatArray
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.camera_info import CameraInfoFields, calibration_from_fields, parse_numbers
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
        return tuple(map(int, self.numbers(key, 2))) if key in self.values else None


def read_kitti_numbers(path: str | Path, key: str, *shape: int) -> FloatArray:
    """The numbers after ``key:`` in a KITTI calibration file, in a shape.

    Raises:
        CalibrationError: no such file or line, or another count of finite numbers.
    """
    path = Path(path)
    text = read_text(path, "calibration", CalibrationError)
    return _Lines.parse(text, path).numbers(key, *shape)


def calibration_from_kitti(
    text: str, path: Path, size: tuple[int, int], camera: str | int | None
) -> CameraIntrinsics:
    """The camera of images of a size (width, height) in a raw or an odometry calibration.

    ``text`` is the content of the file, ``path`` is for messages; see `read_calibration`.
    """
    lines = _Lines.parse(text, path)
    name, prefix = _find_camera(lines, camera)
    P = lines.numbers(prefix + name, 3, 4)
    origin = f"{path}, camera {name}"
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
        return calibration_from_fields(fields, origin)
    if rectified_size not in (None, size):
        sizes = ((rectified_size, "rectified"), (raw_size, "distorted"))
        known = " or ".join(f"{s[0]}x{s[1]} ({kind})" for s, kind in sizes if s is not None)
        raise CalibrationError(
            f"{origin}: the image is {size[0]}x{size[1]}, but the calibration is for images of "
            f"{known}"
        )
    fields = CameraInfoFields(width=size[0], height=size[1], K=P[:, :3])
    return calibration_from_fields(fields, origin)


def _find_camera(lines: _Lines, camera: str | int | None) -> tuple[str, str]:
    """Name of the camera as the file writes it, and the prefix of its projection's key."""
    is_raw = any(key.startswith("P_rect_") for key in lines.values)
    prefix, digits, default = ("P_rect_", 2, "02") if is_raw else ("P", 1, "0")
    found = [key.removeprefix(prefix) for key in lines.values if key.startswith(prefix)]
    if not found:
        raise CalibrationError(
            f"{lines.path} is no known calibration: expected a camera_info .yaml file, KITTI's "
            "calib.txt (lines 'P0: ...'), KITTI's calib_cam_to_cam.txt (lines 'P_rect_02: ...') "
            f"or the nine numbers of K; found {', '.join(lines.values) or 'no line of these'}"
        )
    if camera is None and len(found) == 1:
        return found[0], prefix
    name = str(default if camera is None else camera).lstrip("0").zfill(digits)
    if name in found:
        return name, prefix
    raise CalibrationError(
        f"{lines.path}: no camera {name}; the file has {', '.join(found)}; name one of them"
    )
