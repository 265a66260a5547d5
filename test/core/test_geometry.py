"""SE(3) and the pinhole camera against closed forms and an independent library."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfm_ros import geometry as g
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError

twists = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6).filter(
    lambda xi: np.linalg.norm(xi[3:]) < 3.0
)


def test_exponentials_agree_with_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(0)
    for size in (1e-9, 1e-6, 1e-3, 1.0, 3.0):
        xi = rng.normal(size=6)
        xi[3:] *= size / np.linalg.norm(xi[3:])
        generator = np.zeros((4, 4))
        generator[:3, :3] = g.skew(xi[3:])
        generator[:3, 3] = xi[:3]
        np.testing.assert_allclose(g.se3_exp(xi), linalg.expm(generator), atol=1e-9)


def test_rotations_agree_with_scipy() -> None:
    transform = pytest.importorskip("scipy.spatial.transform")
    rng = np.random.default_rng(1)
    for _ in range(200):
        w = rng.normal(size=3)
        expected = transform.Rotation.from_rotvec(w)
        R = g.so3_exp(w)
        np.testing.assert_allclose(R, expected.as_matrix(), atol=1e-12)
        np.testing.assert_allclose(g.so3_log(R), expected.as_rotvec(), atol=1e-9)
        quat = g.quat_xyzw_from_matrix(R)
        other = expected.as_quat()
        np.testing.assert_allclose(quat, other * np.sign(quat @ other), atol=1e-12)


@given(twists)
def test_log_undoes_exp(xi: list[float]) -> None:
    T = g.se3_exp(xi)
    np.testing.assert_allclose(g.se3_log(T), xi, atol=1e-6)
    np.testing.assert_allclose(g.inverse(T) @ T, np.eye(4), atol=1e-9)
    assert g.is_rotation(T[:3, :3], 1e-9)


@given(twists)
def test_quaternion_round_trip(xi: list[float]) -> None:
    R = g.so3_exp(xi[3:])
    np.testing.assert_allclose(g.matrix_from_quat_xyzw(g.quat_xyzw_from_matrix(R)), R, atol=1e-9)


@pytest.mark.parametrize("length", [2e-3, 1.0, 1e6])
def test_unchecked_quaternion_may_have_any_length(length: float) -> None:
    T = g.rigid_motion([0.0, 0.0, length, length], [1.0, 2.0, 3.0])
    expected = [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]  # a quarter turn left
    np.testing.assert_allclose(T, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("quat_xyzw", "position"),
    [
        ([0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 9e-4], [1.0, 0.0, 0.0]),
        ([0.0, np.nan, 0.0, 1.0], [1.0, 0.0, 0.0]),
        ([0.0, np.inf, 0.0, 1.0], [1.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 1.0], [np.inf, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 1.0], [0.0, np.nan, 0.0]),
        ([0.0, 0.0, 0.0, 1.0], [0.0, -1e150, 0.0]),
        ([0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.01 * g.MAX_POSITION_M]),
    ],
)
def test_invalid_rigid_motion_is_none(quat_xyzw: list[float], position: list[float]) -> None:
    assert g.rigid_motion(quat_xyzw, position) is None


@pytest.mark.parametrize("axis", np.eye(3))
def test_angle_of_half_turns(axis: np.ndarray) -> None:
    assert g.rotation_angle(g.so3_exp(axis * np.pi)) == pytest.approx(np.pi)


def test_forward_and_left_turn_in_body_axes() -> None:
    ahead = g.optical_to_body(g.make_transform(np.eye(3), [0.0, 0.0, 1.0]))
    np.testing.assert_allclose(ahead[:3, 3], [1.0, 0.0, 0.0])
    left = g.optical_to_body(g.make_transform(g.so3_exp([0.0, -np.radians(5), 0.0]), np.zeros(3)))
    np.testing.assert_allclose(g.so3_log(left[:3, :3]), [0.0, 0.0, np.radians(5)], atol=1e-12)
    np.testing.assert_allclose(g.body_to_optical(ahead)[:3, 3], [0.0, 0.0, 1.0])


def test_project_undoes_back_project() -> None:
    K = np.array([[200.0, 0, 20], [0, 210.0, 15], [0, 0, 1]])
    depth = np.random.default_rng(2).uniform(1, 50, (30, 40)).astype(np.float32)
    pixels = g.project(g.back_project(depth, K).reshape(-1, 3), K)
    rows, columns = np.mgrid[:30, :40]
    np.testing.assert_allclose(pixels[:, 0], columns.ravel(), atol=1e-5)
    np.testing.assert_allclose(pixels[:, 1], rows.ravel(), atol=1e-5)
    assert np.isnan(g.project(np.array([[0.0, 0.0, -1.0]]), K)).all()


CAMERA = CameraIntrinsics(width=640, height=480, fx=500.0, fy=510.0, cx=300.0, cy=250.0)


def _pixel(camera: CameraIntrinsics, point: np.ndarray) -> np.ndarray:
    return g.project(point[None], camera.K)[0]


def test_intrinsics_follow_resize_crop_and_flip() -> None:
    point = np.array([0.3, -0.2, 2.0])
    u, v = _pixel(CAMERA, point)
    np.testing.assert_allclose(
        _pixel(CAMERA.resized(320, 120), point), [(u + 0.5) / 2 - 0.5, (v + 0.5) / 4 - 0.5]
    )
    np.testing.assert_allclose(_pixel(CAMERA.cropped(10, 20, 100, 100), point), [u - 10, v - 20])
    mirrored = point * [-1, 1, 1]
    np.testing.assert_allclose(_pixel(CAMERA.flipped(), mirrored), [639 - u, v])


def test_projection_changes_like_k() -> None:
    P = np.hstack([CAMERA.K, np.zeros((3, 1))])
    camera = CameraIntrinsics(width=640, height=480, fx=500, fy=510, cx=300, cy=250, P=P)
    for changed in (camera.resized(320, 96), camera.cropped(5, 7, 600, 400), camera.flipped()):
        assert changed.P is not None
        np.testing.assert_allclose(changed.P[:, :3], changed.K)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fx": 0.0}, "not calibrated"),
        ({"cx": float("nan")}, "not finite"),
        ({"distortion": (0.1, float("inf"))}, "not finite"),
        ({"width": 0}, "0x480"),
    ],
)
def test_impossible_calibrations_are_refused(change: dict, named: str) -> None:
    values = {"width": 640, "height": 480, "fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0}
    with pytest.raises(CalibrationError, match=named):
        CameraIntrinsics(**(values | change))


def test_distorted_camera_cannot_be_flipped() -> None:
    camera = CameraIntrinsics(
        width=640, height=480, fx=500, fy=500, cx=320, cy=240, distortion=(0.1,)
    )
    with pytest.raises(CalibrationError, match="rectify first"):
        camera.flipped()
