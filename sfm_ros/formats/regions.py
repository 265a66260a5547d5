"""Region of interest and binning: from the calibrated image to the one that is sent.

CameraInfo states K and P for the full calibrated image, and the region in its pixels, before
binning (REP 104). Some drivers state the size, K or P of the cropped or binned image already and
leave the region as it is; the principal point shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError

NEAR_CENTER = 0.25
"""Principal points of cameras that are not cropped are this near to the center, in image sizes."""
_CLEAR = 2.0
"""One of two principal points is the right one if the other is this many times farther off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """The part of the calibrated image that is sent; zeros mean all of it, without binning.

    Attributes:
        x, y: its top left pixel.
        width, height: its size before binning.
        bins_x, bins_y: pixels that are joined into one.
    """

    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
    bins_x: int = 0
    bins_y: int = 0


FULL = Region()
_AS_SENT = "K is taken as of the images that are sent, by its principal point"
_Change = Callable[[CameraIntrinsics], CameraIntrinsics]
_Applied = tuple[CameraIntrinsics, tuple[str, ...], str]


def off_center(camera: CameraIntrinsics) -> float:
    """Distance of the principal point from the center of the image, in its widths or heights."""
    x = (camera.cx + 0.5) / camera.width - 0.5
    y = (camera.cy + 0.5) / camera.height - 0.5
    return max(abs(x), abs(y))


def projection_camera(camera: CameraIntrinsics) -> CameraIntrinsics | None:
    """The pinhole camera of P, at the size of the image; None if there is no P."""
    P = camera.P
    if P is None or P[0, 0] <= 0 or P[1, 1] <= 0:
        return None
    return CameraIntrinsics.from_matrix(camera.width, camera.height, P)


def applied(region: Region, camera: CameraIntrinsics, origin: str) -> _Applied:
    """The camera of the images that are sent, remarks, and how their size follows.

    Raises:
        CalibrationError: the region is not a part of the calibrated image, and the principal
            point does not show which image K and P are of.
    """
    cropped, remarks, note = _cropped(region, camera, origin)
    binned, more, note_of_bins = _binned(region, cropped)
    return binned, (*remarks, *more), ", then ".join(filter(None, (note, note_of_bins)))


def _cropped(region: Region, camera: CameraIntrinsics, origin: str) -> _Applied:
    if not (region.width and region.height):
        return camera, (), ""
    box = region.x, region.y, region.width, region.height

    def crop(whole: CameraIntrinsics) -> CameraIntrinsics:
        return whole.cropped(*box)

    def resize(cut: CameraIntrinsics) -> CameraIntrinsics:
        return replace(cut, width=region.width, height=region.height)

    right, bottom = region.x + region.width, region.y + region.height
    if right <= camera.width and bottom <= camera.height:
        size = (camera.width, camera.height)
        note = f"the region of interest {_box(region)} of {size[0]}x{size[1]} is applied"
        note = "" if size == box[2:] else note
        if _is_changed_already(camera, resize(camera)):
            return resize(camera), (f"{note}: {_AS_SENT}",), note
        return crop(camera), (), note

    problem = (
        f"the region of interest {_box(region)} is outside of the {camera.width}x{camera.height} "
        "image that is calibrated"
    )
    if (camera.width, camera.height) != box[2:]:
        raise CalibrationError(
            f"{origin}: {problem}; correct the region or the size in the driver's calibration"
        )
    chosen, names = _by_principal_points(camera, crop, resize)
    if chosen is None:
        raise CalibrationError(
            f"{origin}: {problem}, and the principal point does not show which image K is of; "
            "correct the region in the driver, or pass a calibration of the images that are sent"
        )
    return chosen, (f"{problem}: {names}",), ""


def _by_principal_points(
    camera: CameraIntrinsics, change: _Change, keep: _Change
) -> tuple[CameraIntrinsics | None, str]:
    """K and P each as changed or as they are, whichever is centered; None if it is not clear."""
    changed, kept = change(camera), keep(camera)
    K_changed = _is_nearer(changed, kept)
    if K_changed is None:
        return None, ""
    chosen, P_changed = (changed if K_changed else kept), K_changed
    P_cameras = projection_camera(changed), projection_camera(kept)
    if P_cameras[0] is not None and P_cameras[1] is not None:
        nearer = _is_nearer(P_cameras[0], P_cameras[1])
        P_changed = K_changed if nearer is None else nearer
        chosen = replace(chosen, P=(changed if P_changed else kept).P)
    full, sent = "of the full image", "of the images that are sent"
    names = f"K is taken as {full if K_changed else sent}"
    if P_changed != K_changed:
        names += f", P as {full if P_changed else sent}"
    return chosen, f"{names}, by its principal point"


def _is_nearer(first: CameraIntrinsics, second: CameraIntrinsics) -> bool | None:
    """Whether the first principal point is the centered one of two; None if it is not clear."""
    distances = off_center(first), off_center(second)
    if min(distances) > NEAR_CENTER or max(distances) < _CLEAR * min(distances):
        return None
    return distances[0] < distances[1]


def _binned(region: Region, camera: CameraIntrinsics) -> _Applied:
    bins_x, bins_y = max(region.bins_x, 1), max(region.bins_y, 1)
    if (bins_x, bins_y) == (1, 1):
        return camera, (), ""
    width, height = camera.width // bins_x, camera.height // bins_y
    note = f"{camera.width}x{camera.height} is binned {bins_x}x{bins_y}"
    binned = camera.resized(width, height)
    as_is = replace(camera, width=width, height=height)
    if _is_changed_already(camera, as_is):
        return as_is, (f"{note}: {_AS_SENT}",), note
    return binned, (), note


def _is_changed_already(camera: CameraIntrinsics, as_sent: CameraIntrinsics) -> bool:
    """Whether K fits the images that are sent and not the full image of which it should be."""
    return off_center(camera) > NEAR_CENTER and _is_nearer(as_sent, camera) is True


def _box(region: Region) -> str:
    return f"{region.width}x{region.height} at ({region.x}, {region.y})"


def is_same_camera(first: CameraIntrinsics, second: CameraIntrinsics) -> bool:
    """Whether two pinhole cameras differ by rounding only."""
    focal = np.allclose([first.fx, first.fy], [second.fx, second.fy], rtol=1e-3)
    center = np.allclose([first.cx, first.cy], [second.cx, second.cy], atol=0.5, rtol=0)
    return bool(focal and center)
