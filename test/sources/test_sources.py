"""Folders, videos and KITTI drives as sources: frames, stamps and poses of their files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sfm_ros.datatypes import CameraIntrinsics
from sfm_ros.errors import CalibrationError, SourceError, TrajectoryError
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_kitti, write_tum
from sfm_ros.sources.factory import open_source, recognize
from sfm_ros.sources.folder import FolderSource
from sfm_ros.sources.kitti.source import open_kitti
from sfm_ros.sources.video import VideoSource

CAMERA = CameraIntrinsics(width=32, height=24, fx=30, fy=30, cx=15.5, cy=11.5)
CALIB_TXT = "P0: 30 0 15.5 0 0 30 11.5 0 0 0 1 0\nP2: 31 0 15.5 0 0 31 11.5 0 0 0 1 0\n"


def _flat(value):
    return np.full((24, 32, 3), value, np.uint8)


def _folder(path, names=("0.png", "1.png", "2.png"), value_step=10):
    path.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        cv2.imwrite(str(path / name), _flat(value_step * (index + 1)))
    return path


def _poses(count):
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = np.arange(count)
    return poses


def _z_of(source):
    """z of the pose of each frame, None without a pose."""
    return [None if item.T_world_camera is None else item.T_world_camera[2, 3] for item in source]


def _stamps_of(source):
    return [item.frame.stamp_ns for item in source]


def test_natural_order_and_regular_stamps(tmp_path):
    _folder(tmp_path / "images", ("10.png", "9.png", "100.bmp"))
    source = FolderSource(tmp_path / "images", CAMERA, fps=30.0)
    items = list(source)
    assert len(source) == 3 and source.fps == pytest.approx(30.0)
    assert [int(item.frame.rgb[0, 0, 0]) for item in items] == [20, 10, 30]
    assert _z_of(items) == [None, None, None]
    assert _stamps_of(items) == _stamps_of(source) == [0, 33_333_333, 66_666_667]


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "bmp", "tif", "webp"])
def test_every_image_format_is_read(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").touch()
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.full((24, 32), 120, np.uint8))
    (item,) = FolderSource(tmp_path, CAMERA)
    assert np.abs(item.frame.rgb.astype(int) - 120).max() <= 2


def test_colors_are_rgb(tmp_path):
    image = _flat(0)
    image[:, :, 2] = 200  # red in OpenCV's order
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (item,) = FolderSource(tmp_path, CAMERA)
    assert item.frame.rgb[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("folder", ["images", "."])
def test_times_are_found_beside_or_above_the_images(tmp_path, folder):
    _folder(tmp_path / "images")
    (tmp_path / folder / "times.txt").write_text("0.0\n1.036224e-01\n2.1\n")
    source = FolderSource(tmp_path / "images", CAMERA)
    assert _stamps_of(source) == [0, 103_622_400, 2_100_000_000]
    assert source.fps == pytest.approx(2 / 2.1)


def test_dates_keep_their_nanoseconds(tmp_path):
    _folder(tmp_path / "images", ("0.png",))
    (tmp_path / "timestamps.txt").write_text("2011-09-26 13:02:25.964389445\n")
    (item,) = FolderSource(tmp_path / "images", CAMERA)
    assert item.frame.stamp_ns == 1317042145_964389445


def test_times_of_missing_images_are_skipped(tmp_path):
    _folder(tmp_path / "images", ("000001.png", "000003.png"))
    (tmp_path / "times.txt").write_text("0\n1\n2\n3\n4\n")
    source = FolderSource(tmp_path / "images", CAMERA)
    assert _stamps_of(source) == [1_000_000_000, 3_000_000_000]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("0\n1\n", "has 2 times, but .* 3 images"),
        ("0\n1\n1\n", "line 3: 1 is not later"),
        ("0\nsoon\n2\n", "line 2.*soon"),
        ("2011-99-26 13:02:25\n", "line 1"),
    ],
)
def test_wrong_times_are_refused(tmp_path, text, named):
    _folder(tmp_path / "images")
    (tmp_path / "times.txt").write_text(text)
    with pytest.raises(SourceError, match=named):
        FolderSource(tmp_path / "images", CAMERA)


def test_poses_of_kitti_and_tum_files(tmp_path):
    _folder(tmp_path / "images")
    trajectory = Trajectory(np.array([0, 100_000_000, 205_000_000]), _poses(3))
    write_kitti(tmp_path / "poses.txt", trajectory)
    write_tum(tmp_path / "tum.txt", trajectory.select(np.array([1, 2])))
    kitti = FolderSource(tmp_path / "images", CAMERA, poses=tmp_path / "poses.txt")
    assert _z_of(kitti) == [0, 1, 2]
    tum = FolderSource(tmp_path / "images", CAMERA, poses=tmp_path / "tum.txt")
    assert _z_of(tum) == [None, 1, 2]  # no pose within 20 ms of the first


def test_more_poses_than_images_are_refused(tmp_path):
    _folder(tmp_path / "images")
    write_kitti(tmp_path / "poses.txt", Trajectory(np.arange(4), _poses(4)))
    with pytest.raises(TrajectoryError, match="frame 3.*3 stamps"):
        FolderSource(tmp_path / "images", CAMERA, poses=tmp_path / "poses.txt")


def test_fewer_poses_than_images_need_an_index(tmp_path):
    _folder(tmp_path / "images")
    file = tmp_path / "poses.txt"
    write_kitti(file, Trajectory(np.arange(2), _poses(2)))
    with pytest.raises(TrajectoryError, match="2 poses for 3 frames.*index"):
        FolderSource(tmp_path / "images", CAMERA, poses=file)
    lines = file.read_text().splitlines()
    file.write_text("".join(f"{index} {line}\n" for index, line in enumerate(lines, start=1)))
    source = FolderSource(tmp_path / "images", CAMERA, poses=file)
    assert _z_of(source) == [None, 0, 1]


def test_truncated_image_is_named(tmp_path):
    _folder(tmp_path, ("0.jpg", "1.jpg"))
    data = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"1\.jpg.*truncated"):
        list(FolderSource(tmp_path, CAMERA))


def test_image_of_another_size_is_named(tmp_path):
    _folder(tmp_path)
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((10, 10), np.uint8))
    with pytest.raises(CalibrationError, match=r"1\.png.*10x10.*32x24"):
        list(FolderSource(tmp_path, CAMERA))


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no folder"):
        FolderSource(tmp_path / "none", CAMERA)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "._0.png").touch()  # written by macOS on foreign disks
    with pytest.raises(SourceError, match="holds no image"):
        FolderSource(tmp_path, CAMERA)
    _folder(tmp_path)
    with pytest.raises(SourceError, match="frame rate is 0"):
        FolderSource(tmp_path, CAMERA, fps=0)


def _video(path, count=5, fps=20.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (32, 24))
    for index in range(count):
        writer.write(_flat(20 * (index + 1)))
    writer.release()
    return path


def test_video_frames_and_stamps(tmp_path):
    source = VideoSource(_video(tmp_path / "v.avi"), CAMERA)
    items = list(source)
    assert len(source) == len(items) == 5 and source.fps == 20.0
    assert _stamps_of(items) == [50_000_000 * i for i in range(5)]
    assert [round(item.frame.rgb.mean() / 20) for item in items] == [1, 2, 3, 4, 5]
    assert _stamps_of(VideoSource(tmp_path / "v.avi", CAMERA, fps=10))[1] == 100_000_000


def test_wrong_video_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no video"):
        VideoSource(tmp_path / "none.mp4", CAMERA)
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(SourceError, match="text.mp4"):
        VideoSource(tmp_path / "text.mp4", CAMERA)
    (tmp_path / "c.txt").write_text("P0: 1 2 3")
    with pytest.raises(CalibrationError, match="expected 12"):
        VideoSource(_video(tmp_path / "v.avi"), tmp_path / "c.txt")


def _sequence(tmp_path):
    folder = tmp_path / "sequences" / "07"
    _folder(folder / "image_0")
    _folder(folder / "image_2", value_step=20)
    (folder / "calib.txt").write_text(CALIB_TXT)
    (folder / "times.txt").write_text("0\n0.1037\n0.2074\n")
    (tmp_path / "poses").mkdir()
    write_kitti(tmp_path / "poses" / "07.txt", Trajectory(np.arange(3), _poses(3)))
    return folder


def test_kitti_odometry_layout(tmp_path):
    folder = _sequence(tmp_path)
    color, gray = open_kitti(folder), open_kitti(folder, camera=0)
    first = next(iter(color))
    assert first.frame.rgb[0, 0, 0] == 20 and first.frame.intrinsics.fx == 31
    assert next(iter(gray)).frame.intrinsics.fx == 30
    assert _stamps_of(gray) == [0, 103_700_000, 207_400_000]
    assert _z_of(gray) == [0, 1, 2]
    assert gray.camera_height_m == 1.65
    with pytest.raises(SourceError, match="no camera 3; it has 0, 2"):
        open_kitti(folder, camera=3)


def _raw_drive(tmp_path, shared_data, with_oxts):
    real = shared_data / "kitti_raw_layout" / "2011_09_26"
    day = tmp_path / "2011_09_26"
    drive = day / "2011_09_26_drive_0001_sync"
    data = drive / "image_02" / "data"
    data.mkdir(parents=True)
    for name in ("calib_cam_to_cam.txt", "calib_imu_to_velo.txt", "calib_velo_to_cam.txt"):
        (day / name).write_text((real / name).read_text())
    for index in range(3):
        cv2.imwrite(str(data / f"{index:010d}.png"), np.zeros((375, 1242, 3), np.uint8))
    if with_oxts:
        (drive / "oxts" / "data").mkdir(parents=True)
        for index in range(3):
            # One meter to the east per frame, at 49 degrees north, heading east (yaw 0).
            longitude = 8.0 + np.rad2deg(index / (6378137.0 * np.cos(np.deg2rad(49.0))))
            record = [49.0, longitude, 115.0, 0, 0, 0] + [0] * 24
            text = " ".join(repr(float(number)) for number in record)
            (drive / "oxts" / "data" / f"{index:010d}.txt").write_text(text)
    return drive


def test_kitti_raw_layout(tmp_path, shared_data):
    without = open_kitti(_raw_drive(tmp_path / "a", shared_data, with_oxts=False))
    assert _z_of(without) == [None, None, None]
    drive = _raw_drive(tmp_path / "b", shared_data, with_oxts=True)
    poses = [item.T_world_camera for item in open_kitti(drive)]
    np.testing.assert_allclose(poses[0], np.eye(4), atol=1e-9)
    step = poses[1][:3, 3]
    # The camera points forward to within the two degrees of the extrinsics.
    assert np.linalg.norm(step) == pytest.approx(1.0, abs=1e-5)
    assert step[2] == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(poses[2][:3, 3], 2 * step, atol=1e-5)
    (drive / "oxts" / "data" / "0000000001.txt").write_text("1 2 3")
    with pytest.raises(SourceError, match="3 numbers, expected the 30"):
        open_kitti(drive)


def test_wrong_kitti_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no KITTI folder"):
        open_kitti(tmp_path / "none")
    with pytest.raises(SourceError, match="is no KITTI drive"):
        open_kitti(tmp_path)
    _folder(tmp_path / "image_0")
    with pytest.raises(CalibrationError, match="calib.txt"):
        open_kitti(tmp_path)


@pytest.mark.parametrize(
    ("folder", "count", "has_poses"),
    [
        ("kitti_odom03_head", 401, True),
        ("kitti_raw_0095", 268, False),
        ("kitti_raw_91", 91, False),
        ("kitti_raw_layout/2011_09_26/2011_09_26_drive_0052_sync", 2, False),
    ],
)
def test_real_kitti_drives(shared_data, folder, count, has_poses):
    source = open_kitti(shared_data / folder)
    item = next(iter(source))
    assert len(source) == count and item.frame.rgb.shape == (375, 1242, 3)
    assert item.frame.intrinsics.fx == pytest.approx(721.5377)
    assert (item.T_world_camera is not None) == has_poses


def test_real_folder_of_a_distorted_camera(shared_data):
    folder = shared_data / "udacity_highway"
    source = FolderSource(folder / "image_raw", folder / "camera_info.yaml", fps=25)
    item = next(iter(source))
    assert len(source) == 1258 and item.frame.intrinsics.is_distorted


def test_factory_opens_every_kind(tmp_path):
    _folder(tmp_path / "images")
    (tmp_path / "c.txt").write_text("30 0 15.5 0 30 11.5 0 0 1")
    calib = tmp_path / "c.txt"
    images = open_source("images", tmp_path / "images", calib=calib, fps=5.0, poses=None)
    assert len(images) == 3 and images.fps == 5.0
    assert len(open_source("video", _video(tmp_path / "v.avi"), calib=calib)) == 5
    assert len(open_source("kitti", _sequence(tmp_path), camera=0)) == 3


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("images", {}, "images needs calib: a YAML file of camera_calibration"),
        ("kitti", {"calib": "b"}, "kitti has no option calib, expected some of camera, frames"),
        ("bag", {"fps": 3.0}, "bag has no option fps.*image_topic"),
        ("bag", {}, "there is no bag nowhere.bag"),
    ],
)
def test_factory_refuses_wrong_options(kind, options, message):
    with pytest.raises(SourceError, match=message):
        open_source(kind, "nowhere.bag", **options)


@pytest.mark.parametrize(
    ("files", "path", "kind"),
    [
        (["drive.mcap"], "drive.mcap", "bag"),
        (["bag/metadata.yaml"], "bag", "bag"),
        (["bag/part_0.db3"], "bag", "bag"),
        (["clip.avi"], "clip.avi", "video"),
        (["03/image_2/000000.png"], "03", "kitti"),
        (["shots/a.png"], "shots", "images"),
    ],
)
def test_kind_is_recognized(tmp_path, files, path, kind):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert recognize(tmp_path / path) == kind
    with pytest.raises(SourceError, match="there is no .*gone"):
        recognize(tmp_path / "gone")
