"""Distortion models under every name, and lists of coefficients of every length."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError
from sfm_ros.formats.distortion import EQUIDISTANT, PLUMB_BOB, RATIONAL, parse_distortion
from sfm_ros.preprocess import normalized_points

FIVE = [-0.0306, 0.0352, -0.000138, -0.000146, -0.01204]


@pytest.mark.parametrize(
    ("name", "D", "model", "used"),
    [
        ("plumb_bob", [*FIVE, 0, 0, 0], PLUMB_BOB, FIVE),
        ("plumb_bob", [*FIVE, 0, 0, 0, 0, 0, 0, 0], PLUMB_BOB, FIVE),
        ("plumb_bob", [*FIVE, *[0.0] * 9], PLUMB_BOB, FIVE),
        ("plumb_bob", [*FIVE, 0.1, 0.2, 0.3], RATIONAL, [*FIVE, 0.1, 0.2, 0.3]),
        ("plumb_bob", [*FIVE, 0, 0, 0.3], RATIONAL, [*FIVE, 0, 0, 0.3]),
        ("plumb_bob", [*FIVE, 0.1, 0.2, 0.3, 0, 0, 0, 0], RATIONAL, None),
        ("plumb_bob", [*FIVE, 0, 0, 0, 0.01, 0, 0, 0], RATIONAL, None),
        ("plumb_bob", [*FIVE, 0], PLUMB_BOB, FIVE),
        ("", FIVE[:4], PLUMB_BOB, FIVE[:4]),
        ("radtan", FIVE[:4], PLUMB_BOB, FIVE[:4]),
        ("radial-tangential", FIVE[:4], PLUMB_BOB, FIVE[:4]),
        ("pinhole-radtan", FIVE[:4], PLUMB_BOB, FIVE[:4]),
        ("Plumb Bob", FIVE, PLUMB_BOB, FIVE),
        ("Brown Conrady", FIVE, PLUMB_BOB, FIVE),
        ("rational_polynomial", [*FIVE, 0.1, 0.2, 0.3], RATIONAL, None),
        ("rational_polynomial", FIVE, RATIONAL, FIVE),
        ("thin_prism", [*FIVE, 0, 0, 0, 0.01, 0.02, 0, 0], RATIONAL, None),
        ("equidistant", [-0.01, 0.02, -0.01, 0.002], EQUIDISTANT, None),
        ("pinhole-equi", [-0.01, 0.02, -0.01, 0.002], EQUIDISTANT, None),
        ("KANNALA_BRANDT", [-0.01, 0.02, -0.01, 0.002], EQUIDISTANT, None),
        ("fisheye", [-0.01, 0.02, -0.01, 0.002, 0, 0, 0, 0], EQUIDISTANT, [-0.01, 0.02, -0.01,
         0.002]),
        ("equidistant", [0.0] * 4, EQUIDISTANT, [0.0] * 4),
        ("equidistant", [0.0] * 5, EQUIDISTANT, [0.0] * 4),
        ("plumb_bob", [0.0] * 8, PLUMB_BOB, []),
        ("rational_polynomial", [0.0] * 8, PLUMB_BOB, []),
        ("none", [], PLUMB_BOB, []),
        ("inverse_brown_conrady", [0.0] * 5, PLUMB_BOB, []),
    ],
)  # fmt: skip
def test_names_and_counts(name: str, D: list[float], model: str, used: list[float] | None) -> None:
    found = parse_distortion(name, np.array(D, dtype=float), "here")
    assert found == (model, tuple(map(float, D if used is None else used)))


@pytest.mark.parametrize(
    ("name", "D", "text"),
    [
        ("plumb_bob", [*FIVE, 0.1], "6 distortion coefficients.*4 or 5"),
        ("plumb_bob", [0.1, 0.2, 0.3], "3 distortion coefficients"),
        ("equidistant", [0.1, 0.2, 0.3, 0.4, 0.5], "5 distortion coefficients.*has 4"),
        ("equidistant", [0.1, 0.2], "2 distortion coefficients"),
        ("none", FIVE, "'none', but there are coefficients"),
        ("inverse_brown_conrady", FIVE, "'inverse_brown_conrady', expected one of"),
        ("fov", [0.0], "'fov', expected one of"),
        ("omni", [0.0] * 4, "'omni'"),
        ("thin_prism_fisheye", [0.0] * 8, "'thin_prism_fisheye'"),
        ("plumb_bob", [1e6, 0, 0, 0], "at most 10000"),
    ],
)
def test_what_has_no_meaning_is_refused(name: str, D: list[float], text: str) -> None:
    with pytest.raises(CalibrationError, match=text) as caught:
        parse_distortion(name, np.array(D, dtype=float), "/cam/camera_info")
    assert str(caught.value).startswith("/cam/camera_info: ")


def test_an_ideal_equidistant_lens_is_not_a_pinhole_camera() -> None:
    """Its pixels are at f times the angle, r = f theta, not at f times its tangent."""
    model, coefficients = parse_distortion("equidistant", np.zeros(4), "here")
    camera = CameraIntrinsics(
        width=200, height=200, fx=100.0, fy=100.0, cx=100.0, cy=100.0,
        distortion_model=model, distortion=coefficients,
    )  # fmt: skip
    assert camera.is_distorted
    pixels = np.array([[150.0, 100.0], [100.0, 30.0]])
    rays = normalized_points(camera, pixels)
    np.testing.assert_allclose(rays, [[np.tan(0.5), 0.0], [0.0, -np.tan(0.7)]], atol=1e-6)


def test_the_rest_of_zeros_does_not_change_the_pixels() -> None:
    points = np.random.default_rng(1).uniform(-0.4, 0.4, (20, 3)) + [0, 0, 1]
    for name, D in (("plumb_bob", [*FIVE, 0, 0, 0]), ("plumb_bob", [*FIVE, 0.02, -0.01, 0.1])):
        _, used = parse_distortion(name, np.array(D), "here")
        ours, theirs = (
            cv2.projectPoints(points, np.zeros(3), np.zeros(3), np.eye(3), np.array(d))[0]
            for d in (used, D)
        )
        np.testing.assert_array_equal(ours, theirs)
