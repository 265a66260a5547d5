"""Every program reads the same frames of the same recording, with the same times and poses.

The evaluation, the demo, the preparation of training data and the doctor are asked for recordings
that other programs wrote; what each should be is in the tests of the readers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recorder import START, Recorder, record_stamps

from sfm_ros.bags.reader import BagFile
from sfm_ros.doctor.bag import read_bag
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.formats.serialized import stamp_of_serialized
from sfm_ros.source import deferred, remarks_of

Frames = list[tuple[int, bool]]
"""Stamp of each frame, and whether it has a ground-truth pose."""


def of_evaluation(options: InputOptions) -> tuple[Frames, tuple[str, ...]]:
    """The frames, and the remarks on them."""
    given = open_input(options)
    frames = [(item.frame.stamp_ns, item.T_world_camera is not None) for item in given.source]
    return frames, given.remarks


def of_demo(options: InputOptions, folder: Path) -> list[int]:
    """The stamps of the images that the node receives."""
    given = open_input(options)
    bag = (given.playable() or given.converted(folder / "played", folder / "depth")).bag
    assert bag is not None
    file = BagFile(bag.path)
    images = file.serialized([bag.transported_topic])
    return [stamp_of_serialized(data, file.is_ros1) for _, _, data in images]


def of_preparation(options: InputOptions, folder: Path) -> tuple[Frames, tuple[str, ...]]:
    prepare = pytest.importorskip("training.prepare")
    named = {
        "--calib": options.calib,
        "--poses": options.poses,
        "--pose-topic": options.pose_topic,
    }
    words = [word for name, value in named.items() if value for word in (name, str(value))]
    kind, flag = ("bag", "--file") if options.kind == "bag" else ("folder", "--images")
    parsed = prepare.parse([kind, str(folder / "set"), flag, str(options.path), *words])
    (spec,) = parsed.list_sources(parsed)
    source = spec.open()
    items = [item for decode in deferred(source) if (item := decode()) is not None]
    frames = [(item.frame.stamp_ns, item.T_world_camera is not None) for item in items]
    return frames, remarks_of(source)


def assert_all_agree(options: InputOptions, folder: Path) -> tuple[Frames, tuple[str, ...]]:
    """Ask every program; returns the frames and the remarks."""
    frames, remarks = of_evaluation(options)
    prepared, prepared_remarks = of_preparation(options, folder)
    assert [stamp for stamp, _ in prepared] == [stamp for stamp, _ in frames]
    assert prepared_remarks == remarks
    assert of_demo(options, folder) == [stamp for stamp, _ in frames]
    if options.kind == "bag":
        assert options.path is not None
        (camera,) = read_bag(options.path).cameras
        assert len(camera.images.samples) == len(frames)
    return prepared, remarks


BAGS = {
    "mcap-one-protobuf-topic/drive.mcap": (4, "/log (protobuf)"),
    "mcap-of-ros1-or-no-profile/ros1.mcap": (4, ""),
    "mcap-of-ros1-or-no-profile/noprofile.mcap": (4, ""),
    "sqlite-wal-left-behind/bag": (8, "x_0.db3-wal is read, through a copy"),
    "stamps-zero-evaluate-and-demo-differ/bag": (6, "the times of recording are used"),
}
"""Path -> number of frames, and what is reported."""


@pytest.mark.parametrize("name", BAGS)
def test_bags_of_others(name: str, case: Callable[[str], Path], tmp_path: Path) -> None:
    count, remark = BAGS[name]
    path = case(name)
    poses = {topic for topic in BagFile(path).topics if topic == "/gt"}
    options = InputOptions(kind="bag", path=path, pose_topic=next(iter(poses), None))
    frames, remarks = assert_all_agree(options, tmp_path)
    assert len(frames) == count and all(has_pose for _, has_pose in frames) == bool(poses)
    assert remark in " ".join(remarks) and bool(remarks) == bool(remark)
    steps = np.diff([stamp for stamp, _ in frames])
    assert np.all(steps > 0) and np.median(steps) == pytest.approx(1e8, rel=0.1)


FOLDERS = {
    "folder-float-names": ("images", "gt.kitti", 12, "in the names of the images"),
    "poses-named-but-not-used": ("rgb", "groundtruth.txt", 8, "in the names of the images"),
    "times-txt-nanoseconds": ("images", None, 4, "taken as nanoseconds"),
}
"""Case -> folder, poses, number of frames, and what is reported."""


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_others(name: str, case: Callable[[str], Path], tmp_path: Path) -> None:
    images, poses, count, remark = FOLDERS[name]
    folder = case(name)
    options = InputOptions(
        kind="images",
        path=folder / images,
        calib=folder / "cam.yaml",
        poses=None if poses is None else folder / poses,
    )
    frames, remarks = assert_all_agree(options, tmp_path)
    assert len(frames) == count and remark in " ".join(remarks)
    assert all(has_pose == (poses is not None) for _, has_pose in frames)
    stamps = np.array([stamp for stamp, _ in frames])
    assert stamps[0] // 10**9 in (1_305_031_102, 1_403_636_579)
    assert np.abs(np.diff(stamps) - 100_000_000).max() < 1_000_000


# ---- recordings that are made here -----------------------------------------------------------


REGULAR = [START + index * 100_000_000 for index in range(4)]


@pytest.mark.parametrize("kind", ["ros1", "sqlite3", "mcap"])
@pytest.mark.parametrize("stamps", [REGULAR, [0] * 4, [10**8 * i for i in range(4)]])
def test_bags_that_are_made_here(
    kind: str, stamps: list[int], new_bag: Callable[..., Recorder], tmp_path: Path
) -> None:
    bag = record_stamps(new_bag(kind), stamps)
    frames, _ = assert_all_agree(InputOptions(kind="bag", path=bag), tmp_path)
    assert [stamp for stamp, _ in frames] == (stamps if any(stamps) else REGULAR)


@pytest.mark.parametrize("style", ["{:.6f}", "{}", "left_{:.1f}"])
def test_folders_that_are_made_here(style: str, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(12):
        name = style.format(round(1_700_000_000 + 0.1 * index, 1))
        cv2.imwrite(str(folder / f"{name}.png"), np.full((6, 8), 10 * index, np.uint8))
    (tmp_path / "calib.txt").write_text("10 0 3.5 0 11 2.5 0 0 1\n")
    options = InputOptions(kind="images", path=folder, calib=tmp_path / "calib.txt")
    (tmp_path / "first").mkdir()
    frames, _ = assert_all_agree(options, tmp_path / "first")
    assert [stamp for stamp, _ in frames] == [START + 10**8 * index for index in range(12)]
    stated = replace(options, fps=5.0)
    assert of_evaluation(stated)[0][1][0] == 200_000_000
