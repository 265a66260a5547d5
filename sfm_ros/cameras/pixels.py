"""Decides which calibration the pixels of a camera's images belong to: K and D, or P.

CameraInfo states K and D of the image as it is taken, and P of the image after rectification; the
images that come with it may be either. Recordings often hold rectified images beside the
calibration of the raw ones, and simulators leave P at a default. Here alone it is decided, for the
node, the evaluation, the demo, the preparation of training data and the doctor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.camera_info import StatedCamera
from sfm_ros.formats.files import words_of
from sfm_ros.formats.regions import (
    NEAR_CENTER,
    is_same_camera,
    off_center,
    projection_camera,
)
from sfm_ros.preprocess import needs_undistortion, rectified_camera, undistort_map

_RECTIFIED_WORDS = frozenset("rect rectified rectify undistorted undistort undist".split())
_LEAVES_IMAGE = 0.08
"""Share of undistorted pixels outside of the image: more than a lens leaves on one side."""
_LEAVES_MOSTLY = 0.5
_ON_ONE_SIDE = 0.25
"""At most this share of the pixels that are outside is beyond the left and the upper border."""
_NEARER_TO_CENTER = 0.04
"""Image sizes by which P's principal point is nearer to the center than K's."""
_OUTSIDE = 0.5
"""Distance from the center, in image sizes, of a principal point on the border."""
_SIMULATOR_PROJECTION = (277.0, 160.0, 120.0)
"""fx, cx and cy of a 320x240 image: what a simulator publishes whatever the size of its images."""
_SAMPLES = 64
_SAME_FOCAL = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PixelCamera:
    """The camera that the pixels of an image belong to, and why.

    Attributes:
        origin: topic or file of the calibration.
        intrinsics: of the pixels: distortion and R only if they are to be undistorted.
        is_rectified: the images are taken as rectified.
        used: what of the calibration is used, such as "P" or "K and D".
        reason: why, as part of a sentence.
        is_doubtful: the calibration contradicts the images in part; a person should look at it.
        remarks: what else was unusual, a sentence each.
        size_note: how the size follows from the calibrated one; empty if they are equal.
    """

    origin: str
    intrinsics: CameraIntrinsics
    is_rectified: bool
    used: str
    reason: str
    is_doubtful: bool = False
    remarks: tuple[str, ...] = ()
    size_note: str = ""

    @property
    def focal_px(self) -> float:
        """Focal length of the pixels, fx of K or P."""
        return self.intrinsics.fx

    @property
    def focal_text(self) -> str:
        """The focal length that is used; of images to be undistorted also that of the result."""
        text, rectified = f"fx {self.focal_px:.1f}", rectified_camera(self.intrinsics).fx
        changes = abs(rectified / self.focal_px - 1) > _SAME_FOCAL
        return f"{text} (undistorted {rectified:.1f})" if changes else text

    @property
    def text(self) -> str:
        """What was taken and why, in one sentence."""
        state = "rectified" if self.is_rectified else "raw"
        model = f" ({self.intrinsics.distortion_model})" if self.intrinsics.is_distorted else ""
        text = (
            f"{self.origin}: the images are taken as {state}, with {self.used}{model}, "
            f"{self.focal_text}: {self.reason}"
        )
        return "; ".join([text, *self.remarks])

    def require_size(self, width: int, height: int, images: str) -> None:
        """Raise CalibrationError if images of this size are not the camera's."""
        camera = self.intrinsics
        if (width, height) != (camera.width, camera.height):
            note = f" ({self.size_note})" if self.size_note else ""
            raise CalibrationError(
                f"{images} is {width}x{height}, but the calibration is for "
                f"{camera.width}x{camera.height}{note}; pass the calibration of these images"
            )


def given_camera(intrinsics: CameraIntrinsics) -> PixelCamera:
    """The camera of a program that states exactly what its images are."""
    return PixelCamera(
        origin="the program",
        intrinsics=intrinsics,
        is_rectified=not needs_undistortion(intrinsics),
        used="K and D" if needs_undistortion(intrinsics) else "K",
        reason="it comes with the images",
    )


