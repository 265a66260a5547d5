"""Which calibration the pixels belong to is decided by evidence and reported with its reason."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from mutations.calibration_files import MESSAGE

from sfm_ros.cameras.pixels import PixelCamera, choose_camera
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.calibration import read_camera
from sfm_ros.formats.camera_info import camera_from_info
from sfm_ros.formats.kitti_calibration import read_kitti_numbers
from sfm_ros.geometry import so3_exp

LENS = (-0.3, 0.1, 0.001, -0.001, 0.0)
KITTI_RAW: dict[str, Any] = {
    "width": 1242, "height": 375, "d": [-0.373, 0.2037, 0.0022, 0.0014, -0.0723],
    "k": [984.24, 0, 690.0, 0, 980.81, 233.2, 0, 0, 1],
    "r": so3_exp([0.0043, -0.0074, -0.0098]).ravel().tolist(),
    "p": [721.54, 0, 609.56, 0, 0, 721.54, 172.85, 0, 0, 0, 1, 0],
}  # fmt: skip
"""The calibration of KITTI's raw images, 1392x512, with the size of the rectified ones."""


def matrices(fx: float, cx: float, cy: float) -> tuple[list[float], list[float]]:
    return [fx, 0, cx, 0, fx, cy, 0, 0, 1], [fx, 0, cx, 0, 0, fx, cy, 0, 0, 0, 1, 0]


