"""Every program takes the same camera for the same recording, and reports it.

The evaluation, the demo, the preparation of training data, the node and the doctor are asked for
recordings that other programs wrote, some of them contradicting themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_recorder import START, Recorder

from sfm_ros.bags.camera import CAMERA_INFO, PlayableBag
from sfm_ros.bags.reader import BagFile
from sfm_ros.cameras.pixels import PixelCamera
from sfm_ros.config import ScaleConfig, SfmConfig
from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.doctor.bag import read_bag
from sfm_ros.doctor.camera import check_calibration, check_image
from sfm_ros.doctor.finding import Level
from sfm_ros.errors import CalibrationError, SourceError
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.evaluation.runs.result import OFFLINE
from sfm_ros.evaluation.session import evaluate
from sfm_ros.formats.kitti_calibration import read_kitti_numbers
from sfm_ros.source import deferred
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.folder import list_images
from sfm_ros.sources.kitti.source import CAMERA_HEIGHT_M

Choice = tuple[bool, str, float, float, float]
"""Whether the images are taken as rectified, what is used, and fx, cx, cy."""
REFUSED = "refused"
LENS = (-0.3, 0.1, 0.001, -0.001, 0.0)
SIZE = (208, 64)


def choice_of(camera: PixelCamera) -> Choice:
    numbers = (camera.intrinsics.fx, camera.intrinsics.cx, camera.intrinsics.cy)
    return camera.is_rectified, camera.used, *(round(value, 3) for value in numbers)


def or_refused(choose: Callable[[], PixelCamera]) -> Choice | str:
    try:
        return choice_of(choose())
    except CalibrationError:
        return REFUSED


def of_evaluation(path: Path, topic: str | None) -> PixelCamera:
    camera = open_input(InputOptions(kind="bag", path=path, image_topic=topic)).camera
    assert camera is not None
    return camera


def of_node(bag: PlayableBag) -> PixelCamera:
    """What the node decides of the messages that it receives when the bag is played."""
    calibration = pytest.importorskip("sfm_ros.ros.node.calibration")
    cache = calibration.CalibrationCache(bag.camera_info_topic, bag.transported_topic)
    for record in BagFile(bag.path).records([bag.camera_info_topic]):
        assert record.message.__msgtype__ == CAMERA_INFO
        cache.take(record.message)
    cache.wait(0.0)  # raises what the node logs
    assert cache.camera is not None
    return cache.camera


def of_demo(path: Path, topic: str | None, folder: Path) -> PixelCamera:
    """The node's choice with the bag as the demo plays it."""
    given = open_input(InputOptions(kind="bag", path=path, image_topic=topic))
    played = given.playable() or given.converted(folder / "played", folder / "depth")
    assert played.bag is not None
    return of_node(played.bag)


def of_preparation(path: Path, topic: str | None, folder: Path) -> PixelCamera:
    prepare = pytest.importorskip("training.prepare")
    words = ["bag", str(folder / "set"), "--file", str(path)]
    options = prepare.parse([*words, *(["--topic", topic] if topic else [])])
    (source,) = options.list_sources(options)
    return source.open().camera


def of_doctor(path: Path, topic: str | None) -> tuple[Level, str]:
    """The severity and the text of what the doctor finds about the calibration."""
    (camera,) = read_bag(path, topic).cameras
    _, size = check_image(camera)
    findings = check_calibration(camera, size, None, SfmConfig().preprocess.input)
    worst = max(findings, key=lambda finding: list(Level).index(finding.level))
    return worst.level, " ".join(finding.found for finding in findings)


def assert_all_agree(path: Path, topic: str | None, folder: Path) -> Choice | str:
    """Ask every program; returns what they take."""
    expected = or_refused(lambda: of_evaluation(path, topic))
    assert or_refused(lambda: of_preparation(path, topic, folder)) == expected
    demo = or_refused(lambda: of_demo(path, topic, folder))
    level, text = of_doctor(path, topic)
    if isinstance(expected, str):
        assert demo == REFUSED and level is Level.FAIL
        return expected
    assert demo[2:] == expected[2:]  # a bag that is converted holds only what is used
    camera = of_evaluation(path, topic)
    assert f"{camera.focal_text} of {camera.used}" in text
    assert (level is Level.OK) == (not camera.is_doubtful)
    assert camera.reason in camera.text
    return expected