def choose_camera(
    stated: StatedCamera, names: Sequence[str] = (), input: str = "auto"
) -> PixelCamera:
    """The camera that the images of a calibration have.

    Args:
        stated: what the message or file states.
        names: of the images: their topic and that of the calibration, or their folder.
        input: see ``PreprocessConfig.input``; ``rectified`` and ``raw`` decide it.

    Raises:
        CalibrationError: the calibration contradicts the images or itself, so that neither K nor
            P can be used without an error.
    """
    option = f"preprocess.input is '{input}'"
    if input == "rectified":
        return _rectified(stated, option)
    if input == "raw":
        return _raw(stated, option)
    if stated.is_rectified is not None:
        return (_rectified if stated.is_rectified else _raw)(stated, stated.reason)
    rectified_name = next(filter(_is_rectified_name, names), None)
    if not stated.has_K:
        return _from_projection_alone(stated, rectified_name)
    if not needs_undistortion(stated.intrinsics):
        return _pinhole(stated, rectified_name)
    if rectified_name is not None:
        return _rectified_by_name(stated, rectified_name)
    return _by_geometry(stated)


def _is_rectified_name(name: str) -> bool:
    return not _RECTIFIED_WORDS.isdisjoint(words_of(name))


def _chosen(
    stated: StatedCamera,
    intrinsics: CameraIntrinsics,
    used: str,
    reason: str,
    *,
    is_rectified: bool,
    is_doubtful: bool = False,
) -> PixelCamera:
    return PixelCamera(
        origin=stated.origin,
        intrinsics=intrinsics,
        is_rectified=is_rectified,
        used=used,
        reason=reason,
        is_doubtful=is_doubtful or bool(stated.remarks),
        remarks=stated.remarks,
        size_note=stated.size_note,
    )


def _rectified(stated: StatedCamera, reason: str, is_doubtful: bool = False) -> PixelCamera:
    """The images are rectified: P is theirs, or K if there is no P."""
    camera = projection_camera(stated.intrinsics)
    if camera is not None:
        return _chosen(stated, camera, "P", reason, is_rectified=True, is_doubtful=is_doubtful)
    raw = stated.intrinsics
    camera = CameraIntrinsics.from_matrix(raw.width, raw.height, raw.K)
    return _chosen(stated, camera, "K", f"{reason}, and there is no P", is_rectified=True)


def _raw(stated: StatedCamera, reason: str, use_P: bool = True) -> PixelCamera:
    """The images are as they were taken: K, D and R are theirs."""
    camera = stated.intrinsics
    if not stated.has_K:
        raise CalibrationError(
            f"{stated.origin}: there is no K, only P, but {reason}; calibrate the camera, or set "
            "preprocess.input to 'rectified'"
        )
    _require_coefficients(stated)
    if not needs_undistortion(camera):
        camera, used = replace(camera, P=None, R=None), "K"
    else:
        camera, used = camera if use_P else replace(camera, P=None), "K and D"
        if not camera.is_distorted:
            used = "K and R"
    return _chosen(stated, camera, used, reason, is_rectified=False, is_doubtful=not use_P)


def _require_coefficients(stated: StatedCamera) -> None:
    camera = stated.intrinsics
    if camera.is_distorted and not camera.distortion:
        raise CalibrationError(
            f"{stated.origin}: the model '{camera.distortion_model}' comes without coefficients; "
            "expected 4, zeros for an ideal lens, or preprocess.input 'rectified' if the images "
            "are rectified"
        )


def _from_projection_alone(stated: StatedCamera, name: str | None) -> PixelCamera:
    if needs_undistortion(stated.intrinsics) and name is None:
        raise CalibrationError(
            f"{stated.origin}: there is no K, but distortion or R, so that raw images cannot be "
            "undistorted; if the images are rectified, set preprocess.input to 'rectified'"
        )
    return _rectified(stated, "only P is given, K is zero", is_doubtful=True)