def info(width: int = 640, height: int = 480, **changes: Any) -> SimpleNamespace:
    """A camera_info without distortion, K = P in the middle."""
    k, p = matrices(0.8 * width, width / 2 - 0.5, height / 2 - 0.5)
    roi = changes.pop("roi", (0, 0, 0, 0))
    fields: dict[str, Any] = {
        "width": width, "height": height, "distortion_model": "plumb_bob", "d": [0.0] * 5, "k": k,
        "r": np.eye(3).ravel().tolist(), "p": p, "binning_x": 0, "binning_y": 0,
        "roi": SimpleNamespace(x_offset=roi[0], y_offset=roi[1], width=roi[2], height=roi[3]),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def choose(
    message: SimpleNamespace, topic: str = "/camera/image_raw", input: str = "auto"
) -> PixelCamera:
    stated = camera_from_info(message, "/camera/camera_info")
    return choose_camera(stated, (topic, "/camera/camera_info"), input)


def principal_point(chosen: PixelCamera) -> tuple[float, float]:
    return chosen.intrinsics.cx, chosen.intrinsics.cy


# ---- rectified images beside the calibration of raw ones --------------------------------------


@pytest.mark.parametrize("topic", ["/kitti/camera_gray_left/image_raw", "/cam2/image", "/x"])
@pytest.mark.parametrize("scale", [1.0, 0.5, 1 / 3])
def test_kitti2bag_raw_is_rectified_at_any_size(topic: str, scale: float) -> None:
    scaled = dict(KITTI_RAW, width=round(1242 * scale), height=round(375 * scale))
    for name, rows in (("k", 3), ("p", 4)):
        matrix = np.array(KITTI_RAW[name]).reshape(3, rows)
        scaled[name] = (np.diag([scale, scale, 1.0]) @ matrix).ravel().tolist()
    chosen = choose(info(**scaled), topic)
    assert chosen.is_rectified and chosen.used == "P" and chosen.is_doubtful
    assert chosen.focal_px == pytest.approx(721.54 * scale)
    assert not chosen.intrinsics.is_distorted and chosen.intrinsics.R is None
    assert "would leave the image" in chosen.text and "fx" in chosen.text


def test_the_raw_images_of_the_same_camera_are_undistorted() -> None:
    chosen = choose(info(**dict(KITTI_RAW, width=1392, height=512)))
    assert not chosen.is_rectified and chosen.used == "K and D" and not chosen.is_doubtful
    assert chosen.intrinsics.R is not None and chosen.intrinsics.P is not None


@pytest.mark.parametrize(
    "topic",
    [
        "/camera/image_rect",
        "/camera/image_rect_color/compressed",
        "/front/rectified/image",
        "/cam/imageUndistorted",
    ],
)
def test_a_rectified_topic_beside_a_raw_calibration_has_the_camera_of_p(topic: str) -> None:
    _, p = matrices(480.0, 310.0, 236.0)
    chosen = choose(info(d=list(LENS), p=p), topic)
    assert chosen.is_rectified and principal_point(chosen) == (310.0, 236.0)
    assert chosen.is_doubtful and topic in chosen.text and "by its name" in chosen.text


@pytest.mark.parametrize("topic", ["/camera/image_raw", "/direct/image", "/correct/image_unrect"])
def test_words_that_only_contain_rect_mean_nothing(topic: str) -> None:
    _, p = matrices(480.0, 310.0, 236.0)
    assert not choose(info(d=list(LENS), p=p), topic).is_rectified


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("k1", [-0.35, -0.1, 0.12])
def test_optimal_camera_matrices_of_raw_images_are_no_evidence(alpha: float, k1: float) -> None:
    """P as camera_calibration makes it, with and without black borders (OpenCV's alpha)."""
    K = np.array([[400.0, 0, 331.0], [0, 402.0, 228.0], [0, 0, 1]])
    D = np.array([k1, 0.08, 0.001, -0.002, 0.0])
    P, _ = cv2.getOptimalNewCameraMatrix(K, D, (640, 480), alpha)
    p = np.hstack([P, np.zeros((3, 1))]).ravel().tolist()
    chosen = choose(info(k=K.ravel().tolist(), d=D.tolist(), p=p))
    assert not chosen.is_rectified and not chosen.is_doubtful and chosen.intrinsics.P is not None


@pytest.mark.parametrize("angle_deg", [-6.0, -2.0, 2.0, 6.0])
def test_stereo_cameras_that_squint_are_raw(angle_deg: float) -> None:
    R = so3_exp([0.01, np.deg2rad(angle_deg), 0.0])
    k, _ = matrices(500.0, 326.0, 236.0)
    _, p = matrices(480.0, 322.0, 238.0)
    chosen = choose(info(k=k, d=list(LENS), r=R.ravel().tolist(), p=p), "/left/image_raw")
    assert not chosen.is_rectified


def test_real_images_of_both_kinds_agree_with_the_choice(shared_data: Path) -> None:
    """KITTI's raw image, undistorted as chosen, is KITTI's rectified image, used as chosen."""
    folder = shared_data / "oracle_rectification"
    raw, rectified = (
        cv2.imread(str(folder / f"{kind}_003.png"), cv2.IMREAD_GRAYSCALE)
        for kind in ("raw", "rectified")
    )
    calibration = folder / "calib_cam_to_cam.txt"
    numbers = {
        name: read_kitti_numbers(calibration, f"{key}_02", -1).tolist()
        for name, key in (("k", "K"), ("d", "D"), ("r", "R_rect"), ("p", "P_rect"))
    }
    of_raw, of_rectified = (
        choose(info(image.shape[1], image.shape[0], **numbers)) for image in (raw, rectified)
    )
    assert not of_raw.is_rectified and of_rectified.is_rectified
    source, target = of_raw.intrinsics, of_rectified.intrinsics
    size = (target.width, target.height)
    maps = cv2.initUndistortRectifyMap(
        source.K, np.array(source.distortion), source.R, target.K, size, cv2.CV_32FC1
    )
    made = cv2.remap(raw, *maps, cv2.INTER_LINEAR)
    assert np.abs(made.astype(float) - rectified).mean() < 2.0


# ---- P that is not of these images -----------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 720), (208, 64), (800, 800)])
def test_the_default_projection_of_a_simulator_is_not_used(width: int, height: int) -> None:
    _, p = matrices(277.0, 160.0, 120.0)
    for topic in ("/camera/image_raw", "/camera/image_rect"):
        chosen = choose(info(width, height, p=p), topic)
        assert chosen.used == "K" and chosen.focal_px == pytest.approx(0.8 * width)
        assert chosen.is_doubtful and "P (fx 277.0" in chosen.text and "is not K" in chosen.text


def test_the_default_projection_in_its_own_size_is_not_used_either() -> None:
    _, p = matrices(277.1, 160.5, 120.5)
    k, _ = matrices(554.0, 160.5, 120.5)
    for topic in ("/camera/image_raw", "/camera/image_rect"):
        assert choose(info(320, 240, k=k, p=p), topic).focal_px == 554.0


def test_a_simulated_lens_is_undistorted_without_the_default_projection() -> None:
    _, p = matrices(277.1, 160.5, 120.5)
    chosen = choose(info(1280, 960, d=list(LENS), p=p))
    assert not chosen.is_rectified and chosen.intrinsics.P is None and chosen.is_doubtful


def test_k_left_at_another_size_gives_way_to_p() -> None:
    k, _ = matrices(1000.0, 639.5, 479.5)
    chosen = choose(info(k=k))
    assert chosen.used == "P" and chosen.focal_px == 512.0 and chosen.is_doubtful


def test_rounding_of_p_is_not_worth_a_word() -> None:
    _, p = matrices(512.2, 319.3, 239.6)
    chosen = choose(info(p=p))
    assert not chosen.is_doubtful and "no distortion" in chosen.text


def test_an_identity_for_p_is_not_given() -> None:
    chosen = choose(info(p=np.eye(3, 4).ravel().tolist()))
    assert chosen.focal_px == 512.0 and not chosen.is_doubtful


def test_the_focal_length_after_undistortion_is_named() -> None:
    _, p = matrices(480.0, 310.0, 236.0)
    assert "fx 512.0 (undistorted 480.0)" in choose(info(d=list(LENS), p=p)).text
    assert "undistorted 5" not in choose(info(d=list(LENS))).text


# ---- only P ----------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["/kitti/camera_left/image_rect", "/a/image", "/a/image_raw"])
def test_p_alone_is_the_calibration(topic: str) -> None:
    k, p = matrices(718.856, 607.19, 185.2)
    chosen = choose(
        info(1241, 376, k=[0.0] * 9, r=[0.0] * 9, d=[], p=p, distortion_model=""), topic
    )
    assert chosen.used == "P" and chosen.is_rectified and chosen.focal_px == 718.856
    assert "only P is given" in chosen.text


def test_nothing_at_all_is_not_calibrated() -> None:
    with pytest.raises(CalibrationError, match="the camera is not calibrated"):
        choose(info(k=[0.0] * 9, p=[0.0] * 12))


# ---- contradictions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "topic", "text"),
    [
        ({"d": list(LENS), "p": [0.0] * 12}, "/a/image_rect", "no P"),
        ({"d": list(LENS), "p": matrices(277.0, 900.0, 700.0)[1]}, "/a/image_rect", "outside of"),
        ({"d": list(LENS), "k": [0.0] * 9}, "/a/image", "no K, but distortion"),
        (
            {"k": matrices(500.0, 900.0, 240.0)[0], "p": matrices(500.0, 320.0, 900.0)[1]},
            "/a/image",
            "neither principal point",
        ),
        (
            {"k": matrices(500.0, 800.0, 100.0)[0], "d": list(LENS),
             "p": matrices(100.0, 50.0, 900.0)[1]},
            "/a/image",
            "neither K nor P",
        ),
        ({"distortion_model": "equidistant", "d": []}, "/a/image", "without coefficients"),
    ],
)  # fmt: skip
def test_contradictions_are_errors(changes: dict[str, Any], topic: str, text: str) -> None:
    with pytest.raises(CalibrationError, match=text) as caught:
        choose(info(**changes), topic)
    assert "/camera/camera_info" in str(caught.value)


