"""Images, stamps, calibration and poses of bags of every kind."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError, SourceError
from sfm_ros.formats import image_codec
from sfm_ros.geometry import optical_to_body, se3_exp
from sfm_ros.sources import bag
from sfm_ros.sources.bag import BagSource
from sfm_ros.sources.factory import open_source

CAMERA = CameraIntrinsics(width=8, height=6, fx=10, fy=11, cx=3.5, cy=2.5)
KINDS = ["ros1", "sqlite3", "mcap"]
START = 1_700_000_000_000_000_000
IMAGE = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def _png(rgb):
    return cv2.imencode(".png", rgb[:, :, ::-1])[1].tobytes()


def simple_bag(new_bag, kind="mcap", count=3):
    recorder = new_bag(kind)
    for index in range(count):
        stamp = START + index * 100_000_000
        recorder.info("/cam/camera_info", stamp)
        recorder.image("/cam/image_raw", IMAGE + index, "rgb8", stamp)
    return recorder.done()


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_every_kind_of_bag(new_bag, kind):
    source = BagSource(simple_bag(new_bag, kind))
    items = list(source)
    assert len(source) == len(items) == 3 and source.skipped == 0
    for index, item in enumerate(items):
        np.testing.assert_array_equal(item.frame.rgb, IMAGE + index)
        assert item.frame.stamp_ns == START + index * 100_000_000
        assert item.frame.frame_id == "cam" and item.T_world_camera is None
    camera = items[0].frame.intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (10, 11, 3.5, 2.5)
    assert camera.P is None  # without distortion P should equal K; only K is used
    assert source.camera.is_doubtful and "is not K" in source.camera.text
    assert [item.frame.stamp_ns for item in source] == [item.frame.stamp_ns for item in items]


GRAY = IMAGE[:, :, 0]
ENCODINGS = {
    "rgb8": (IMAGE, IMAGE),
    "bgr8": (IMAGE[:, :, ::-1], IMAGE),
    "rgba8": (np.dstack([IMAGE, GRAY]), IMAGE),
    "bgra8": (np.dstack([IMAGE[:, :, ::-1], GRAY]), IMAGE),
    "mono8": (GRAY, np.dstack([GRAY] * 3)),
    "mono16": (GRAY.astype("<u2") << 8, np.dstack([GRAY] * 3)),
    "bayer_rggb8": (np.full((6, 8), 77, np.uint8), np.full((6, 8, 3), 77)),
    "bayer_gbrg8": (np.full((6, 8), 77, np.uint8), np.full((6, 8, 3), 77)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_raw_images_of_every_encoding(new_bag, kind, encoding):
    data, expected = ENCODINGS[encoding]
    recorder = new_bag(kind)
    recorder.image("/image", data, encoding, START)
    (item,) = BagSource(recorder.done(), calib=CAMERA)
    np.testing.assert_array_equal(item.frame.rgb, expected)


def test_padding_and_byte_order(new_bag):
    recorder = new_bag()
    padded = np.full((6, 20), 0xEE, np.uint8)
    padded[:, :16] = GRAY.astype(">u2").view(np.uint8).reshape(6, 16)
    padded[:, :16:2] = GRAY
    recorder.image("/image", padded, "mono16", START, step=20, bigendian=1)
    (item,) = BagSource(recorder.done(), calib=CAMERA)
    np.testing.assert_array_equal(item.frame.rgb[:, :, 1], GRAY)


@pytest.mark.parametrize("kind", KINDS)
def test_compressed_images(new_bag, kind):
    recorder = new_bag(kind)
    recorder.info("/cam/camera_info")
    recorder.compressed("/cam/image_raw/compressed", _png(IMAGE), START)
    source = BagSource(recorder.done())
    (item,) = source
    assert source.image_topic == "/cam/image_raw/compressed"
    np.testing.assert_array_equal(item.frame.rgb, IMAGE)


def test_zero_stamp_is_replaced_by_time_of_recording(new_bag):
    recorder = new_bag()
    recorder.image("/image", IMAGE, "rgb8", 0, log_ns=START + 5)
    (item,) = BagSource(recorder.done(), calib=CAMERA)
    assert item.frame.stamp_ns == START + 5


def test_region_and_binning_of_camera_info(new_bag):
    full = CameraIntrinsics(width=40, height=30, fx=20, fy=22, cx=17, cy=13)
    recorder = new_bag()
    recorder.info("/camera_info", camera=full, binning=2, roi=(4, 6, 16, 12))
    recorder.image("/image", IMAGE, "rgb8", START)
    (item,) = BagSource(recorder.done())
    camera = item.frame.intrinsics
    assert (camera.width, camera.height, camera.fx, camera.fy) == (8, 6, 10, 11)
    assert (camera.cx, camera.cy) == ((17 - 4 + 0.5) / 2 - 0.5, (13 - 6 + 0.5) / 2 - 0.5)


@pytest.mark.parametrize("stamped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_ground_truth_poses_are_in_optical_axes(new_bag, kind, stamped):
    recorder = new_bag(kind)
    recorder.info("/cam/camera_info")
    poses = [se3_exp([0.1, 0.2, 1.0 + index, 0.05, 0.1, 0.02 * index]) for index in range(3)]
    for index, pose in enumerate(poses):
        stamp = START + index * 100_000_000
        recorder.image("/cam/image_raw", IMAGE, "rgb8", stamp)
        if index < 2:
            recorder.pose("/ground_truth", optical_to_body(pose), stamp + 3_000_000, stamped)
    items = list(BagSource(recorder.done(), pose_topic="/ground_truth"))
    np.testing.assert_allclose(items[0].T_world_camera, poses[0], atol=1e-9)
    np.testing.assert_allclose(items[1].T_world_camera, poses[1], atol=1e-9)
    assert items[2].T_world_camera is None  # the nearest is 97 ms away


def test_forward_in_body_axes_is_plus_z(new_bag):
    recorder = new_bag()
    ahead = np.eye(4)
    ahead[0, 3] = 5.0  # x of body axes is forward
    recorder.image("/image", IMAGE, "rgb8", START)
    recorder.pose("/ground_truth", ahead, START)
    (item,) = BagSource(recorder.done(), pose_topic="/ground_truth", calib=CAMERA)
    np.testing.assert_allclose(item.T_world_camera[:3, 3], [0, 0, 5], atol=1e-12)


def test_image_topic_must_be_named_among_several(new_bag):
    recorder = new_bag()
    recorder.info("/left/camera_info")
    recorder.image("/left/image_raw", IMAGE, "rgb8", START)
    recorder.image("/right/image_raw", IMAGE, "rgb8", START)
    path = recorder.done()
    with pytest.raises(SourceError, match="several image topics.*/left/image_raw.*/right"):
        BagSource(path)
    assert len(open_source("bag", path, image_topic="/left/image_raw")) == 1
    with pytest.raises(CalibrationError, match="has no /right/camera_info.*/left/camera_info"):
        BagSource(path, image_topic="/right/image_raw")
    other = BagSource(path, image_topic="/right/image_raw", camera_info_topic="/left/camera_info")
    assert len(other) == 1
    with pytest.raises(SourceError, match="on /up, found no such topic; the bag .*topics "):
        BagSource(path, image_topic="/up")
    with pytest.raises(SourceError, match="expected .*Image.* found 1 messages of .*CameraInfo"):
        BagSource(path, image_topic="/left/camera_info")
    with pytest.raises(SourceError, match="expected nav_msgs/msg/Odometry"):
        BagSource(path, image_topic="/left/image_raw", pose_topic="/left/image_raw")


def test_raw_is_preferred_to_compressed(new_bag):
    recorder = new_bag()
    recorder.compressed("/cam/image_raw/compressed", _png(IMAGE), START)
    recorder.image("/cam/image_raw", IMAGE, "rgb8", START)
    recorder.compressed("/depth/image_rect/compressedDepth", b"x", START)
    assert BagSource(recorder.done(), calib=CAMERA).image_topic == "/cam/image_raw"


def test_only_first_undecodable_image_is_an_error(new_bag, caplog):
    recorder = new_bag("mcap", "first")
    recorder.image("/image", IMAGE, "rgb32", START)
    with pytest.raises(SourceError, match="first image of /image.*rgb32"):
        BagSource(recorder.done(), calib=CAMERA)
    recorder = new_bag("mcap", "later")
    png = _png(IMAGE)
    for index, data in enumerate([png, png[: len(png) // 2], png]):
        recorder.compressed("/image/compressed", data, START + index)
    source = BagSource(recorder.done(), calib=CAMERA)
    assert [item.frame.stamp_ns for item in source] == [START, START + 2]
    assert source.damaged == 1 and "truncated" in caplog.text


def test_opening_a_bag_decodes_one_image(new_bag, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        bag, "decode_message", lambda *a: decoded.append(a) or image_codec.decode_message(*a)
    )
    BagSource(simple_bag(new_bag))
    assert len(decoded) == 1


def test_the_first_image_may_have_another_size(new_bag):
    recorder = new_bag()
    recorder.info("/camera_info", START)
    recorder.image("/image", IMAGE[:4, :4], "rgb8", START)
    recorder.image("/image", IMAGE, "rgb8", START + 1)
    source = BagSource(recorder.done())
    assert [item.frame.stamp_ns for item in source] == [START + 1] and source.damaged == 1


def test_sizes_of_image_and_calibration_must_agree(new_bag):
    recorder = new_bag()
    wrong = CameraIntrinsics(width=16, height=12, fx=10, fy=10, cx=8, cy=6)
    recorder.info("/camera_info", camera=wrong)
    recorder.image("/image", IMAGE, "rgb8", START)
    with pytest.raises(CalibrationError, match="/image is 8x6.*16x12"):
        BagSource(recorder.done())