# ---- recordings of others --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("kitti2bag-odom-k-zero/kitti_odom.bag", (True, "P", 721.538, 609.559, 172.854)),
        ("kitti2bag-raw-undistorted-twice/kitti_raw.bag", (True, "P", 721.538, 609.559, 172.854)),
        ("camera-info-p-of-gazebo-default/bag", (True, "K", 120.64, 103.5, 31.5)),
        ("camera-info-roi-outside/bag", (True, "K", 120.64, 103.5, 31.5)),
        ("orbbec-plumb-bob-8/bag", (False, "K and D", 120.64, 103.5, 31.5)),
        ("mono16-of-12-bits/bag", (True, "K", 120.64, 103.5, 31.5)),
    ],
)
def test_recordings_of_others(
    name: str, expected: Choice, case: Callable[[str], Path], tmp_path: Path
) -> None:
    assert assert_all_agree(case(name), None, tmp_path) == expected


# ---- recordings that are made here -----------------------------------------------------------


def matrices(fx: float, cx: float, cy: float) -> dict[str, list[float]]:
    """k and p of the same pinhole camera."""
    return {"k": [fx, 0, cx, 0, fx, cy, 0, 0, 1], "p": [fx, 0, cx, 0, 0, fx, cy, 0, 0, 0, 1, 0]}


GOOD = matrices(160.0, 103.5, 31.5)
OTHER_P = {"p": matrices(150.0, 100.0, 30.0)["p"]}
SCALE = np.diag([SIZE[0] / 1242, SIZE[1] / 375, 1.0])
KITTI_K = SCALE @ np.reshape([984.24, 0, 690.0, 0, 980.81, 233.2, 0, 0, 1], (3, 3))
KITTI_P = SCALE @ np.reshape([721.54, 0, 609.56, 0, 0, 721.54, 172.85, 0, 0, 0, 1, 0], (3, 4))
MADE: dict[str, tuple[str, dict[str, Any], Choice | str]] = {
    "plain": ("image_raw", GOOD, (True, "K", 160.0, 103.5, 31.5)),
    "raw": ("image_raw", {**GOOD, "d": LENS}, (False, "K and D", 160.0, 103.5, 31.5)),
    "rectified by name": (
        "image_rect", {**GOOD, **OTHER_P, "d": LENS}, (True, "P", 150.0, 100.0, 30.0),
    ),
    "rectified by name, color": (
        "image_rect_color", {**GOOD, **OTHER_P, "d": LENS}, (True, "P", 150.0, 100.0, 30.0),
    ),
    "rectified by name, without P": (
        "image_rect", {**GOOD, "d": LENS, "p": [0.0] * 12}, REFUSED,
    ),
    "rectified by geometry": (
        "image", {"k": KITTI_K.ravel(), "p": KITTI_P.ravel(), "d": LENS},
        (True, "P", 120.838, 102.085, 29.5),
    ),
    "only P": ("image_raw", {**GOOD, "k": [0.0] * 9}, (True, "P", 160.0, 103.5, 31.5)),
    "only P, distorted": ("image_raw", {**GOOD, "k": [0.0] * 9, "d": LENS}, REFUSED),
    "simulator": (
        "image_raw", {**GOOD, "p": matrices(277.0, 160.0, 120.0)["p"]},
        (True, "K", 160.0, 103.5, 31.5),
    ),
    "region outside": (
        "image_raw", {**GOOD, "roi": (50, 100, *SIZE)}, (True, "K", 160.0, 103.5, 31.5),
    ),
    "region that nothing explains": (
        "image_raw", {**matrices(160.0, 170.0, 31.5), "roi": (140, 0, *SIZE)}, REFUSED,
    ),
    "not calibrated": ("image_raw", {"k": [0.0] * 9, "p": [0.0] * 12}, REFUSED),
    "8 coefficients": (
        "image_raw", {**GOOD, "d": [*LENS, 0, 0, 0]}, (False, "K and D", 160.0, 103.5, 31.5),
    ),
    "fisheye without distortion": (
        "image_raw", {**GOOD, "d": [0.0] * 4, "model": "equidistant"},
        (False, "K and D", 160.0, 103.5, 31.5),
    ),
}  # fmt: skip
"""Name -> last part of the topic, camera_info, and what is to be taken."""


@pytest.fixture(params=["mcap", "ros1"])
def make(request: pytest.FixtureRequest, new_bag: Callable[..., Recorder]) -> Iterator[Any]:
    """Writes a bag with these images and this camera_info."""

    def write(topic: str, info: dict[str, Any]) -> Path:
        recorder = new_bag(request.param)
        camera = CameraIntrinsics(width=SIZE[0], height=SIZE[1], fx=1, fy=1, cx=0, cy=0)
        noise = np.random.default_rng(3).integers(0, 256, (8, 26), np.uint8)
        pixels = cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC)
        for index in range(2):
            stamp = START + index * 100_000_000
            recorder.info("/camera/camera_info", stamp, camera, **info)
            recorder.image(topic, pixels, "mono8", stamp, width=SIZE[0], height=SIZE[1])
        return recorder.done()

    yield write


