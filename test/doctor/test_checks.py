"""Each mistake that users make is named by the doctor, and a sound system is not."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Reason
from sfm_ros.doctor.camera import check_calibration, check_image, field_of_view_deg
from sfm_ros.doctor.finding import Finding, Level, as_json, as_text
from sfm_ros.doctor.frames import check_extrinsics, check_tree
from sfm_ros.doctor.middleware import check_environment, largest_segment
from sfm_ros.doctor.model import check_engine, check_model
from sfm_ros.doctor.observed import Camera, Edge, Endpoint, Sample, Stream, info_topic_of
from sfm_ros.doctor.qos import check_image_publishers, check_names, check_pairs, check_static
from sfm_ros.doctor.stamps import check_age, check_pairing, check_stamps
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform
from sfm_ros.model_spec import ModelSpec
from sfm_ros.reasons import MEANING, advice_for

PACKAGE = Path(__file__).resolve().parents[2] / "sfm_ros"
PROFILE = PACKAGE / "ros" / "process" / "fastdds_large_images.xml"
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


def camera(*infos: SimpleNamespace, topic: str = "/cam/image_raw") -> Camera:
    images = Stream(topic=topic, type_name="sensor_msgs/msg/Image")
    return Camera(images=images, info_topic="/cam/camera_info", calibrations=list(infos))


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, as_text(findings)
    return findings[0]


# ---- stamps -----------------------------------------------------------------------------------


def test_even_stamps_are_in_order_with_their_rate() -> None:
    found = only(check_stamps(stream(even()), 0.5))
    assert found.level is Level.OK and "10.0 Hz" in found.found


@pytest.mark.parametrize(
    ("stamps", "level", "said"),
    [
        ([BEGIN_NS, 0, BEGIN_NS + PERIOD_NS], Level.FAIL, "1 of 3 stamps are zero"),
        ([*even(20), *even(20)], Level.FAIL, "go back 1 times, by up to 1.900 s"),
        ([*even(20), even(20)[-1]], Level.WARN, "repeat the one before"),
        ([BEGIN_NS + i * 10 * PERIOD_NS for i in range(9)], Level.WARN, "1.0 images per second"),
        ([*even(20), *(BEGIN_NS + (29 + i) * PERIOD_NS for i in range(9))], Level.WARN,
         "1 gaps of more than 0.5 s, the longest 1.00 s"),
        ([s for i, s in enumerate(even(60)) if i % 5 != 4], Level.WARN, "% of the frames are"),
        ([s + (PERIOD_NS // 3) * (i % 2) for i, s in enumerate(even(60))], Level.WARN, "uneven"),
    ],
)  # fmt: skip
def test_faults_of_stamps_are_named(stamps: list[int], level: Level, said: str) -> None:
    found = only(check_stamps(stream(stamps), 0.5))
    assert found.level is level and said in found.found and found.advice


def test_a_recording_that_counts_from_zero_is_sound() -> None:
    stamps = [PERIOD_NS * i for i in range(10)]
    assert only(check_stamps(stream(stamps), 0.5)).level is Level.OK
    looped = only(check_stamps(stream([*stamps, *stamps]), 0.5))
    assert "go back 1 times" in looped.found


@pytest.mark.parametrize(
    ("age_s", "level", "said"),
    [
        (0.01, Level.OK, "10.0 ms behind /clock"),
        (2.0, Level.WARN, "2.00 s after their stamp"),
        (-0.2, Level.WARN, "0.200 s ahead of /clock"),
        (1e9, Level.WARN, "1000000000 s behind /clock"),
    ],
)
def test_age_is_judged_against_a_named_clock(age_s: float, level: Level, said: str) -> None:
    found = only(check_age(stream(even(), round(age_s * 1e9)), "/clock"))
    assert found.level is level and said in found.found


def test_images_and_calibrations_that_do_not_belong_together_are_named() -> None:
    shifted = stream([s + 7 for s in even()], frame="other")
    text = as_text(check_pairing(stream(even()), shifted))
    assert "of frame 'cam_optical', camera_info of 'other'" in text
    assert "bears the stamp of an image" in text
    assert only(check_pairing(stream(even()), stream(even()))).level is Level.OK


# ---- camera -----------------------------------------------------------------------------------


def test_a_sound_calibration_tells_its_field_of_view() -> None:
    found = only(check_calibration(camera(calibration()), (640, 480), None))
    assert found.level is Level.OK and "65 degrees wide" in found.found


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"k": [0.0] * 9}, Level.FAIL, "not calibrated"),
        ({"k": [math.nan, 0, 320, 0, 500, 240, 0, 0, 1]}, Level.FAIL, "not finite"),
        ({"width": 320, "height": 240}, Level.FAIL, "the images have 640x480"),
        ({"width": 1280, "height": 480}, Level.FAIL, "the images have 640x480"),
        ({"distortion_model": "fov", "d": [0.9]}, Level.FAIL, "distortion model is 'fov'"),
        ({"d": [0.1, 0.1]}, Level.FAIL, "2 distortion coefficients"),
        ({"k": [500, 0, 319.5, 0, 250, 239.5, 0, 0, 1]}, Level.WARN, "fx 500.0 and fy 250.0"),
        ({"k": [500, 0, 630, 0, 500, 239.5, 0, 0, 1]}, Level.WARN, "principal point (630, 240)"),
        ({"k": [5000, 0, 319.5, 0, 5000, 239.5, 0, 0, 1]}, Level.WARN, "7 degrees wide"),
    ],
)
def test_faults_of_calibrations_are_named(changes: dict, level: Level, said: str) -> None:
    found = only(check_calibration(camera(calibration(**changes)), (640, 480), None))
    assert found.level is level and said in found.found and found.advice


def test_a_image_scaled_without_its_calibration_is_told_from_a_cropped_one() -> None:
    scaled = only(check_calibration(camera(calibration()), (320, 240), None))
    assert "scales the image by 0.5" in scaled.advice
    cropped = only(check_calibration(camera(calibration()), (640, 360), None))
    assert "crops" in cropped.advice


def test_region_of_interest_and_binning_count_as_the_size() -> None:
    info = calibration(binning_x=2, binning_y=2)
    assert only(check_calibration(camera(info), (320, 240), None)).level is Level.OK


def test_distortion_beside_a_rectified_topic_is_named() -> None:
    seen = camera(calibration(d=[-0.3, 0.1, 0, 0, 0]), topic="/cam/image_rect")
    found = only(check_calibration(seen, (640, 480), None))
    assert "sounds rectified" in found.found and "preprocess.input" in found.advice


def test_a_lens_unlike_the_models_is_named() -> None:
    _, spec = check_model(ModelConfig())
    assert isinstance(spec, ModelSpec)
    wide = calibration(k=[200, 0, 319.5, 0, 200, 239.5, 0, 0, 1], p=[0.0] * 12)
    found = only(check_calibration(camera(wide), (640, 480), spec))
    assert found.level is Level.WARN and "trained with" in found.found


def test_a_calibration_that_changes_or_lacks_is_named() -> None:
    several = check_calibration(camera(calibration(), calibration(width=320)), (320, 480), None)
    assert "2 versions" in as_text(several)
    assert only(check_calibration(camera(), None, None)).level is Level.FAIL


def test_images_that_show_nothing_or_cannot_be_decoded_are_named() -> None:
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


# ---- frames -----------------------------------------------------------------------------------


def edge(parent: str, child: str, T: np.ndarray | None = None, is_static: bool = True) -> Edge:
    T = np.eye(4) if T is None else T
    return Edge(parent=parent, child=child, is_static=is_static, T_parent_child=T)


OPTICAL = edge("cam", "cam_optical", make_transform(R_BODY_OPTICAL, np.zeros(3)))
MOUNTED = edge("base_link", "cam", make_transform(np.eye(3), np.array([1.0, 0.0, 1.5])))


def test_a_sound_tree_and_extrinsics() -> None:
    assert only(check_tree([MOUNTED, OPTICAL])).level is Level.OK
    found = only(check_extrinsics([MOUNTED, OPTICAL], "base_link", "cam_optical"))
    assert found.level is Level.OK
    assert "(1.00, 0.00, 1.50)" in found.found and "0 degrees left" in found.found


@pytest.mark.parametrize(
    ("edges", "level", "said"),
    [
        ([], Level.WARN, "no transform"),
        ([MOUNTED, edge("chassis", "cam")], Level.FAIL, "'cam' has 2 parents: base_link, chassis"),
        ([edge("a", "b"), edge("b", "c"), edge("c", "a")], Level.FAIL, "a circle: a -> "),
        ([edge("a", "b", np.full((4, 4), np.nan))], Level.FAIL, "no rotation"),
        ([edge("/map", "odom")], Level.WARN, "begins with a slash"),
        ([edge("a", "b"), edge("a", "b", is_static=False)], Level.FAIL, "both on /tf and"),
    ],
)
def test_faults_of_trees_are_named(edges: list[Edge], level: Level, said: str) -> None:
    found = only(check_tree(edges))
    assert found.level is level and said in found.found and found.advice


def test_an_optical_frame_with_body_axes_is_found() -> None:
    """The classic: the camera hangs on the robot without the rotation of REP 103."""
    upright = edge("base_link", "cam_optical", make_transform(np.eye(3), np.array([1.0, 0, 1])))
    found = only(check_extrinsics([upright], "base_link", "cam_optical"))
    assert found.level is Level.FAIL and "z axis points up" in found.found
    assert "-0.5 0.5 -0.5 0.5" in found.advice


def test_a_missing_extrinsics_names_the_command_that_adds_it() -> None:
    found = only(check_extrinsics([OPTICAL], "base_link", "cam_optical"))
    assert found.level is Level.WARN and "sfm_static_transform" in found.advice
    assert "empty" in only(check_extrinsics([], "base_link", "")).found
    assert check_extrinsics([], "", "cam_optical") == []


# ---- quality of service and graph -------------------------------------------------------------


def endpoint(node: str, is_publisher: bool, **changes: str) -> Endpoint:
    values = dict(reliability="reliable", durability="volatile", type_name="sensor_msgs/msg/Image")
    return Endpoint(node=node, topic="/t", is_publisher=is_publisher, **{**values, **changes})


def test_pairs_that_never_connect_are_named_with_both_nodes() -> None:
    driver = endpoint("/driver", True, reliability="best_effort")
    listener = endpoint("/listener", False)
    found = only(check_pairs([driver, listener], ["/t"]))
    assert found.level is Level.FAIL
    assert "/driver -> /listener never connect: the publisher is best effort" in found.found
    tf = endpoint("/tf_listener", False, durability="transient_local")
    assert "volatile" in only(check_pairs([endpoint("/d", True), tf], ["/t"])).found
    other = endpoint("/x", False, type_name="sensor_msgs/msg/CompressedImage")
    assert "2 types" in only(check_pairs([driver, other], ["/t"])).found
    fine = endpoint("/listener", False, reliability="best_effort")
    assert only(check_pairs([endpoint("/driver", True), fine], ["/t"])).level is Level.OK


def test_two_publishers_two_names_and_volatile_static_transforms_are_named() -> None:
    pair = [endpoint("/a", True), endpoint("/b", True)]
    assert "2 of them: /a, /b" in only(check_image_publishers(pair, "/t")).found
    assert check_image_publishers(pair[:1], "/t") == []
    assert "/sfm_node" in only(check_names(["/sfm_node", "/x", "/sfm_node"])).found
    static = Endpoint(
        node="/a", topic="/tf_static", type_name="tf2_msgs/msg/TFMessage", is_publisher=True,
        reliability="reliable", durability="volatile",
    )  # fmt: skip
    assert only(check_static([static])).level is Level.FAIL


@pytest.mark.parametrize(
    ("topic", "info"),
    [
        ("/cam/image_raw", "/cam/camera_info"),
        ("/cam/image_raw/compressed", "/cam/camera_info"),
        ("/image", "/camera_info"),
    ],
)
def test_calibration_is_looked_for_beside_the_images(topic: str, info: str) -> None:
    assert info_topic_of(topic) == info


# ---- model and machine ------------------------------------------------------------------------


def test_the_shipped_model_is_whole_and_runs() -> None:
    findings, spec = check_model(ModelConfig())
    assert only(findings).level is Level.OK and spec is not None
    found = check_engine(ModelConfig())[0]
    assert found.level is Level.OK and "onnxruntime" in found.found


def test_a_damaged_model_is_named(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shipped = PACKAGE / "models" / "road_small"
    bundle.mkdir()
    for file in shipped.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    (bundle / "pose.onnx").write_bytes(b"cut short")
    findings, spec = check_model(ModelConfig(bundle=str(bundle)))
    assert "damaged" in only(findings).found and spec is None
    assert only(check_model(ModelConfig(bundle="/nowhere"))[0]).level is Level.FAIL


def environment(largest: int = 1_400_000, **variables: str) -> dict[str, Finding]:
    findings = check_environment("rmw_fastrtps_cpp", variables, largest, PROFILE)
    return {finding.check: finding for finding in findings}


def test_the_environment_is_judged() -> None:
    assert environment()["shared memory"].level is Level.WARN
    assert str(PROFILE) in environment()["shared memory"].advice
    assert environment(largest=100_000)["shared memory"].level is Level.OK
    shipped = environment(FASTRTPS_DEFAULT_PROFILES_FILE=str(PROFILE))["shared memory"]
    assert shipped.level is Level.OK and "32 MiB" in shipped.found
    lost = environment(FASTRTPS_DEFAULT_PROFILES_FILE="/nowhere.xml")["shared memory"]
    assert lost.level is Level.FAIL
    assert environment(ROS_DOMAIN_ID="150")["domain"].level is Level.WARN
    assert environment(ROS_DOMAIN_ID="x")["domain"].level is Level.FAIL
    assert environment(ROS_LOCALHOST_ONLY="1")["discovery"].level is Level.OK
    assert environment(ROS_AUTOMATIC_DISCOVERY_RANGE="OFF")["discovery"].level is Level.FAIL
    other = check_environment("rmw_cyclonedds_cpp", {}, 0, PROFILE)
    assert "shared memory" not in {finding.check for finding in other}


def test_a_profile_without_a_segment_has_none(tmp_path: Path) -> None:
    (tmp_path / "p.xml").write_text("<dds><profiles/></dds>")
    assert largest_segment(tmp_path / "p.xml") == 0
    assert largest_segment(PROFILE) == 32 * 2**20


def test_every_reason_code_has_its_meaning_and_advice() -> None:
    assert set(MEANING) == set(Reason)
    assert advice_for("gap, flat_depth") == "; ".join(
        MEANING[reason][1] for reason in (Reason.GAP, Reason.FLAT_DEPTH)
    )


def test_json_holds_what_the_text_says() -> None:
    import json

    findings = check_tree([])
    report = json.loads(as_json("a bag", findings))
    assert report["subject"] == "a bag" and report["failed"] is False
    assert report["checks"][0]["level"] == "WARN"
    assert as_text(findings).splitlines()[-1] == "0 OK, 1 WARN, 0 FAIL"
