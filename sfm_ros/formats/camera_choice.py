"""The camera of a calibration file with several that belongs to the images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sfm_ros.errors import CalibrationError, printable
from sfm_ros.formats.camera_info import CameraInfoFields, StatedCamera, state_camera


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FileCamera:
    """One camera of a calibration file.

    Attributes:
        name: as the file gives it; empty if the file is of one camera.
        fields: its numbers; a width and height of 0 mean that the file does not hold them.
        topic: on which its images were recorded; empty if the file does not state it.
        is_rectified, reason: see `StatedCamera`.
        is_default: taken if nothing shows which camera it is.
    """

    name: str
    fields: CameraInfoFields
    topic: str = ""
    is_rectified: bool | None = None
    reason: str = ""
    is_default: bool = False

    @property
    def has_size(self) -> bool:
        """Whether the file holds the size of its images."""
        return bool(self.fields.width and self.fields.height)


def camera_of_images(
    cameras: Sequence[FileCamera],
    origin: str,
    size: tuple[int, int] | None,
    requested: str | int | None,
    names: Sequence[str],
) -> StatedCamera:
    """The camera that was requested, or the one that names or the size show.

    Args:
        cameras: at least one.
        origin: the file, for messages.
        size: width and height of the images; None if they are not known.
        requested: name of the camera; a number is enough, such as 0 for ``cam0``.
        names: of the images: their topics or folders.

    Raises:
        CalibrationError: there is no such camera, several remain, or the size does not fit.
    """
    chosen, remarks = _choose(cameras, origin, size, requested, names)
    fields = chosen.fields
    if not chosen.has_size:
        if size is None:
            raise CalibrationError(
                f"the calibration {origin} does not hold the image's size; pass width and height"
            )
        fields = replace(fields, width=size[0], height=size[1])
    name = f"{origin}, camera {chosen.name}" if chosen.name else origin
    stated = state_camera(fields, name)
    camera = stated.intrinsics
    if size is not None and size != (camera.width, camera.height):
        note = f" ({stated.size_note})" if stated.size_note else ""
        raise CalibrationError(
            f"{name}: the calibration is for {camera.width}x{camera.height} images{note}, but "
            f"the image is {size[0]}x{size[1]}; calibrate at this size or scale fx, fy, cx, cy "
            "with it"
        )
    return replace(
        stated,
        is_rectified=chosen.is_rectified,
        reason=chosen.reason,
        remarks=(*stated.remarks, *remarks),
    )


def _choose(
    cameras: Sequence[FileCamera],
    origin: str,
    size: tuple[int, int] | None,
    requested: str | int | None,
    names: Sequence[str],
) -> tuple[FileCamera, tuple[str, ...]]:
    """The camera, and what must be known about the choice."""
    all_names = [camera.name for camera in cameras]
    if requested is not None:
        found = [c for c in cameras if _is_named(c, str(requested))]
        if len(found) == 1:
            return found[0], ()
        raise no_such_camera(origin, requested, all_names)
    left = _of_names(cameras, names) or _of_size(cameras, size) or list(cameras)
    if all(_is_equal(camera, left[0]) for camera in left):
        return left[0], ()
    default = [camera for camera in left if camera.is_default]
    listed = _listed(all_names)
    if not default:
        raise CalibrationError(
            f"{origin}: the file has several cameras ({listed}), and neither the folder or topic "
            "nor the size of the images shows which they are of; name it with --camera"
        )
    remark = f"of the cameras {listed} camera {default[0].name} is taken; --camera names another"
    return default[0], (remark,)


def no_such_camera(origin: str, requested: str | int, names: Sequence[str]) -> CalibrationError:
    """The error if not exactly one of the cameras of a file, whose names are given, is named."""
    return CalibrationError(
        f"{origin}: no camera {requested}; the file has {_listed(names)}; name one of them"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(printable(name, 30) or "one without a name" for name in names)


def _is_named(camera: FileCamera, text: str) -> bool:
    return is_same_name(camera.name, text) or (text == camera.topic != "")


def is_same_name(first: str, second: str) -> bool:
    """Whether two names are of the same camera: a number is enough, such as 0 for ``cam0``."""
    return _short(first) == _short(second)


def _short(name: str) -> str:
    """``cam0``, ``camera_0``, ``image_00`` and ``0`` are the same camera."""
    lower = name.lower()
    number = re.fullmatch(r"(?:cam|camera|image)?_?0*(\d+)", lower)
    return number.group(1) if number else lower


def _of_names(cameras: Sequence[FileCamera], names: Sequence[str]) -> list[FileCamera]:
    """Those that a topic or a part of a folder names; none if there is no such."""
    topics = {name.removesuffix("/compressed").strip("/") for name in names}
    of_topic = [c for c in cameras if c.topic and c.topic.strip("/") in topics]
    if of_topic:
        return of_topic
    parts = [part for name in names for part in re.split(r"[/\\]", name) if _is_camera_part(part)]
    for part in reversed(parts):
        found = [camera for camera in cameras if camera.name and _is_named(camera, part)]
        if found:
            return found
    return []


def _is_camera_part(part: str) -> bool:
    """Whether a part of a path may name a camera; a bare number names frames or sequences."""
    return bool(part) and not part.isdecimal()


def _of_size(cameras: Sequence[FileCamera], size: tuple[int, int] | None) -> list[FileCamera]:
    return [c for c in cameras if (c.fields.width, c.fields.height) == size]


def _is_equal(first: FileCamera, second: FileCamera) -> bool:
    """Whether it does not matter which of two is taken; the baseline in P is not used."""
    return first is second or repr(_numbers(first)) == repr(_numbers(second))


def _numbers(camera: FileCamera) -> list[Any]:
    fields = camera.fields
    P = np.array([]) if fields.P is None else np.ravel(np.asarray(fields.P, dtype=object))
    used = [value for index, value in enumerate(P.tolist()) if index % 4 != 3]
    matrices = [np.ravel(np.asarray(m, dtype=object)).tolist() for m in (fields.K, fields.D)]
    R = None if fields.R is None else np.ravel(np.asarray(fields.R, dtype=object)).tolist()
    return [fields.width, fields.height, fields.distortion_model, *matrices, R, used]
