"""Turns a camera image into network input: rectify, crop and resize in one cached remap."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from sfm_ros.datatypes import (
    EQUIDISTANT_MODELS,
    CameraIntrinsics,
    FloatArray,
    Frame,
    RgbImage,
    read_only,
)
from sfm_ros.errors import CalibrationError, ImageError

PixelMaps = tuple[Any, Any]
"""Source coordinates x and y of each target pixel, (h, w) each."""

_PLUMB_BOB = ("plumb_bob", "rational_polynomial")
_LONGEST_SIDE = 32766
"""Pixels; OpenCV's remap does not take longer images."""
_LARGEST_UPSCALE = 8
"""An image that must be enlarged by more has no detail that the networks could use."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """Network input.

    Attributes:
        rgb: (h, w, 3) uint8 on the network's grid, read-only.
        intrinsics: pinhole camera of this image, without distortion.
        elapsed_ns: time it took to prepare.
    """

    rgb: RgbImage
    intrinsics: CameraIntrinsics
    elapsed_ns: int


def rectified_camera(intrinsics: CameraIntrinsics) -> CameraIntrinsics:
    """The pinhole camera of the rectified image, at the size of the incoming image.

    This is the projection P if camera_info has one, else K.
    """
    P = intrinsics.P
    K = P if P is not None and P[0, 0] > 0 else intrinsics.K
    return CameraIntrinsics.from_matrix(intrinsics.width, intrinsics.height, K)


def plan_target_camera(camera: CameraIntrinsics, width: int, height: int) -> CameraIntrinsics:
    """The camera after the largest crop with the target's aspect, scaled to width x height.

    The principal point is as close to the center of the crop as the image allows, so that the
    horizon is at the same height as in training, for any camera aspect.

    Args:
        camera: a camera without distortion.
        width, height: size of the target in pixels.
    """
    scale = max(width / camera.width, height / camera.height)
    crop_width, crop_height = width / scale, height / scale
    x = float(np.clip(camera.cx + 0.5 - crop_width / 2, 0, camera.width - crop_width))
    y = float(np.clip(camera.cy + 0.5 - crop_height / 2, 0, camera.height - crop_height))
    return CameraIntrinsics(
        width=width,
        height=height,
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=(camera.cx + 0.5 - x) * scale - 0.5,
        cy=(camera.cy + 0.5 - y) * scale - 0.5,
    )


_FITS = {"crop": plan_target_camera, "stretch": CameraIntrinsics.resized}


def undistort_map(source: CameraIntrinsics, target: CameraIntrinsics) -> PixelMaps:
    """Source coordinates of each target pixel: two (h, w) float32 maps, x and y.

    Args:
        source: camera of the incoming image, with distortion and R if the image is not rectified.
        target: pinhole camera of the result.

    Raises:
        CalibrationError: the distortion model is unknown.
    """
    size = (target.width, target.height)
    if not needs_undistortion(source):
        return _pinhole_map(rectified_camera(source), target)
    R, D = _rotation_and_distortion(source)
    if source.distortion_model in EQUIDISTANT_MODELS:
        return cv2.fisheye.initUndistortRectifyMap(source.K, D, R, target.K, size, cv2.CV_32FC1)
    if source.distortion_model not in _PLUMB_BOB and source.is_distorted:
        raise CalibrationError(
            f"unknown distortion model '{source.distortion_model}', expected one of: "
            + ", ".join(_PLUMB_BOB + EQUIDISTANT_MODELS)
        )
    return cv2.initUndistortRectifyMap(source.K, D, R, target.K, size, cv2.CV_32FC1)


def normalized_points(source: CameraIntrinsics, pixels: FloatArray) -> FloatArray:
    """(N, 2) coordinates x/z, y/z in the rectified camera of (N, 2) pixels of an image."""
    if len(pixels) == 0 or not needs_undistortion(source):
        camera = rectified_camera(source)
        return (pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy]
    R, D = _rotation_and_distortion(source)
    points = np.ascontiguousarray(pixels, dtype=np.float64)[:, None]
    if source.distortion_model in EQUIDISTANT_MODELS:
        return np.asarray(cv2.fisheye.undistortPoints(points, source.K, D, R=R)[:, 0], np.float64)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-7)
    found = cv2.undistortPointsIter(points, source.K, D, R, np.eye(3), criteria)
    return np.asarray(found[:, 0], np.float64)


def _rotation_and_distortion(source: CameraIntrinsics) -> tuple[FloatArray, FloatArray]:
    """(3, 3) rotation to the rectified camera, and the coefficients as OpenCV takes them."""
    R = np.eye(3) if source.R is None or not np.any(source.R) else source.R
    D = np.asarray(source.distortion, dtype=np.float64)
    if source.distortion_model in EQUIDISTANT_MODELS:
        D = np.zeros(4) if D.size == 0 else D[:4]
    return R, D


def _pinhole_map(source: CameraIntrinsics, target: CameraIntrinsics) -> PixelMaps:
    x = (np.arange(target.width) - target.cx) / target.fx * source.fx + source.cx
    y = (np.arange(target.height) - target.cy) / target.fy * source.fy + source.cy
    map_x, map_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    return map_x, map_y


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Plan:
    """What is computed once per calibration."""

    target: CameraIntrinsics
    shrink: int
    maps: PixelMaps


class ImagePreparer:
    """Turns frames into network input; the remap table is computed once per calibration.

    An image that shrinks by two or more is first averaged down by an integer factor, because a
    bilinear remap alone would skip pixels and make distant texture flicker.

    Args:
        width, height: size of the network's input in pixels.
        fit: ``crop`` keeps the aspect (`plan_target_camera`; used by the node); ``stretch`` keeps
            the whole image and changes its aspect, as published evaluations do.
    """

    def __init__(self, width: int, height: int, fit: str = "crop") -> None:
        self._width, self._height = width, height
        self._fit = _FITS[fit]
        self._source: CameraIntrinsics | None = None
        self._key: tuple | None = None
        self._plan: _Plan | None = None

    def prepare(self, frame: Frame) -> Prepared:
        """Resample a frame to the network's grid.

        The same ``intrinsics`` object is returned while the calibration does not change.

        Raises:
            CalibrationError: the distortion model is unknown.
            ImageError: the image is far smaller than the network's input, or too large.
        """
        start = time.perf_counter_ns()
        plan = self._plan_for(frame.intrinsics)
        rgb = read_only(_resampled(frame.rgb, plan))
        elapsed_ns = time.perf_counter_ns() - start
        return Prepared(rgb=rgb, intrinsics=plan.target, elapsed_ns=elapsed_ns)

    def _plan_for(self, intrinsics: CameraIntrinsics) -> _Plan:
        if self._plan is not None and intrinsics is self._source:
            return self._plan
        key = calibration_key(intrinsics)
        if self._plan is None or key != self._key:
            self._plan = self._make_plan(intrinsics)
            self._key = key
        self._source = intrinsics
        return self._plan

    def _make_plan(self, intrinsics: CameraIntrinsics) -> _Plan:
        camera = rectified_camera(intrinsics)
        target = self._fit(camera, self._width, self._height)
        map_x, map_y = undistort_map(intrinsics, target)
        shrink = max(1, int(min(camera.fx / target.fx, camera.fy / target.fy)))
        _check_size(camera, target, shrink)
        # Pixel centers are integers: c in the image is (c + 0.5) / s - 0.5 in the averaged one.
        maps = cv2.convertMaps(
            (map_x + 0.5) / shrink - 0.5, (map_y + 0.5) / shrink - 0.5, cv2.CV_16SC2
        )
        return _Plan(target=target, shrink=shrink, maps=maps)


def _check_size(camera: CameraIntrinsics, target: CameraIntrinsics, shrink: int) -> None:
    found = f"the image is {camera.width}x{camera.height}"
    least = -(-target.width // _LARGEST_UPSCALE), -(-target.height // _LARGEST_UPSCALE)
    if camera.width < least[0] or camera.height < least[1]:
        raise ImageError(
            f"{found}, expected at least {least[0]}x{least[1]} for a network input of "
            f"{target.width}x{target.height}"
        )
    if max(camera.width, camera.height) // shrink > _LONGEST_SIDE:
        raise ImageError(
            f"{found}, expected at most {_LONGEST_SIDE} pixels on a side; crop it before "
            "publishing it"
        )


def _resampled(rgb: RgbImage, plan: _Plan) -> RgbImage:
    if rgb.strides[2] < 0:
        # A view of a BGR image: OpenCV would copy all of it, and the result is a tenth in size.
        bgr = _resampled(rgb[:, :, ::-1], plan)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    small = cv2.remap(_averaged_down(rgb, plan.shrink), *plan.maps, cv2.INTER_LINEAR)
    return np.asarray(small, dtype=np.uint8)


def _averaged_down(rgb: RgbImage, factor: int) -> RgbImage:
    if factor == 1:
        return rgb
    height, width = rgb.shape[0] // factor, rgb.shape[1] // factor
    whole = rgb[: height * factor, : width * factor]
    smaller = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, dtype=np.uint8)


def needs_undistortion(intrinsics: CameraIntrinsics) -> bool:
    """Whether an image with this calibration is distorted or not yet rotated by R."""
    R = intrinsics.R
    is_rotated = R is not None and np.any(R) and not np.allclose(R, np.eye(3))
    return intrinsics.is_distorted or bool(is_rotated)


def calibration_key(intrinsics: CameraIntrinsics) -> tuple:
    """A hashable value that is equal if and only if two calibrations are."""
    values = (getattr(intrinsics, field.name) for field in fields(intrinsics))
    return tuple(v.tobytes() if isinstance(v, np.ndarray) else v for v in values)
