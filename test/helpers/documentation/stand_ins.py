"""Small recordings that take the place of those which the documentation names."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
from calibrations import write_camera_info

from sfm_ros.bags.writer import write_bag
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.formats.trajectory_files import write_kitti, write_tum
from sfm_ros.source import SourceItem
from sfm_ros.synthetic.held_out import HeldOutStreet

FRAMES = 40


def make_stand_ins(folder: Path) -> None:
    """Write the recordings, folders and files below ``folder``, by the names they have there.

    All are the same rendered street: a bag, images with calibration, poses and depth, a video, and
    the layout of a KITTI sequence.
    """
    street = HeldOutStreet(frames=FRAMES, width=416, height=128)
    items = list(street)
    write_bag(street, folder / "my_drive", folder / ".ground_truth")
    (bag,) = (folder / "my_drive").glob("*.mcap")
    shutil.copy(bag, folder / "drive.mcap")
    _write_images(items, folder / "images")
    write_camera_info(folder / "camera.yaml", items[0].frame.intrinsics)
    poses = Trajectory.of({i.frame.stamp_ns: _pose(i) for i in items})
    write_kitti(folder / "poses.txt", poses)
    for name in ("GT", "EST"):
        write_tum(folder / name, poses)
    for name in (".", "drive_a", "drive_b"):
        (folder / name).mkdir(exist_ok=True)
        shutil.copytree(folder / "images", folder / name / "rgb")
        _write_depth(items, folder / name / "depth", 1000)
    for name in ("sequences/09", "sequences/03", "drive"):
        _write_sequence(items, folder / name)
    _write_depth(items, folder / "drive" / "depth", 256)
    _write_video(items, folder / "recording.mp4")


def _pose(item: SourceItem) -> np.ndarray:
    assert item.T_world_camera is not None
    return item.T_world_camera


def _write_images(items: list[SourceItem], folder: Path) -> None:
    folder.mkdir(parents=True)
    for index, item in enumerate(items):
        cv2.imwrite(str(folder / f"{index:06d}.png"), item.frame.rgb[:, :, ::-1])


def _write_depth(items: list[SourceItem], folder: Path, units_per_meter: int) -> None:
    folder.mkdir(parents=True)
    for index, item in enumerate(items):
        assert item.depth_m is not None
        stored = np.clip(np.nan_to_num(item.depth_m) * units_per_meter, 0, 65535)
        cv2.imwrite(str(folder / f"{index:06d}.png"), stored.astype(np.uint16))


def _write_sequence(items: list[SourceItem], folder: Path) -> None:
    """A KITTI odometry sequence, of its color and its gray camera."""
    for camera in ("image_0", "image_2"):
        _write_images(items, folder / camera)
    camera = items[0].frame.intrinsics
    row = f"{camera.fx} 0 {camera.cx} 0 0 {camera.fy} {camera.cy} 0 0 0 1 0"
    (folder / "calib.txt").write_text("".join(f"P{i}: {row}\n" for i in range(4)))
    times = "".join(f"{0.1 * index:.6e}\n" for index in range(len(items)))
    (folder / "times.txt").write_text(times)
    poses = Trajectory(np.arange(len(items)), np.stack([_pose(item) for item in items]))
    write_kitti(folder / "poses.txt", poses)


def _write_video(items: list[SourceItem], path: Path) -> None:
    height, width = items[0].frame.rgb.shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (width, height))
    for item in items:
        writer.write(np.ascontiguousarray(item.frame.rgb[:, :, ::-1]))
    writer.release()
