"""Calibrations are read in every format; errors name what is wrong in the file."""

from __future__ import annotations

import numpy as np
import pytest
from calibrations import write_camera_info

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.calibration import read_camera
from sfm_ros.formats.camera_info import CameraInfoFields, state_camera

CAMERA_INFO = """\
image_width: 640
image_height: 480
camera_name: test
camera_matrix: {rows: 3, cols: 3, data: [500.5, 0, 320, 0, 501.5, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.2, 0.1, 0.001, 0.002, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [480, 0, 310, 0, 0, 481, 230, 0, 0, 0, 1, 0]}
"""

PRINTED_MESSAGE = """\
header:
  stamp: {sec: 1, nanosec: 2}
  frame_id: camera
height: 480
width: 640
distortion_model: equidistant
d: [0.1, 0.2, 0.3, 0.4]
k: [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0]
r: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
p: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
---
"""


def _write(tmp_path, text, name="camera.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_camera_info_yaml(tmp_path):
    camera = read_camera(_write(tmp_path, CAMERA_INFO), 640, 480).intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500.5, 501.5, 320, 240)
    assert (camera.width, camera.height) == (640, 480)
    assert camera.distortion == (-0.2, 0.1, 0.001, 0.002, 0.0)
    assert camera.P is not None and camera.P[0, 0] == 480 and camera.P[1, 2] == 230


def test_printed_message_with_zero_r_and_p(tmp_path):
    camera = read_camera(_write(tmp_path, PRINTED_MESSAGE)).intrinsics
    assert camera.distortion_model == "equidistant" and camera.distortion[3] == 0.4
    assert camera.R is None and camera.P is None


def test_yaml_keeps_every_digit(tmp_path):
    angle = 0.1
    R = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    before = CameraIntrinsics(
        width=321,
        height=123,
        fx=1000 / 3,
        fy=271.00000002,
        cx=1000 / 7,
        cy=-0.1,
        distortion_model="rational_polynomial",
        distortion=tuple(np.linspace(-1, 1, 8).tolist()),
        R=R,
        P=np.array([[1000 / 9, 0, 2, 3], [0, 400, 5, 6], [0, 0, 1, 0]]),
    )
    after = read_camera(write_camera_info(tmp_path / "out.yaml", before), 321, 123).intrinsics
    assert (after.fx, after.fy, after.cx, after.cy) == (1000 / 3, 271.00000002, 1000 / 7, -0.1)
    assert after.distortion == before.distortion
    assert after.distortion_model == "rational_polynomial"
    np.testing.assert_array_equal(after.R, before.R)
    np.testing.assert_array_equal(after.P, before.P)


def test_yaml_without_distortion(tmp_path):
    before = CameraIntrinsics(width=10, height=8, fx=5, fy=6, cx=4, cy=3)
    after = read_camera(write_camera_info(tmp_path / "out.yaml", before)).intrinsics
    assert not after.is_distorted
    np.testing.assert_array_equal(after.K, before.K)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("camera_matrix:", "camera_matrx:", ["camera_matrix", "camera_matrx"]),
        ("image_width: 640", "image_width: 0", ["image_width", "0"]),
        ("image_width: 640", "image_width: wide", ["image_width", "wide"]),
        ("data: [500.5,", "data: [0,", ["fx=0"]),
        ("data: [500.5,", "data: [.nan,", ["finite", "camera_matrix"]),
        ("data: [500.5,", "data: [-500.5,", ["fx=-500.5"]),
        ("data: [500.5,", "data: [five,", ["five", "numbers"]),
        ("data: [500.5, 0,", "data: [500.5,", ["8 numbers", "9"]),
        ("[-0.2, 0.1, 0.001, 0.002, 0]", "[-0.2, 0.1]", ["2 distortion", "plumb_bob", "4 or 5"]),
        ("model: plumb_bob", "model: magic", ["magic", "plumb_bob", "equidistant"]),
        ("data: [1, 0, 0, 0, 1", "data: [2, 0, 0, 0, 1", ["rectification_matrix", "rotation"]),
        ("data: [480, 0, 310, 0,", "data: [480, 0, 310,", ["projection_matrix", "11", "12"]),
        ("image_width: 640", "image_width: [", ["YAML"]),
        (CAMERA_INFO, "- 1\n- 2\n", ["list", "camera_matrix"]),
        (CAMERA_INFO, "", ["NoneType"]),
    ],
)
def test_wrong_yaml_is_refused(tmp_path, old, new, named):
    assert old in CAMERA_INFO
    path = _write(tmp_path, CAMERA_INFO.replace(old, new, 1))
    with pytest.raises(CalibrationError) as caught:
        read_camera(path, 640, 480)
    for text in [*named, "camera.yaml"]:
        assert text in str(caught.value)


def test_size_mismatch_names_both_sizes(tmp_path):
    with pytest.raises(CalibrationError, match=r"640x480.*320x240"):
        read_camera(_write(tmp_path, CAMERA_INFO), 320, 240)