def test_the_option_decides_what_the_evidence_cannot() -> None:
    message = info(d=list(LENS), p=[0.0] * 12)
    chosen = choose(message, "/a/image_rect", "rectified")
    assert chosen.used == "K" and chosen.is_rectified and not chosen.intrinsics.is_distorted
    assert "preprocess.input is 'rectified'" in chosen.text
    assert choose(message, "/a/image_rect", "raw").intrinsics.is_distorted
    with pytest.raises(CalibrationError, match="no K"):
        choose(info(k=[0.0] * 9), "/a/image", "raw")


# ---- region of interest and binning -----------------------------------------------------------


def test_a_region_inside_of_the_calibrated_image_is_cut_out() -> None:
    chosen = choose(info(1280, 960, roi=(320, 240, 640, 480)))
    assert principal_point(chosen) == (319.5, 239.5) and not chosen.is_doubtful
    assert (chosen.intrinsics.width, chosen.intrinsics.height) == (640, 480)


def test_a_region_outside_with_k_of_the_crop() -> None:
    chosen = choose(info(640, 480, roi=(320, 240, 640, 480)))
    assert principal_point(chosen) == (319.5, 239.5) and chosen.is_doubtful
    assert "640x480 at (320, 240) is outside" in chosen.text


def test_a_region_outside_with_k_of_the_sensor_and_p_of_the_crop() -> None:
    """As the cameras of a robot's hands send it: only K is of the full image."""
    k, _ = matrices(403.9, 631.1, 375.7)
    _, p = matrices(403.9, 311.1, 175.7)
    chosen = choose(
        info(640, 400, k=k, d=[0.0153, -0.043, 0, 0, 0.009], p=p, roi=(320, 200, 640, 400))
    )
    assert principal_point(chosen) == pytest.approx((311.1, 175.7)) and chosen.is_doubtful
    assert chosen.intrinsics.P is not None and chosen.intrinsics.P[0, 2] == pytest.approx(311.1)


