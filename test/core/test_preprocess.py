"""Rectify, crop and resize, against KITTI's rectified images and closed forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.formats.calibration import read_camera
from sfm_ros.geometry import so3_exp
from sfm_ros.preprocess import ImagePreparer, plan_target_camera, rectified_camera, undistort_map

KITTI = CameraIntrinsics(width=1242, height=375, fx=721.5, fy=721.5, cx=609.6, cy=172.9)


def _raw_and_rectified_camera(folder: Path) -> tuple[CameraIntrinsics, CameraIntrinsics]:
    calib = folder / "calib_cam_to_cam.txt"
    return read_camera(calib, 1392, 512).intrinsics, read_camera(calib, 1242, 375).intrinsics


def _camera(width: int, height: int) -> CameraIntrinsics:
    return CameraIntrinsics(
        width=width, height=height, fx=0.6 * width, fy=0.6 * width, cx=width / 2, cy=height / 2
    )


def _difference(image: np.ndarray, ground_truth: np.ndarray) -> float:
    return float(np.abs(image.astype(float) - ground_truth.astype(float)).mean())


@pytest.mark.parametrize("name", ["003", "033", "063"])
def test_kitti_rectification_is_reproduced(shared_data: Path, name: str) -> None:
    folder = shared_data / "oracle_rectification"
    raw, rectified = _raw_and_rectified_camera(folder)
    image = cv2.imread(str(folder / f"raw_{name}.png"))
    ground_truth = cv2.imread(str(folder / f"rectified_{name}.png"))
    image = image[: raw.height, : raw.width]

    right = cv2.remap(image, *undistort_map(raw, rectified), cv2.INTER_LINEAR)
    assert _difference(right, ground_truth) < 1.5

    wrong = CameraIntrinsics(
        width=raw.width, height=raw.height, fx=raw.fx * 1.03, fy=raw.fy * 1.03, cx=raw.cx + 8,
        cy=raw.cy, distortion=raw.distortion, R=raw.R,
    )  # fmt: skip
    off = cv2.remap(image, *undistort_map(wrong, rectified), cv2.INTER_LINEAR)
    assert _difference(off, ground_truth) > 5


def test_crop_keeps_principal_point_and_aspect() -> None:
    tall = CameraIntrinsics(width=640, height=360, fx=578, fy=576, cx=335, cy=194)
    target = plan_target_camera(tall, 416, 128)
    scale = 416 / 640
    assert target.fx == pytest.approx(578 * scale)
    assert target.fy / target.fx == pytest.approx(576 / 578)
    assert target.cy == pytest.approx(63.5)  # the crop is centered on the principal point
    wide = plan_target_camera(KITTI, 416, 128)
    assert wide.fx == pytest.approx(721.5 * 128 / 375)
    assert wide.cx == pytest.approx(207.5)


def _ramp(width: int, height: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns * 255 / width, rows * 255 / height, columns * 0], -1).astype(np.uint8)


@pytest.mark.parametrize("size", [(1242, 375), (416, 128), (640, 360), (300, 400)])
def test_pixels_match_the_target_camera(size: tuple[int, int]) -> None:
    width, height = size
    camera = _camera(width, height)
    prepared = ImagePreparer(416, 128).prepare(
        Frame(stamp_ns=0, rgb=_ramp(width, height), intrinsics=camera)
    )
    target = prepared.intrinsics
    for row, column in ((20, 30), (64, 208), (100, 390)):
        u = (column - target.cx) / target.fx * camera.fx + camera.cx
        v = (row - target.cy) / target.fy * camera.fy + camera.cy
        expected = [u * 255 / width, v * 255 / height]
        np.testing.assert_allclose(prepared.rgb[row, column, :2], expected, atol=2.0)


@pytest.mark.parametrize("size", [(1242, 375), (500, 160)])
def test_view_of_a_bgr_image(size: tuple[int, int]) -> None:
    width, height = size
    camera = _camera(width, height)
    rgb = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    view = np.ascontiguousarray(rgb[:, :, ::-1])[:, :, ::-1]
    assert view.strides[2] < 0
    plain, from_view = (
        ImagePreparer(416, 128).prepare(Frame(stamp_ns=0, rgb=image, intrinsics=camera)).rgb
        for image in (rgb, view)
    )
    np.testing.assert_array_equal(from_view, plain)


def test_same_size_is_unchanged() -> None:
    camera = CameraIntrinsics(width=416, height=128, fx=240, fy=240, cx=207.5, cy=63.5)
    rgb = np.random.default_rng(0).integers(0, 255, (128, 416, 3), dtype=np.uint8)
    prepared = ImagePreparer(416, 128).prepare(Frame(stamp_ns=0, rgb=rgb, intrinsics=camera))
    np.testing.assert_array_equal(prepared.rgb, rgb)


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", (-0.3, 0.1, 0.001, -0.002, 0.01)),
        ("rational_polynomial", (0.1, -0.2, 0.001, 0.0, 0.02, 0.4, -0.3, 0.05)),
        ("equidistant", (0.02, -0.01, 0.003, 0.0)),
    ],
)
def test_distortion_agrees_with_opencv(model: str, distortion: tuple[float, ...]) -> None:
    """The map agrees with OpenCV's functions that distort single points."""
    source = CameraIntrinsics(
        width=640, height=480, fx=400, fy=410, cx=322, cy=238,
        distortion_model=model, distortion=distortion, R=so3_exp([0.01, -0.02, 0.005]),
    )  # fmt: skip
    target = plan_target_camera(source, 416, 128)
    map_x, map_y = undistort_map(source, target)
    row, column = 40, 300
    ray = np.linalg.inv(target.K) @ [column, row, 1.0]
    assert source.R is not None
    ray = source.R.T @ ray
    D = np.array(distortion)
    if model == "equidistant":
        normalized = (ray[:2] / ray[2]).reshape(1, 1, 2)
        pixel = cv2.fisheye.distortPoints(normalized, source.K, D).ravel()
    else:
        pixel = cv2.projectPoints(ray[None], np.zeros(3), np.zeros(3), source.K, D)[0].ravel()
    np.testing.assert_allclose([map_x[row, column], map_y[row, column]], pixel, atol=1e-3)