def test_kitti_odometry_chooses_the_camera(tmp_path):
    rows = [f"P{i}: {700 + i} 0 600 {-i} 0 {700 + i} 170 0 0 0 1 0" for i in range(4)]
    path = _write(tmp_path, "\n".join(rows), "calib.txt")
    assert read_camera(path, 1241, 376).intrinsics.fx == 700
    assert read_camera(path, 1241, 376, camera="2").intrinsics.fx == 702
    assert read_camera(path, 1241, 376, camera="03").intrinsics.fx == 703
    with pytest.raises(CalibrationError, match="no camera 7; the file has 0, 1, 2, 3"):
        read_camera(path, 1241, 376, camera=7)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("P0: 1 2 3\n", "3 numbers, expected 12"),
        ("P0: a b c\n", "expected numbers"),
        ("P0: " + "0 " * 12, "fx=0"),
        ("P0: nan " + "1 " * 11, "not finite"),
        ("Tr: 1 2 3\n", "no known calibration"),
        ("", "no known calibration"),
        ("1 2 3 4 5 6 7 8", "no known calibration"),
    ],
)
def test_wrong_kitti_text_is_refused(tmp_path, text, named):
    with pytest.raises(CalibrationError, match=named):
        read_camera(_write(tmp_path, text, "calib.txt"), 1241, 376)


def test_text_formats_need_size_and_file(tmp_path):
    with pytest.raises(CalibrationError, match="pass width and height"):
        read_camera(_write(tmp_path, "P0: 1", "calib.txt"))
    with pytest.raises(CalibrationError, match="there is no calibration file"):
        read_camera(tmp_path / "none.yaml")
    with pytest.raises(CalibrationError, match="cannot read"):
        read_camera(tmp_path)
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(CalibrationError, match="cannot read"):
        read_camera(tmp_path / "binary.txt", 1, 1)


def test_uncalibrated_message_is_refused():
    fields = CameraInfoFields(width=4, height=4, K=[0.0] * 9)
    with pytest.raises(CalibrationError, match="/cam/camera_info.*fx=0.*not calibrated"):
        state_camera(fields, "/cam/camera_info")


@pytest.mark.parametrize(
    ("folder", "size", "expected"),
    [
        ("kitti_odom03_head/calib.txt", (1242, 375), (721.5377, 721.5377, 609.5593, 172.854)),
        ("kitti_raw_0095/calib.txt", (1242, 375), (721.5377, 721.5377, 609.5593, 172.854)),
        ("rgbd_indoor60/camera-intrinsics.txt", (640, 480), (585, 585, 320, 240)),
        ("udacity_highway/camera_info.yaml", (640, 360), (578.23, 575.635, 335.41, 194.36)),
    ],
)
def test_real_calibrations(shared_data, folder, size, expected):
    camera = read_camera(shared_data / folder, *size).intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(expected, abs=1e-9)
    assert (camera.width, camera.height) == size


def test_kitti_raw_size_selects_distorted_or_rectified(shared_data):
    path = shared_data / "oracle_rectification" / "calib_cam_to_cam.txt"
    raw = read_camera(path, 1392, 512, camera="02").intrinsics
    assert raw.fx == pytest.approx(959.791) and raw.distortion[0] == pytest.approx(-0.3691481)
    assert raw.P[0, 0] == pytest.approx(721.5377) and raw.R[0, 1] == pytest.approx(0.01511, 1e-2)
    rectified = read_camera(path, 1242, 375).intrinsics
    assert rectified.fx == pytest.approx(721.5377) and not rectified.is_distorted
    assert rectified.R is None
    with pytest.raises(CalibrationError, match=r"640x480.*1242x375.*1392x512"):
        read_camera(path, 640, 480)


WIDTH, HEIGHT = 640, 480


@pytest.mark.parametrize("matrix", ["K", "P"])
@pytest.mark.parametrize(
    ("index", "value", "text"),
    [
        (0, 1e150, "fx=1e\\+150"),
        (0, 1.0, "fx=1, .*expected 6.4 to 64000 pixels for a 640x480 image"),
        (1, 64_001.0, "fy=64001"),
        (2, -1e308, "cx=-1e\\+308"),
        (3, 6401.0, "cy=6401, expected at most 6400 pixels"),
    ],
)
def test_numbers_that_no_camera_has_are_refused(matrix, index, value, text):
    numbers = {"K": [500.0, 500.0, 320.0, 240.0], "P": [500.0, 500.0, 320.0, 240.0]}
    numbers[matrix][index] = value
    fx, fy, cx, cy = numbers["K"]
    K = [fx, 0, cx, 0, fy, cy, 0, 0, 1]
    fx, fy, cx, cy = numbers["P"]
    P = [fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]
    with pytest.raises(CalibrationError, match=rf"\({matrix}\): .*{text}"):
        state_camera(CameraInfoFields(width=WIDTH, height=HEIGHT, K=K, P=P), "here")


@pytest.mark.parametrize(("value", "is_good"), [(400.0, True), (-2e4, False), (1e150, False)])
def test_distortion_is_bounded(value, is_good):
    fields = CameraInfoFields(
        width=WIDTH, height=HEIGHT, K=[500, 0, 320, 0, 500, 240, 0, 0, 1], D=[0.1, value, 0, 0, 0]
    )
    if is_good:
        assert state_camera(fields, "here").intrinsics.distortion[1] == value
    else:
        with pytest.raises(CalibrationError, match="distortion coefficient is .*at most 10000"):
            state_camera(fields, "here")


def test_errors_quote_little_of_what_they_refuse():
    fields = CameraInfoFields(width=WIDTH, height=HEIGHT, K=[np.nan] * 1_000_000)
    with pytest.raises(CalibrationError) as caught:
        state_camera(fields, "here")
    assert len(str(caught.value)) < 1000
