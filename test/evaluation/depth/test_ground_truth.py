"""Lidar scans against an independent projection, depth images against their written values."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sfm_ros.errors import SourceError
from sfm_ros.evaluation.depth.datasets import paired_set, synthetic_set
from sfm_ros.evaluation.depth.ground_truth import (
    LidarView,
    read_depth_image,
    read_lidar_view,
    read_scan,
    scan_depth,
)
from sfm_ros.evaluation.depth.kitti import kitti_set

DAY, DRIVE = "2011_09_26", "2011_09_26_drive_0052_sync"
# x forward, y left, z up of the lidar; the camera looks along x.
P_SIMPLE = np.array([[0.0, -10, 0, 0], [0, 0, -10, 0], [1, 0, 0, 0]]) + np.array(
    [[32.0, 0, 0, 0], [16, 0, 0, 0], [0, 0, 0, 0]]
)
VIEW = LidarView(P_image_velo=P_SIMPLE, width=64, height=32)


def _numbers(file: Path, key: str) -> np.ndarray:
    (line,) = (text for text in file.read_text().splitlines() if text.startswith(key + ":"))
    return np.array([float(word) for word in line.split()[1:]])


def _by_opencv(folder: Path, number: int) -> dict[tuple[int, int], float]:
    """Nearest depth of each pixel (row, column), projected by OpenCV."""
    cameras, lidar = folder / "calib_cam_to_cam.txt", folder / "calib_velo_to_cam.txt"
    P = _numbers(cameras, "P_rect_02").reshape(3, 4)
    K = P[:, :3]
    R_rect = _numbers(cameras, "R_rect_00").reshape(3, 3)
    R, T = _numbers(lidar, "R").reshape(3, 3), _numbers(lidar, "T")
    file = folder / DRIVE / "velodyne_points" / "data" / f"{number:010d}.bin"
    points = np.fromfile(file, dtype=np.float32).reshape(-1, 4)[:, :3].astype(np.float64)
    points = points[points[:, 0] >= 0]
    baseline = np.linalg.solve(K, P[:, 3])
    turn, _ = cv2.Rodrigues(R_rect @ R)
    shift = R_rect @ T + baseline
    pixels, _ = cv2.projectPoints(points, turn, shift, K, None)
    depths = points @ (R_rect @ R)[2] + shift[2]
    nearest: dict[tuple[int, int], float] = {}
    for (u, v), depth in zip(pixels[:, 0], depths, strict=True):
        pixel = (round(v) - 1, round(u) - 1)
        if depth > 0 and 0 <= pixel[0] < 375 and 0 <= pixel[1] < 1242:
            nearest[pixel] = min(depth, nearest.get(pixel, np.inf))
    return nearest


def test_scan_projection_equals_opencv(shared_data: Path) -> None:
    folder = shared_data / "kitti_raw_layout" / DAY
    data = kitti_set(shared_data / "kitti_raw_layout")
    drive = "2011_09_26_drive_0052"
    assert [(sample.drive, sample.name) for sample in data.samples] == [
        (drive, "1"),
        (drive, "41"),
    ]
    found = data.samples[1].ground_truth()
    expected = np.zeros((375, 1242))
    for pixel, depth in _by_opencv(folder, 41).items():
        expected[pixel] = depth
    assert found.shape == (375, 1242)
    # OpenCV's Rodrigues rounds: a point on the border of two pixels may fall into either.
    differs = np.abs(found - expected) > 1e-3 * np.maximum(expected, 1.0)
    assert np.count_nonzero(expected) > 15_000
    assert np.count_nonzero(differs) <= 4


def test_lidar_depth_exceeds_camera_depth_by_their_distance(shared_data: Path) -> None:
    root = shared_data / "kitti_raw_layout"
    camera = kitti_set(root).samples[0].ground_truth()
    lidar = kitti_set(root, lidar_depth="lidar").samples[0].ground_truth()
    both = (camera > 5) & (lidar > 5)
    assert np.median((lidar - camera)[both]) == pytest.approx(0.27, abs=0.08)
    with pytest.raises(SourceError, match="expected one of camera, lidar"):
        kitti_set(root, lidar_depth="laser")


def test_nearest_point_of_a_pixel() -> None:
    points = np.array(
        [[20.0, 0, 0], [10.0, 0, 0], [10.0, 1.0, 2.0], [-5.0, 0, 0], [10.0, 90.0, 0]],
        dtype=np.float32,
    )
    depth = scan_depth(points, VIEW)
    assert depth[15, 31] == 10.0  # straight ahead, counted from 1 in KITTI's matrices
    assert depth[13, 30] == 10.0  # 1 m to the left, 2 m up
    assert np.count_nonzero(depth) == 2  # the others are behind, or outside the image


@pytest.mark.parametrize("size", [0, 15, 33])
def test_damaged_scan_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(size))
    with pytest.raises(SourceError, match=f"has {size} bytes, expected a multiple of 16"):
        read_scan(tmp_path / "a.bin")
    with pytest.raises(SourceError, match="cannot read"):
        read_scan(tmp_path / "none.bin")


def _write_day(root: Path, numbers: range) -> Path:
    """A drive of 64x32 images whose lidar is VIEW, and a folder of annotated depth."""
    day = root / "raw" / DAY
    drive = day / DRIVE
    data, scans = drive / "image_02" / "data", drive / "velodyne_points" / "data"
    annotated = root / "annotated" / "val" / DRIVE / "proj_depth" / "groundtruth" / "image_02"
    for folder in (data, scans, annotated):
        folder.mkdir(parents=True)
    (day / "calib_cam_to_cam.txt").write_text(
        "S_02: 64 32\nS_rect_02: 64 32\nR_rect_00: 1 0 0 0 1 0 0 0 1\n"
        "P_rect_02: 10 0 32 0 0 10 16 0 0 0 1 0\n"
    )
    (day / "calib_velo_to_cam.txt").write_text("R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n")
    for number in numbers:
        image = np.full((32, 64, 3), number, dtype=np.uint8)
        cv2.imwrite(str(data / f"{number:010d}.png"), image)
        np.array([[5.0 + number, 0, 0, 1]], dtype="<f4").tofile(scans / f"{number:010d}.bin")
    depth = np.zeros((32, 64), dtype=np.uint16)
    depth[20, 30] = 256 * 7 + 128
    cv2.imwrite(str(annotated / f"{numbers[0]:010d}.png"), depth)
    return day


def test_raw_drive(tmp_path: Path) -> None:
    day = _write_day(tmp_path, range(3))
    assert np.allclose(read_lidar_view(day, "02").P_image_velo, P_SIMPLE)
    root = tmp_path / "raw"

    everything = kitti_set(root)
    assert [float(s.ground_truth()[15, 31]) for s in everything.samples] == [5.0, 6.0, 7.0]
    assert (everything.crop, everything.absent) == ("garg", 0)
    assert everything.samples[2].frame().rgb[0, 0, 0] == 2

    part = kitti_set(root, {DRIVE.removesuffix("_sync"): [2, 9], "2011_10_03_drive_0001": [4]})
    assert [(s.drive, s.name) for s in part.samples] == [(DRIVE.removesuffix("_sync"), "2")]
    assert part.absent == 2

    annotated = kitti_set(root, annotated=tmp_path / "annotated")
    assert len(annotated.samples) == 1 and annotated.crop == "none"
    depth = annotated.samples[0].ground_truth()
    assert depth[20, 30] == 7.5 and np.count_nonzero(depth) == 1

    with pytest.raises(SourceError, match="of the 1 requested"):
        kitti_set(root, {DRIVE: [17]})
    with pytest.raises(SourceError, match="contains no KITTI raw drive"):
        kitti_set(tmp_path)


def test_unknown_values_of_depth_images(tmp_path: Path) -> None:
    values = np.array([[0, 1500, 65535, 2000]], dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), values)
    assert read_depth_image(tmp_path / "d.png", 1000.0).tolist() == [[0.0, 1.5, 0.0, 2.0]]
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((4, 4, 3), dtype=np.uint8))
    with pytest.raises(SourceError, match=r"\(4, 4, 3\) and type uint8"):
        read_depth_image(tmp_path / "c.png", 256.0)
    (tmp_path / "b.png").write_bytes(b"\x89PNG")
    with pytest.raises(SourceError, match="or a damaged one"):
        read_depth_image(tmp_path / "b.png", 256.0)


def test_images_and_depth_are_paired_by_number(shared_data: Path) -> None:
    folder = shared_data / "rgbd_indoor60"
    data = paired_set(folder, folder, folder / "camera-intrinsics.txt", 1000.0)
    assert len(data.samples) == 60 and data.absent == 0
    assert len(data.thinned(7).samples) == 7
    sample = data.samples[3]
    depth = sample.ground_truth()
    assert depth.shape == sample.frame().rgb.shape[:2]
    assert 0.3 < np.median(depth[depth > 0]) < 5.0 and depth.max() < 60.0


def test_unpaired_images_are_refused(tmp_path: Path) -> None:
    calib = tmp_path / "K.txt"
    calib.write_text("10 0 32 0 10 16 0 0 1")
    images, depths = tmp_path / "rgb", tmp_path / "depth"
    images.mkdir()
    depths.mkdir()
    cv2.imwrite(str(images / "1.png"), np.zeros((32, 64, 3), dtype=np.uint8))
    cv2.imwrite(str(depths / "2.png"), np.zeros((32, 64), dtype=np.uint16))
    with pytest.raises(SourceError, match=r"found 1\.png and 2\.png"):
        paired_set(images, depths, calib, 256.0)
    cv2.imwrite(str(depths / "02.png"), np.zeros((32, 64), dtype=np.uint16))
    with pytest.raises(SourceError, match="same number"):
        paired_set(images, depths, calib, 256.0)
    with pytest.raises(SourceError, match="a meter is stored as 0"):
        paired_set(images, depths, calib, 0.0)


def test_rendered_streets() -> None:
    data = synthetic_set([3], frames=2, width=64, height=32)
    first = data.samples[0]
    assert len(data.samples) == 2 and first.ground_truth().shape == first.frame().rgb.shape[:2]
    assert np.array_equal(first.ground_truth(), first.ground_truth())
    with pytest.raises(SourceError, match="limit is 0"):
        data.thinned(0)
