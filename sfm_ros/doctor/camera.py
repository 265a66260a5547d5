"""A camera's images and calibration: usable, matching and plausible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from sfm_ros.cameras.pixels import PixelCamera, choose_camera
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.doctor.finding import Finding, fail, ok, warn
from sfm_ros.doctor.observed import Camera
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.formats.camera_info import camera_from_info
from sfm_ros.formats.image_codec import decode_message
from sfm_ros.formats.regions import NEAR_CENTER, off_center
from sfm_ros.model_spec import ModelSpec
from sfm_ros.preprocess import plan_target_camera, rectified_camera

_NARROW_DEG, _WIDE_DEG = 20.0, 140.0
_MAX_NON_SQUARE = 0.05
_MAX_FOCAL_RATIO = 1.6
_SAME_ASPECT = 0.01


def check_image(camera: Camera) -> tuple[list[Finding], tuple[int, int] | None]:
    """Whether an image can be decoded; its (width, height) if it can."""
    check = f"image {camera.images.topic}"
    if camera.image is None:
        return [], None
    try:
        rgb = decode_message(camera.image)
    except ImageError as error:
        advice = "use one of the encodings of docs/node.md, or fix the publisher of the image"
        return [fail(check, str(error), advice)], None
    height, width = rgb.shape[:2]
    kind = getattr(camera.image, "encoding", None) or camera.image.format
    found = f"{width}x{height} {kind}"
    advice = "check for a covered lens or a wrong exposure: the image shows nothing"
    is_empty = rgb.std() < 1.0
    finding = warn(check, f"{found}, of one color", advice) if is_empty else ok(check, found)
    return [finding], (width, height)


def check_calibration(
    camera: Camera, size: tuple[int, int] | None, spec: ModelSpec | None, input: str = "auto"
) -> list[Finding]:
    """Whether the calibration can be used and describes the images.

    Args:
        camera: its images and calibrations.
        size: (width, height) of its images, if one could be decoded.
        spec: the model that will process the images, if known.
        input: see ``PreprocessConfig.input``.
    """
    check = f"camera_info {camera.info_topic}"
    if not camera.calibrations:
        advice = (
            "the node publishes nothing without one: make the driver publish camera_info, or "
            "remap camera_info to its topic"
        )
        return [fail(check, "no calibration arrived", advice)]
    found: list[Finding] = []
    if len(camera.calibrations) > 1:
        change = f"its content changes ({len(camera.calibrations)} versions received)"
        advice = "each change starts a new segment: look for two publishers or a zoom lens"
        found.append(warn(check, change, advice))
    try:
        stated = camera_from_info(camera.calibrations[-1], camera.info_topic)
        chosen = choose_camera(stated, (camera.images.topic, camera.info_topic), input)
    except CalibrationError as error:
        advice = "calibrate the camera (camera_calibration) and make its driver load the result"
        return [*found, fail(check, str(error), advice)]
    found = [
        replace(each, found=f"{each.found}; the newest: {_summary(chosen)}") for each in found
    ]
    wrong_size = list(_check_size(check, chosen, size))
    found += wrong_size or [*_check_choice(check, chosen), *_check_plausible(check, chosen)]
    if spec is not None and not found:
        found += _check_model_fits(check, chosen, spec)
    return found or [ok(check, _summary(chosen))]


def _check_choice(check: str, chosen: PixelCamera) -> Iterator[Finding]:
    if chosen.is_doubtful:
        yield warn(
            check,
            f"{_summary(chosen)}; {chosen.text.partition(': ')[2]}",
            "check that this is so, and state it with preprocess.input 'rectified' or 'raw'; or "
            "correct the calibration that is published",
        )


def _check_size(
    check: str, chosen: PixelCamera, size: tuple[int, int] | None
) -> Iterator[Finding]:
    intrinsics = chosen.intrinsics
    calibrated = (intrinsics.width, intrinsics.height)
    if size is None or size == calibrated:
        return
    x, y = size[0] / calibrated[0], size[1] / calibrated[1]
    advice = (
        f"a node scales the image by {x:g} and leaves camera_info unchanged; scale both "
        "(image_proc's resize node does)"
        if abs(x / y - 1) < _SAME_ASPECT
        else "a node crops the image and leaves camera_info unchanged, or it belongs to another "
        "mode of the camera; calibrate in the mode in use"
    )
    note = f" ({chosen.size_note})" if chosen.size_note else ""
    if chosen.size_note:
        advice = "the region of interest or binning in camera_info is not that of the images"
    yield fail(
        check,
        f"of {calibrated[0]}x{calibrated[1]} pixels{note}, the images have {size[0]}x{size[1]}",
        advice,
    )


def _check_plausible(check: str, chosen: PixelCamera) -> Iterator[Finding]:
    camera = chosen.intrinsics
    non_square = abs(camera.fx / camera.fy - 1)
    if non_square > _MAX_NON_SQUARE:
        yield warn(
            check,
            f"fx {camera.fx:.1f} and fy {camera.fy:.1f} differ by {100 * non_square:.0f} %",
            "almost every camera has square pixels: was the image scaled in one direction?",
        )
    if off_center(camera) > NEAR_CENTER:
        yield warn(
            check,
            f"the principal point ({camera.cx:.0f}, {camera.cy:.0f}) is far from the center of "
            f"{camera.width}x{camera.height}",
            "the calibration is of another size or of a crop: calibrate in the mode in use",
        )
    angle = field_of_view_deg(camera)
    if not _NARROW_DEG <= angle <= _WIDE_DEG:
        yield warn(
            check,
            f"the field of view is {angle:.0f} degrees wide",
            "the focal length may be that of another image size; else the network was not "
            "trained for such a lens",
        )


def _check_model_fits(check: str, chosen: PixelCamera, spec: ModelSpec) -> Iterator[Finding]:
    if spec.canonical_fx:  # of any lens
        return
    rectified = rectified_camera(chosen.intrinsics)
    resized = plan_target_camera(rectified, spec.width, spec.height)
    ratio = resized.fx / spec.training_fx
    if not 1 / _MAX_FOCAL_RATIO < ratio < _MAX_FOCAL_RATIO:
        yield warn(
            check,
            f"{_summary(chosen)}; on the network's grid the focal length is {resized.fx:.0f} px, "
            f"the model was trained with {spec.training_fx:.0f}",
            "depth will be off by about that factor: use a model trained for such a lens, or "
            "train one on your own video",
        )


def field_of_view_deg(camera: CameraIntrinsics) -> float:
    """Horizontal field of view of a pinhole camera with this fx (a fisheye's differs)."""
    return math.degrees(2 * math.atan(camera.width / (2 * camera.fx)))


def _summary(chosen: PixelCamera) -> str:
    camera = chosen.intrinsics
    distortion = camera.distortion_model if camera.is_distorted else "no distortion"
    return (
        f"{camera.width}x{camera.height}, {chosen.focal_text} of {chosen.used}, "
        f"{field_of_view_deg(camera):.0f} degrees wide, {distortion}"
    )
