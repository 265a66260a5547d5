"""Inputs of every kind: their frames, their ground truth, and the bag to play."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_bags import CAMERA, HEIGHT, OPTICAL_FRAME, WIDTH, SmallSequence, pose, stamp, write

from sfm_ros.bags.messages import transforms_message
from sfm_ros.bags.writer import CAMERA_INFO_TOPIC, IMAGE_TOPIC, write_bag
from sfm_ros.errors import CalibrationError, SourceError, TrajectoryError
from sfm_ros.evaluation.runs.ground_truth import FrameGroundTruth
from sfm_ros.evaluation.runs.inputs import EvaluationInput, InputOptions, open_input
from sfm_ros.formats.trajectory import Stamps
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform
from sfm_ros.source import SourceItem
from sfm_ros.synthetic.held_out import HeldOutStreet

FRAMES = 6
STAMPS: Stamps = np.array([stamp(index) for index in range(FRAMES)])


class WithDepth(SmallSequence):
    """Frames with ground-truth depth: the number of the frame plus one, in meters."""

    def __iter__(self) -> Iterator[SourceItem]:
        for index, item in enumerate(super().__iter__()):
            depth = np.full((HEIGHT, WIDTH), index + 1.0, np.float32)
            yield replace(item, depth_m=depth)


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return write(tmp_path / "bag", [], frames=FRAMES, with_poses=True)


@pytest.fixture
def calib(tmp_path: Path) -> Path:
    (tmp_path / "calib.txt").write_text("40 0 31.5 0 40 15.5 0 0 1\n")
    return tmp_path / "calib.txt"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for index, item in enumerate(SmallSequence(FRAMES)):
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), item.frame.rgb[:, :, ::-1])
    return tmp_path / "images"


def from_frames(sequence: SmallSequence) -> EvaluationInput:
    frames = FrameGroundTruth(sequence)
    return EvaluationInput(name=frames.name, source=frames, ground_truth=frames)


def depths(given: EvaluationInput) -> list[float | None]:
    """The constant depth of each frame."""
    found = [given.ground_truth.depth(item) for item in given.source]
    return [None if depth is None else float(depth.depth[0, 0]) for depth in found]


def test_bag_brings_its_ground_truth(bag: Path) -> None:
    given = open_input(InputOptions(kind="bag", path=bag))
    assert given.name == str(bag) and len(given.source) == FRAMES and given.bag is None
    found = given.ground_truth.trajectory(STAMPS)
    assert found.name == "/ground_truth/odometry" and found.trajectory is not None
    assert found.trajectory.poses[3] == pytest.approx(pose(3), abs=1e-9)
    assert "no lidar" in (given.ground_truth.depth_problem or "")
    assert depths(given) == [None] * FRAMES


def test_file_of_poses_replaces_those_in_the_bag(bag: Path, tmp_path: Path) -> None:
    poses = tmp_path / "poses.txt"
    poses.write_text("1 0 0 0 0 1 0 0 0 0 1 5\n" * FRAMES)
    given = open_input(InputOptions(kind="bag", path=bag, poses=poses))
    found = given.ground_truth.trajectory(STAMPS)
    assert found.name == "file of poses poses.txt" and found.trajectory is not None
    assert found.trajectory.positions[:, 2].tolist() == [5.0] * FRAMES
    with pytest.raises(TrajectoryError):
        given.ground_truth.trajectory(np.append(STAMPS, stamp(FRAMES)))


def bag_with_camera(tmp_path: Path) -> Path:
    """A bag whose camera is 1.2 m above base_link, and that 0.3 m above the ground."""
    above_axle = make_transform(R_BODY_OPTICAL, [0.5, 0.0, 1.2])
    transforms = {
        ("base_link", OPTICAL_FRAME): above_axle,
        ("base_link", "base_footprint"): make_transform(np.eye(3), [0.0, 0.0, -0.3]),
        ("base_link", "roof"): make_transform(np.eye(3), [0.0, 0.0, 2.0]),
    }
    extrinsics = ("/tf_static", transforms_message(transforms, stamp(0)), stamp(0))
    return write(tmp_path / "bag", [extrinsics], frames=FRAMES)


@pytest.mark.parametrize(
    ("ground_frame", "expected"),
    [("base_footprint", 1.5), ("base_link", 1.2), ("mars", None), ("", None), ("roof", None)],
)
def test_height_of_the_camera_in_a_bag(
    ground_frame: str, expected: float | None, tmp_path: Path
) -> None:
    bag = bag_with_camera(tmp_path)
    given = open_input(InputOptions(kind="bag", path=bag, ground_frame=ground_frame))
    assert given.camera_height_m == (None if expected is None else pytest.approx(expected))


def test_height_of_the_camera_of_other_inputs(images: Path, calib: Path) -> None:
    assert open_input(InputOptions()).camera_height_m == HeldOutStreet.camera_height_m
    folder = InputOptions(kind="images", path=images, calib=calib)
    assert open_input(folder).camera_height_m is None
    images.rename(images.parent / "image_2")
    kitti = InputOptions(kind="kitti", path=images.parent, calib=calib)
    assert open_input(kitti).camera_height_m == 1.65


def test_speeds_in_a_bag_come_with_the_frames(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", [], frames=FRAMES, with_poses=True)
    topic = "/ground_truth/odometry"
    given = open_input(InputOptions(kind="bag", path=bag, speed_topic=topic))
    assert all(item.speed_m_s is not None for item in given.source)
    with pytest.raises(SourceError, match="--speed-topic is an option of a bag"):
        open_input(InputOptions(speed_topic=topic))


def test_bag_is_played_as_it_is(bag: Path) -> None:
    given = open_input(InputOptions(kind="bag", path=bag))
    played = given.playable()
    assert played is not None and played.bag is not None
    assert (played.bag.path, played.bag.frames, played.bag.depth) == (bag, FRAMES, None)
    assert (played.bag.image_topic, played.bag.camera_info_topic) == (
        IMAGE_TOPIC,
        CAMERA_INFO_TOPIC,
    )
    assert played.source is given.source and played.ground_truth is given.ground_truth


def test_bag_with_another_calibration_is_converted(bag: Path, calib: Path, tmp_path: Path) -> None:
    calib.write_text("99 0 31.5 0 99 15.5 0 0 1\n")
    given = open_input(InputOptions(kind="bag", path=bag, calib=calib))
    assert given.playable() is None
    played = given.converted(tmp_path / "new", tmp_path / "depth")
    assert played.bag is not None and played.bag.path == tmp_path / "new"
    assert {item.frame.intrinsics.fx for item in played.source} == {99.0}
    assert played.ground_truth is given.ground_truth


def test_frames_bring_their_ground_truth() -> None:
    given = from_frames(WithDepth(FRAMES))
    assert given.ground_truth.trajectory(STAMPS).problem == "no ground-truth poses were given"
    assert depths(given) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    found = given.ground_truth.trajectory(STAMPS)
    assert found.name == "poses of the frames" and found.trajectory is not None
    assert np.array_equal(found.trajectory.poses[3], pose(3))
    assert given.ground_truth.depth_problem is None


def test_converted_frames_keep_their_ground_truth(tmp_path: Path) -> None:
    given = from_frames(WithDepth(FRAMES))
    written: list[None] = []
    folder = tmp_path / "bag"
    assert given.playable() is None
    played = given.converted(folder, tmp_path / "depth", 4, lambda: written.append(None))
    assert len(written) == 4 and (folder / "metadata.yaml").is_file()
    assert played.name == given.name and played.bag is not None
    assert played.bag.frames == len(played.source) == 4
    assert played.bag.depth is not None and played.bag.depth.camera == CAMERA
    assert depths(played) == [1.0, 2.0, 3.0, 4.0]
    trajectory = played.ground_truth.trajectory(STAMPS[:4]).trajectory
    assert trajectory is not None and trajectory.stamps_ns.tolist() == STAMPS[:4].tolist()
    for before, after in zip(given.source, played.source, strict=False):
        assert np.array_equal(before.frame.rgb, after.frame.rgb)
        assert before.frame.stamp_ns == after.frame.stamp_ns


def test_poses_that_are_not_finite_are_a_problem() -> None:
    class Broken(SmallSequence):
        def __iter__(self) -> Iterator[SourceItem]:
            for item in super().__iter__():
                yield replace(item, T_world_camera=np.full((4, 4), np.nan))

    given = from_frames(Broken(FRAMES))
    list(given.source)
    found = given.ground_truth.trajectory(STAMPS)
    assert found.trajectory is None and "not finite" in (found.problem or "")


def test_images_and_their_options(images: Path, calib: Path) -> None:
    given = open_input(InputOptions(kind="images", path=images, calib=calib, fps=5.0))
    items = list(given.source)
    assert len(items) == FRAMES and items[1].frame.stamp_ns == 200_000_000
    with pytest.raises(SourceError, match="images needs calib"):
        open_input(InputOptions(kind="images", path=images))
    with pytest.raises(SourceError, match="images has no option image_topic"):
        open_input(InputOptions(kind="images", path=images, calib=calib, image_topic="/a"))


def test_kitti_with_a_calibration_is_a_folder_of_images(images: Path, calib: Path) -> None:
    images.rename(images.with_name("image_0"))
    options = InputOptions(kind="kitti", path=images.parent, calib=calib)
    assert len(open_input(options).source) == FRAMES
    with pytest.raises(CalibrationError):
        open_input(replace(options, calib=calib.with_name("gone.txt")))


def depth_images(folder: Path, size: tuple[int, int], numbers: range) -> Path:
    folder.mkdir()
    for number in numbers:
        depth = np.full(size, 1000 * (number + 1), np.uint16)
        cv2.imwrite(str(folder / f"{number:04d}.png"), depth)
    return folder


def test_depth_images_beside_images(images: Path, calib: Path, tmp_path: Path) -> None:
    folder = depth_images(tmp_path / "depth", (HEIGHT, WIDTH), range(2, FRAMES))
    options = InputOptions(
        kind="images", path=images, calib=calib, depth_images=folder, units_per_meter=1000.0
    )
    given = open_input(options)
    assert depths(given) == [None, None, 3.0, 4.0, 5.0, 6.0]
    plain = open_input(replace(options, depth_images=None))
    assert given.calibration is not None and given.calibration == plain.calibration
    item = list(given.source)[3]
    found = given.ground_truth.depth(item)
    assert found is not None and found.crop == "none"
    garg = open_input(replace(options, depth_crop="garg"))
    found = garg.ground_truth.depth(item)
    assert found is not None and found.crop == "garg"


def test_depth_images_of_kitti_are_compared_in_gargs_crop(calib: Path, tmp_path: Path) -> None:
    sequence = tmp_path / "drive"
    (sequence / "image_02").mkdir(parents=True)
    for index, item in enumerate(SmallSequence(FRAMES)):
        file = sequence / "image_02" / f"{index:06d}.png"
        cv2.imwrite(str(file), item.frame.rgb[:, :, ::-1])
    (sequence / "calib.txt").write_text("P2: 40 0 31.5 0 0 40 15.5 0 0 0 1 0\n")
    folder = depth_images(tmp_path / "depth", (HEIGHT, WIDTH), range(FRAMES))
    given = open_input(InputOptions(kind="kitti", path=sequence, depth_images=folder))
    assert given.camera_height_m == 1.65
    found = given.ground_truth.depth(next(iter(given.source)))
    assert found is not None and found.crop == "garg"
    assert found.depth == pytest.approx(1000 / 256)


def test_depth_images_that_do_not_fit_are_refused(
    images: Path, calib: Path, bag: Path, tmp_path: Path
) -> None:
    options = InputOptions(kind="images", path=images, calib=calib)
    other = depth_images(tmp_path / "other", (HEIGHT, WIDTH), range(20, 23))
    with pytest.raises(SourceError, match="same numbers"):
        open_input(replace(options, depth_images=other))
    small = depth_images(tmp_path / "small", (HEIGHT // 2, WIDTH), range(FRAMES))
    with pytest.raises(SourceError, match="expected equal sizes"):
        list(open_input(replace(options, depth_images=small)).source)
    with pytest.raises(SourceError, match="--depth-topic"):
        open_input(InputOptions(kind="bag", path=bag, depth_images=small))
    with pytest.raises(SourceError, match="--depth-crop is an option of images"):
        open_input(InputOptions(kind="bag", path=bag, depth_crop="garg"))
    with pytest.raises(SourceError, match="more than 0"):
        open_input(replace(options, depth_images=small, units_per_meter=0.0))


@pytest.mark.parametrize("name", ["depth_topic", "ground_truth_frame"])
def test_options_of_a_bag_are_refused_elsewhere(name: str) -> None:
    options: dict[str, Any] = {name: "/topic"}
    with pytest.raises(
        SourceError, match=f"--{name.replace('_', '-')} is an option of a bag only"
    ):
        open_input(InputOptions(**options))


def test_without_a_recording_the_held_out_street_is_rendered() -> None:
    given = open_input(InputOptions())
    assert given.name == HeldOutStreet().name and len(given.source) == len(HeldOutStreet())


def test_empty_source_is_not_converted(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no frame"):
        from_frames(SmallSequence(0)).converted(tmp_path / "bag", tmp_path / "depth")


def test_written_bag_describes_itself(tmp_path: Path) -> None:
    bag = write_bag(SmallSequence(FRAMES), tmp_path / "bag", tmp_path / "depth")
    found = open_input(InputOptions(kind="bag", path=bag.path)).playable()
    assert found is not None and found.bag == replace(bag, depth=None)