def test_a_region_inside_with_k_of_the_crop() -> None:
    k, p = matrices(400.0, 159.5, 119.5)
    chosen = choose(info(1280, 960, k=k, p=p, roi=(480, 360, 320, 240)))
    assert principal_point(chosen) == (159.5, 119.5) and chosen.is_doubtful


def test_a_region_outside_that_nothing_explains_is_an_error() -> None:
    k, p = matrices(400.0, 480.0, 239.5)
    with pytest.raises(CalibrationError, match="does not show which image K is of"):
        choose(info(640, 480, k=k, p=p, roi=(320, 0, 640, 480)))
    with pytest.raises(CalibrationError, match="is outside of the 640x480"):
        choose(info(640, 480, roi=(600, 0, 320, 240)))


def test_binning_with_k_of_the_binned_images() -> None:
    k, p = matrices(299.5, 254.1, 183.9)
    chosen = choose(info(2064, 1544, k=k, p=p, binning_x=4, binning_y=4))
    assert principal_point(chosen) == (254.1, 183.9) and chosen.focal_px == 299.5
    assert chosen.is_doubtful and (chosen.intrinsics.width, chosen.intrinsics.height) == (516, 386)


def test_binning_is_named_if_the_size_does_not_fit() -> None:
    chosen = choose(info(416, 128, binning_x=2, binning_y=2))
    with pytest.raises(CalibrationError, match="is 416x128, .*208x64 .*416x128 is binned 2x2"):
        chosen.require_size(416, 128, "an image")
    chosen.require_size(208, 64, "an image")


def test_files_are_decided_in_the_same_way(tmp_path: Path) -> None:
    file = tmp_path / "camera.yaml"
    file.write_text(MESSAGE.replace("P: [917.0, 0.0, 641.0", "P: [800.0, 0.0, 631.0"))
    raw = choose_camera(read_camera(file, 640, 480, names=("images",)), ("images",))
    rectified = choose_camera(read_camera(file, 640, 480), ("image_rect",))
    assert raw.intrinsics.is_distorted and not rectified.intrinsics.is_distorted
    assert rectified.focal_px == 400.0 and rectified.intrinsics.cx == pytest.approx(315.25)
    assert isinstance(rectified.intrinsics, CameraIntrinsics)