@pytest.mark.parametrize("name", MADE)
def test_recordings_that_are_made_here(name: str, make: Any, tmp_path: Path) -> None:
    topic, info, expected = MADE[name]
    found = assert_all_agree(make(f"/camera/{topic}", info), None, tmp_path)
    assert found == pytest.approx(expected, abs=0.01) if expected != REFUSED else found == REFUSED


def test_depth_beside_the_camera_is_left_out(
    new_bag: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = new_bag("mcap")
    pixels = np.random.default_rng(3).integers(0, 256, (6, 8), np.uint8)
    for topic in ("/camera/color/image_raw", "/depth_camera/rgb/image_raw"):
        name = topic.rpartition("/")[0]
        recorder.info(f"{name}/camera_info", **matrices(10.0, 3.5, 2.5))
        recorder.image(topic, pixels, "mono8", START)
    for topic in ("/camera/depth/image_rect_raw", "/camera/aligned_depth_to_color/image_raw"):
        recorder.image(topic, pixels.astype("<u2"), "16UC1", START)
    recorder.compressed("/camera/color/image_raw/compressedDepth", b"x", START)
    path = recorder.done()
    names = [camera.images.topic for camera in read_bag(path).cameras]
    assert names == ["/camera/color/image_raw", "/depth_camera/rgb/image_raw"]
    assert choice_of(of_evaluation(path, names[0]))[2] == 10.0


def test_depth_alone_is_no_camera_unless_it_is_requested(new_bag: Callable[..., Recorder]) -> None:
    recorder, topic = new_bag("mcap"), "/camera/depth/image_rect_raw"
    recorder.info("/camera/depth/camera_info", **matrices(10.0, 3.5, 2.5))
    recorder.image(topic, np.arange(48, dtype="<u2") * 900, "16UC1", START)
    path = recorder.done()
    with pytest.raises(SourceError, match=f"no image topic but of depth .{topic}.*image_topic"):
        of_evaluation(path, None)
    assert read_bag(path).cameras == []
    assert choice_of(of_evaluation(path, topic))[2] == 10.0


# ---- calibrations that change ----------------------------------------------------------------


def focal_lengths_of_node(path: Path, image_topic: str, info_topic: str) -> list[float]:
    """fx of every image that the node uses; one waits for the first usable camera_info."""
    calibration = pytest.importorskip("sfm_ros.ros.node.calibration")
    cache = calibration.CalibrationCache(info_topic, image_topic)
    found: list[float] = []
    waiting = 0
    for record in BagFile(path).records([image_topic, info_topic]):
        if record.topic == info_topic:
            cache.take(record.message)
            if cache.camera is not None:
                found += [cache.camera.focal_px] * waiting
                waiting = 0
        elif cache.camera is not None:
            found.append(cache.camera.focal_px)
        elif not found:
            waiting += 1
    return found


def focal_lengths(path: Path, tmp_path: Path) -> list[float]:
    """fx of every frame of the evaluation, which is that of the preparation and of the node."""
    given = open_input(InputOptions(kind="bag", path=path))
    assert isinstance(given.source, BagSource) and given.source.camera_info_topic is not None
    found = [item.frame.intrinsics.fx for item in given.source]
    source = given.source
    assert focal_lengths_of_node(path, source.image_topic, source.camera_info_topic) == found
    prepare = pytest.importorskip("training.prepare")
    options = prepare.parse(["bag", str(tmp_path / "set"), "--file", str(path)])
    (spec,) = options.list_sources(options)
    prepared = [decode() for decode in deferred(spec.open())]
    assert [item.frame.intrinsics.fx for item in prepared if item is not None] == found
    texts = (given.calibration or "").split("; then ")
    assert len(texts) == len(set(found))
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [("zerofirst/zerofirst.mcap", [120.64] * 4), ("zoom/zoom.mcap", None)],
)
def test_changes_in_recordings_of_others(
    name: str, expected: list[float] | None, case: Callable[[str], Path], tmp_path: Path
) -> None:
    path = case(f"calibration-changes-in-bag/{name}")
    found = focal_lengths(path, tmp_path)
    assert len(found) == 4
    assert found == expected if expected else len(set(found)) == 2
    level, text = of_doctor(path, None)
    assert level is Level.WARN and "its content changes" in text


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ([10.0, 10.0, 12.0, 12.0], [10.0, 10.0, 12.0, 12.0]),
        ([10.0, 12.0, 10.0, 12.0], [10.0, 12.0, 10.0, 12.0]),
        ([0.0, 0.0, 11.0, 11.0], [11.0, 11.0, 11.0, 11.0]),
        ([10.0, 0.0, 0.0, 11.0], [10.0, 11.0]),
        ([None, None, 10.0, None], [10.0, 10.0, 10.0, 10.0]),
        ([0.0, 10.0, 0.0, 0.0], [10.0, 10.0]),
    ],
)
def test_changes_in_recordings_that_are_made_here(
    infos: list[float | None],
    expected: list[float],
    new_bag: Callable[..., Recorder],
    tmp_path: Path,
) -> None:
    """Zeros are no calibration; None is no message."""
    recorder = new_bag("mcap")
    for index, fx in enumerate(infos):
        stamp = START + index * 100_000_000
        if fx is not None:
            fields = matrices(fx, 3.5, 2.5) if fx else {"k": [0.0] * 9, "p": [0.0] * 12}
            recorder.info("/camera/camera_info", stamp, **fields)
        pixels = np.random.default_rng(index).integers(0, 256, (6, 8), np.uint8)
        recorder.image("/camera/image_raw", pixels, "mono8", stamp + 1)
    assert focal_lengths(recorder.done(), tmp_path) == expected