def test_unknown_distortion_model_is_refused() -> None:
    camera = CameraIntrinsics(
        width=64, height=48, fx=40, fy=40, cx=32, cy=24, distortion_model="magic",
        distortion=(0.1,),
    )  # fmt: skip
    frame = Frame(stamp_ns=0, rgb=np.zeros((48, 64, 3), np.uint8), intrinsics=camera)
    with pytest.raises(CalibrationError, match="'magic'"):
        ImagePreparer(32, 32).prepare(frame)


def test_plan_changes_with_the_calibration() -> None:
    preparer = ImagePreparer(416, 128)
    rgb = np.zeros((375, 1242, 3), np.uint8)
    first = preparer.prepare(Frame(stamp_ns=0, rgb=rgb, intrinsics=KITTI)).intrinsics
    equal = CameraIntrinsics(width=1242, height=375, fx=721.5, fy=721.5, cx=609.6, cy=172.9)
    assert preparer.prepare(Frame(stamp_ns=1, rgb=rgb, intrinsics=equal)).intrinsics is first
    other = CameraIntrinsics(width=1242, height=375, fx=700.0, fy=721.5, cx=609.6, cy=172.9)
    assert preparer.prepare(Frame(stamp_ns=2, rgb=rgb, intrinsics=other)).intrinsics is not first


def test_images_are_undistorted_if_their_camera_is() -> None:
    camera = CameraIntrinsics(
        width=416, height=128, fx=240, fy=240, cx=207.5, cy=63.5, distortion=(-0.3, 0.1, 0, 0, 0)
    )
    frame = Frame(stamp_ns=0, rgb=_ramp(416, 128), intrinsics=camera)
    assert _difference(ImagePreparer(416, 128).prepare(frame).rgb, frame.rgb) > 1
    rectified = replace(frame, intrinsics=rectified_camera(camera))
    taken_as_is = ImagePreparer(416, 128).prepare(rectified).rgb
    np.testing.assert_array_equal(taken_as_is, frame.rgb)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(1, 1, "at least 52x16"), (51, 200, "at least 52x16"), (70_000, 100, "at most 32766")],
)
def test_impossible_image_size_is_refused(width: int, height: int, expected: str) -> None:
    camera = CameraIntrinsics(width=width, height=height, fx=80, fy=80, cx=0, cy=0)
    image = np.zeros((height, width, 3), np.uint8)
    with pytest.raises(ImageError, match=f"is {width}x{height}, expected {expected}"):
        ImagePreparer(416, 128).prepare(Frame(stamp_ns=0, rgb=image, intrinsics=camera))


@pytest.mark.parametrize("wrong", [{"fx": 1e-9}, {"fy": 1e12}, {"cx": -1e20}])
def test_impossible_calibration_is_refused(wrong: dict[str, Any]) -> None:
    numbers: dict[str, Any] = {"fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0, **wrong}
    with pytest.raises(CalibrationError, match="expected pixels of a real camera"):
        CameraIntrinsics(width=640, height=480, **numbers)