def _pinhole(stated: StatedCamera, name: str | None) -> PixelCamera:
    """Without distortion and rotation K and P are of the same image, and should be equal."""
    K_camera = stated.intrinsics
    P_camera = projection_camera(K_camera)
    if P_camera is None or is_same_camera(K_camera, P_camera):
        return _chosen(stated, K_camera, "K", "there is no distortion", is_rectified=True)
    differs = (
        f"there is no distortion and no rotation, but P ({_numbers(P_camera)}) is not K "
        f"({_numbers(K_camera)})"
    )
    K_distance, P_distance = off_center(K_camera), off_center(P_camera)
    if min(K_distance, P_distance) > _OUTSIDE:
        raise CalibrationError(
            f"{stated.origin}: {differs}, and neither principal point is in the "
            f"{K_camera.width}x{K_camera.height} image; calibrate the camera in the mode in use"
        )
    takes_P = K_distance > NEAR_CENTER >= P_distance or (
        name is not None and P_distance <= NEAR_CENTER and not _is_default(P_camera)
    )
    if takes_P:
        why = f"{name} is rectified by its name" if K_distance <= NEAR_CENTER else _CENTERED
        return _rectified(stated, f"{differs}; {why}", is_doubtful=True)
    why = "such images are K's"
    if P_distance > NEAR_CENTER:
        why = "P's principal point is far from the center of the image"
    K_only = replace(K_camera, P=None, R=None)
    return _chosen(stated, K_only, "K", f"{differs}; {why}", is_rectified=True, is_doubtful=True)


def _numbers(camera: CameraIntrinsics) -> str:
    names = ("fx", "fy", "cx", "cy")
    return ", ".join(f"{name} {getattr(camera, name):.1f}" for name in names)


_CENTERED = "only P's principal point is near the center of the image"


def _is_default(camera: CameraIntrinsics) -> bool:
    return np.allclose((camera.fx, camera.cx, camera.cy), _SIMULATOR_PROJECTION, atol=1.0, rtol=0)


def _rectified_by_name(stated: StatedCamera, name: str) -> PixelCamera:
    P_camera = projection_camera(stated.intrinsics)
    if P_camera is None:
        raise CalibrationError(
            f"{stated.origin}: {name} is rectified by its name, but the calibration has "
            "distortion or a rotation and no P; set preprocess.input to 'raw' if the images are "
            "not rectified, or pass the calibration of the rectified images"
        )
    if off_center(P_camera) > _OUTSIDE >= off_center(stated.intrinsics):
        raise CalibrationError(
            f"{stated.origin}: {name} is rectified by its name, but the principal point of P is "
            f"({P_camera.cx:.0f}, {P_camera.cy:.0f}), outside of the {P_camera.width}x"
            f"{P_camera.height} image; pass the calibration of the rectified images, or set "
            "preprocess.input"
        )
    return _rectified(stated, f"{name} is rectified by its name", is_doubtful=True)


def _by_geometry(stated: StatedCamera) -> PixelCamera:
    """Distortion or a rotation is stated; K and P show whether the images still have it."""
    P_camera = projection_camera(stated.intrinsics)
    if P_camera is None:
        return _raw(stated, "the calibration has distortion and no P")
    _require_coefficients(stated)
    K_distance, P_distance = off_center(stated.intrinsics), off_center(P_camera)
    outside, before = _share_outside(stated.intrinsics, P_camera)
    leaves = f"undistorting them would leave the image for {outside:.0%} of the pixels"
    if K_distance > NEAR_CENTER >= P_distance:
        return _rectified(stated, f"{_CENTERED}, and {leaves}", is_doubtful=True)
    if K_distance <= NEAR_CENTER < P_distance:
        reason = "P is not used, its principal point is far from the center of the image"
        return _raw(stated, reason, use_P=False)
    is_one_sided = outside > _LEAVES_IMAGE and before <= _ON_ONE_SIDE * outside
    if is_one_sided and P_distance < K_distance - _NEARER_TO_CENTER:
        reason = f"{leaves}, and P's principal point is nearer to the center than K's"
        return _rectified(stated, reason, is_doubtful=True)
    if outside > _LEAVES_MOSTLY:
        if min(K_distance, P_distance) > NEAR_CENTER:
            raise CalibrationError(
                f"{stated.origin}: neither K nor P can be of these images: their principal points "
                f"are far from the center, and {leaves}; calibrate the camera in the mode in use"
            )
        return _raw(stated, f"P is not used, {leaves}", use_P=False)
    return _raw(stated, "the calibration has distortion or a rotation that fits the images")


def _share_outside(raw: CameraIntrinsics, rectified: CameraIntrinsics) -> tuple[float, float]:
    """Share of the rectified pixels that are outside of the raw image; of it left or above."""
    grid = rectified.resized(_SAMPLES, _SAMPLES)
    x, y = undistort_map(raw, grid)
    before = (x < -0.5) | (y < -0.5)
    outside = before | ~((x <= raw.width - 0.5) & (y <= raw.height - 0.5))  # NaN is outside
    return float(outside.mean()), float(before.mean())