@pytest.mark.parametrize("odd", [0, 2])
def test_an_image_of_another_size_is_left_out(
    odd: int, new_bag: Callable[..., Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = new_bag("mcap")
    for index in range(4):
        stamp = START + index * 100_000_000
        height, width = (12, 16) if index == odd else (6, 8)
        pixels = np.full((height, width), 40 + index, np.uint8)
        recorder.info("/camera/camera_info", stamp, **matrices(10.0, 3.5, 2.5))
        recorder.image("/camera/image_raw", pixels, "mono8", stamp, width=width, height=height)
    source = BagSource(recorder.done())
    assert len(list(source)) == 3 and source.skipped == 1
    assert "an image of /camera/image_raw is 16x12, but the calibration is for 8x6" in caplog.text


# ---- the whole way ---------------------------------------------------------------------------


def write_as_kitti2bag(sequence: Path, calibration: Path, recorder: Recorder) -> Path:
    """The images of a sequence as kitti2bag writes a raw drive.

    They are rectified; K and D are those of the images before, with the size of the rectified.
    """
    values = {
        name: read_kitti_numbers(calibration, f"{key}_00", -1)
        for name, key in (("k", "K"), ("d", "D"), ("r", "R_rect"), ("p", "P_rect"))
    }
    camera = CameraIntrinsics(width=1242, height=375, fx=1, fy=1, cx=0, cy=0)
    for index, file in enumerate(list_images(sequence / "image_0")):
        stamp = START + index * 100_000_000
        recorder.info("/kitti/camera_gray_left/camera_info", stamp, camera, **values)
        kind = file.suffix[1:]
        recorder.compressed("/kitti/camera_gray_left/image", file.read_bytes(), stamp, kind)
    return recorder.done()


@pytest.mark.slow
def test_kitti2bag_scores_as_the_plain_sequence(
    shared_data: Path, new_bag: Callable[..., Recorder], tmp_path: Path
) -> None:
    sequence = shared_data / "kitti_odom03_head"
    calibration = shared_data / "kitti_raw_layout" / "2011_09_26" / "calib_cam_to_cam.txt"
    bag = write_as_kitti2bag(sequence, calibration, new_bag("ros1"))
    plain = InputOptions(kind="kitti", path=sequence)
    recorded = InputOptions(kind="bag", path=bag, poses=sequence / "poses.txt")
    config = SfmConfig(scale=ScaleConfig(camera_height=CAMERA_HEIGHT_M))
    summaries = [
        evaluate(open_input(options), config, tmp_path / name, (OFFLINE,)).results.summary
        for name, options in (("plain", plain), ("recorded", recorded))
    ]
    assert "with P, fx 721.5" in summaries[1]["calibration"]
    for key in (
        "t_err_unaligned_percent",
        "ate_unaligned_m",
        "r_err_deg_per_100m",
        "t_err_percent",
    ):
        figures = [summary[key] for summary in summaries]
        print(key, figures)
        assert figures[1] == pytest.approx(figures[0], rel=0.01)
