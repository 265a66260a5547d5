"""The doctor names each mistake in a camera's stamps, calibration and extrinsics."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from findings import only

from sfm_ros.config import ModelConfig
from sfm_ros.doctor.camera import check_calibration, check_image, field_of_view_deg
from sfm_ros.doctor.finding import Level, as_text
from sfm_ros.doctor.frames import check_extrinsics, check_tree
from sfm_ros.doctor.model import check_model
from sfm_ros.doctor.observed import (
    Camera,
    Edge,
    Sample,
    Stream,
)
from sfm_ros.doctor.stamps import check_age, check_pairing, check_stamps
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform
from sfm_ros.model_spec import ModelSpec

PERIOD_NS = 100_000_000
BEGIN_NS = 1_000 * PERIOD_NS


def stream(stamps: list[int], age_ns: int = 1_000_000, frame: str = "cam_optical") -> Stream:
    samples = [Sample(stamp_ns=s, arrived_ns=s + age_ns) for s in stamps]
    return Stream(
        topic="/cam/image_raw",
        type_name="sensor_msgs/msg/Image",
        samples=samples,
        frame_ids={frame},
    )


def even(count: int = 50) -> list[int]:
    return [BEGIN_NS + PERIOD_NS * i for i in range(count)]


def calibration(**changes: object) -> SimpleNamespace:
    fields: dict = dict(
        width=640, height=480, distortion_model="plumb_bob", d=[0.0] * 5,
        k=[500.0, 0, 319.5, 0, 500.0, 239.5, 0, 0, 1],
        r=np.eye(3).ravel().tolist(),
        p=[500.0, 0, 319.5, 0, 0, 500.0, 239.5, 0, 0, 0, 1, 0],
        binning_x=0, binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def same(fx: float = 500.0, fy: float = 500.0, cx: float = 319.5) -> dict[str, list[float]]:
    """K and P of the same pinhole camera."""
    k = [fx, 0, cx, 0, fy, 239.5, 0, 0, 1]
    return {"k": k, "p": [fx, 0, cx, 0, 0, fy, 239.5, 0, 0, 0, 1, 0]}


def camera(*infos: SimpleNamespace, topic: str = "/cam/image_raw") -> Camera:
    images = Stream(topic=topic, type_name="sensor_msgs/msg/Image")
    return Camera(images=images, info_topic="/cam/camera_info", calibrations=list(infos))


# ---- stamps -------------------------------------------------------------------------------------


def test_even_stamps_pass_with_their_rate() -> None:
    found = only(check_stamps(stream(even()), 0.5))
    assert found.level is Level.OK and "10.0 Hz" in found.found


@pytest.mark.parametrize(
    ("stamps", "level", "text"),
    [
        ([BEGIN_NS, 0, BEGIN_NS + PERIOD_NS], Level.FAIL, "1 of 3 stamps are zero"),
        ([*even(20), *even(20)], Level.FAIL, "go back 1 times, by up to 1.900 s"),
        ([*even(20), even(20)[-1]], Level.WARN, "repeat the previous one"),
        ([BEGIN_NS + i * 10 * PERIOD_NS for i in range(9)], Level.WARN, "1.0 images per second"),
        ([*even(20), *(BEGIN_NS + (29 + i) * PERIOD_NS for i in range(9))], Level.WARN,
         "1 gaps of more than 0.5 s, the longest 1.00 s"),
        ([s for i, s in enumerate(even(60)) if i % 5 != 4], Level.WARN, "% of the frames are"),
        ([s for i, s in enumerate(even(60)) if i % 3 != 2], Level.FAIL, "3 % of the frames are"),
        ([s + (PERIOD_NS // 3) * (i % 2) for i, s in enumerate(even(60))], Level.WARN, "uneven"),
    ],
)  # fmt: skip
def test_stamp_faults(stamps: list[int], level: Level, text: str) -> None:
    found = only(check_stamps(stream(stamps), 0.5))
    assert found.level is level and text in found.found and found.advice


def test_recording_from_time_zero_passes() -> None:
    stamps = [PERIOD_NS * i for i in range(10)]
    assert only(check_stamps(stream(stamps), 0.5)).level is Level.OK
    looped = only(check_stamps(stream([*stamps, *stamps]), 0.5))
    assert "go back 1 times" in looped.found


@pytest.mark.parametrize(
    ("age_s", "level", "text"),
    [
        (0.01, Level.OK, "10.0 ms behind /clock"),
        (2.0, Level.WARN, "2.00 s after their stamp"),
        (-0.2, Level.WARN, "0.200 s ahead of /clock"),
        (-200.0, Level.WARN, "3.3 minutes ahead of /clock"),
        (1e9, Level.WARN, "31.7 years behind /clock"),
    ],
)
def test_age_names_its_clock(age_s: float, level: Level, text: str) -> None:
    found = only(check_age(stream(even(), round(age_s * 1e9)), "/clock"))
    assert found.level is level and text in found.found


def test_unpaired_images_and_calibrations() -> None:
    shifted = stream([s + 7 for s in even()], frame="other")
    text = as_text(list(check_pairing(stream(even()), shifted)))
    assert "images have frame 'cam_optical', camera_info has 'other'" in text
    assert "has the stamp of an image" in text
    assert only(check_pairing(stream(even()), stream(even()))).level is Level.OK


# ---- camera -------------------------------------------------------------------------------------


def test_calibration_passes_with_its_field_of_view() -> None:
    found = only(check_calibration(camera(calibration()), (640, 480), None))
    assert found.level is Level.OK and "65 degrees wide" in found.found


@pytest.mark.parametrize(
    ("changes", "level", "text"),
    [
        ({"k": [0.0] * 9, "p": [0.0] * 12}, Level.FAIL, "not calibrated"),
        ({"k": [math.nan, 0, 320, 0, 500, 240, 0, 0, 1]}, Level.FAIL, "not finite"),
        ({"width": 320, "height": 240}, Level.FAIL, "the images have 640x480"),
        ({"width": 1280, "height": 480}, Level.FAIL, "the images have 640x480"),
        ({"distortion_model": "fov", "d": [0.9]}, Level.FAIL, "distortion model is 'fov'"),
        ({"d": [0.1, 0.1]}, Level.FAIL, "2 distortion coefficients"),
        (same(fy=250), Level.WARN, "fx 500.0 and fy 250.0"),
        (same(cx=630), Level.WARN, "principal point (630, 240)"),
        (same(fx=5000, fy=5000), Level.WARN, "7 degrees wide"),
        ({"k": [0.0] * 9}, Level.WARN, "fx 500.0 of P"),
        ({"k": [400, 0, 319.5, 0, 400, 239.5, 0, 0, 1]}, Level.WARN, "fx 400.0 of K"),
    ],
)
def test_calibration_faults(changes: dict, level: Level, text: str) -> None:
    found = only(check_calibration(camera(calibration(**changes)), (640, 480), None))
    assert found.level is level and text in found.found and found.advice


def test_scaled_and_cropped_images_are_distinguished() -> None:
    scaled = only(check_calibration(camera(calibration()), (320, 240), None))
    assert "scales the image by 0.5" in scaled.advice
    cropped = only(check_calibration(camera(calibration()), (640, 360), None))
    assert "crops" in cropped.advice


def test_binning_counts_for_the_size() -> None:
    info = calibration(binning_x=2, binning_y=2)
    assert only(check_calibration(camera(info), (320, 240), None)).level is Level.OK


def test_distortion_beside_a_rectified_topic() -> None:
    seen = camera(calibration(d=[-0.3, 0.1, 0, 0, 0]), topic="/cam/image_rect")
    found = only(check_calibration(seen, (640, 480), None))
    assert "rectified by its name" in found.found and "preprocess.input" in found.advice


def test_lens_unlike_that_of_the_model() -> None:
    _, spec = check_model(ModelConfig())
    assert isinstance(spec, ModelSpec)
    wide = calibration(k=[200, 0, 319.5, 0, 200, 239.5, 0, 0, 1], p=[0.0] * 12)
    of_one_lens = dataclasses.replace(spec, canonical_fx=0.0)
    found = only(check_calibration(camera(wide), (640, 480), of_one_lens))
    assert found.level is Level.WARN and "trained with" in found.found
    of_any = only(check_calibration(camera(wide), (640, 480), spec))
    assert of_any.level is Level.OK


def test_changing_or_missing_calibration() -> None:
    several = check_calibration(camera(calibration(), calibration(width=320)), (320, 480), None)
    assert "2 versions" in as_text(several)
    assert only(check_calibration(camera(), None, None)).level is Level.FAIL


def test_blank_and_undecodable_images() -> None:
    seen = camera()
    seen.image = SimpleNamespace(
        width=8, height=4, step=24, encoding="rgb8", is_bigendian=0, data=bytes(96)
    )
    findings, size = check_image(seen)
    assert "of one color" in only(findings).found and size == (8, 4)
    seen.image.data = bytes(20)
    findings, size = check_image(seen)
    assert only(findings).level is Level.FAIL and size is None


def test_field_of_view_of_a_known_camera() -> None:
    from sfm_ros.datatypes import CameraIntrinsics

    square = CameraIntrinsics(width=200, height=200, fx=100, fy=100, cx=99.5, cy=99.5)
    assert field_of_view_deg(square) == pytest.approx(90.0)


# ---- frames -------------------------------------------------------------------------------------


def edge(parent: str, child: str, T: np.ndarray | None = None, is_static: bool = True) -> Edge:
    T = np.eye(4) if T is None else T
    return Edge(parent=parent, child=child, is_static=is_static, T_parent_child=T)


OPTICAL = edge("cam", "cam_optical", make_transform(R_BODY_OPTICAL, np.zeros(3)))
MOUNTED = edge("base_link", "cam", make_transform(np.eye(3), np.array([1.0, 0.0, 1.5])))


def test_tree_and_extrinsics_pass() -> None:
    assert only(check_tree([MOUNTED, OPTICAL])).level is Level.OK
    found = only(check_extrinsics([MOUNTED, OPTICAL], "base_link", "cam_optical"))
    assert found.level is Level.OK
    assert "(1.00, 0.00, 1.50)" in found.found and "0 degrees left" in found.found


@pytest.mark.parametrize(
    ("edges", "level", "text"),
    [
        ([], Level.WARN, "no transform"),
        ([MOUNTED, edge("chassis", "cam")], Level.FAIL, "'cam' has 2 parents: base_link, chassis"),
        ([edge("a", "b"), edge("b", "c"), edge("c", "a")], Level.FAIL, "a cycle: a -> "),
        ([edge("a", "b", np.full((4, 4), np.nan))], Level.FAIL, "no rigid motion"),
        ([edge("/map", "odom")], Level.WARN, "begins with a slash"),
        ([edge("a", "b"), edge("a", "b", is_static=False)], Level.FAIL, "both on /tf and"),
    ],
)
def test_tree_faults(edges: list[Edge], level: Level, text: str) -> None:
    found = only(check_tree(edges))
    assert found.level is level and text in found.found and found.advice


def test_optical_frame_with_body_axes() -> None:
    """A frequent mistake: the extrinsics lack the rotation to the optical axes (REP 103)."""
    upright = edge("base_link", "cam_optical", make_transform(np.eye(3), np.array([1.0, 0, 1])))
    found = only(check_extrinsics([upright], "base_link", "cam_optical"))
    assert found.level is Level.FAIL and "z axis points up" in found.found
    assert "-0.5 0.5 -0.5 0.5" in found.advice


def test_missing_extrinsics_name_a_command() -> None:
    found = only(check_extrinsics([OPTICAL], "base_link", "cam_optical"))
    assert found.level is Level.WARN and "sfm_static_transform" in found.advice
    assert "empty" in only(check_extrinsics([], "base_link", "")).found
    assert not list(check_extrinsics([], "", "cam_optical"))
