"""Ground truth that a user names is used or is an error, whatever its clock and its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_recorder import START, Recorder
from small_bags import image

from sfm_ros.bags.camera import inspect_bag
from sfm_ros.doctor.bag import read_bag
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.evaluation.runs.inputs import InputOptions, open_input
from sfm_ros.evaluation.trajectory.inputs import open_trajectory
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import make_transform, optical_to_body
from sfm_ros.sources.bag import BagSource

FRAMES = 4
STAMPS = np.array([START + index * 100_000_000 for index in range(FRAMES)])


def pose(index: int) -> np.ndarray:
    return make_transform(np.eye(3), [0.0, 0.0, 1.0 * index])


def tum(times: list[float]) -> str:
    return "".join(f"{time:.3f} 0 0 {index} 0 0 0 1\n" for index, time in enumerate(times))


@pytest.fixture
def images(tmp_path: Path) -> InputOptions:
    """Four images at 0, 0.1, 0.2 and 0.3 s."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "times.txt").write_text("0\n0.1\n0.2\n0.3\n")
    for index in range(FRAMES):
        cv2.imwrite(str(folder / f"{index}.png"), image(index))
    (tmp_path / "calib.txt").write_text("40 0 31.5 0 40 15.5 0 0 1\n")
    poses = tmp_path / "poses.txt"
    return InputOptions(kind="images", path=folder, calib=tmp_path / "calib.txt", poses=poses)


def written(options: InputOptions, text: str) -> InputOptions:
    assert options.poses is not None
    options.poses.write_text(text)
    return options


def test_poses_of_another_clock_are_an_error(images: InputOptions) -> None:
    named = r"poses.txt: 0 of the 4 images .*1403636579.* s to .*, the images from 0.0* s to 0.3"
    with pytest.raises(TrajectoryError, match=named):
        open_input(written(images, tum([1403636579.0 + 0.1 * i for i in range(FRAMES)])))


def test_one_pose_in_common_is_an_error(images: InputOptions) -> None:
    with pytest.raises(TrajectoryError, match="1 of the 4 images have a pose"):
        open_input(written(images, tum([0.3 + 0.1 * i for i in range(FRAMES)])))


def test_images_without_a_pose_are_counted(images: InputOptions) -> None:
    given = open_input(written(images, tum([0.1, 0.2, 0.3])))
    assert len(list(given.source)) == FRAMES
    assert "1 of 4 images have no pose" in given.remarks[0]
    found = given.ground_truth.trajectory(np.arange(FRAMES) * 100_000_000)
    assert found.trajectory is not None and len(found.trajectory) == 3


def test_table_and_tartan_air_beside_images(images: InputOptions) -> None:
    header = "#timestamp [ns],x,y,z,qw,qx,qy,qz\n"
    rows = "".join(f"{index * 100_000_000},0,0,{index},1,0,0,0\n" for index in range(FRAMES))
    tartan = "".join(f"{index} 0 0 0 0 0 1\n" for index in range(FRAMES))  # x is forward
    for text in (header + rows, tartan):
        source = open_input(written(images, text)).source
        found = [item.T_world_camera for item in source]
        np.testing.assert_allclose(found, [pose(index) for index in range(FRAMES)], atol=1e-12)


def recorded(recorder: Recorder, slash: str = "/", shift_ns: int = 0) -> Path:
    """A bag with camera, poses and speed, whose topics may lack the leading slash."""
    for index, at in enumerate(STAMPS.tolist()):
        recorder.info(f"{slash}cam/camera_info", at, k=[10, 0, 3.5, 0, 11, 2.5, 0, 0, 1])
        recorder.image(f"{slash}cam/image_raw", np.full((6, 8), 9 + index, np.uint8), "mono8", at)
        recorder.pose(f"{slash}gt/pose", optical_to_body(pose(index)), at + shift_ns)
    return recorder.done()


@pytest.mark.parametrize("shift_ns", [10**12, -(10**12), 3 * 10**17])
def test_pose_topic_of_another_clock_is_an_error(
    shift_ns: int, new_bag: Callable[..., Recorder]
) -> None:
    bag = recorded(new_bag(), shift_ns=shift_ns)
    given = open_input(InputOptions(kind="bag", path=bag, pose_topic="/gt/pose"))
    with pytest.raises(TrajectoryError, match="/gt/pose: 0 of the 4 images.*are from.*the images"):
        given.ground_truth.trajectory(STAMPS)
    with pytest.raises(TrajectoryError, match="0 of the 4 images"):  # as prepare reads it
        list(BagSource(bag, pose_topic="/gt/pose"))
    found = open_input(InputOptions(kind="bag", path=bag)).ground_truth.trajectory(STAMPS)
    assert found.trajectory is not None and not found.is_named  # found, not named


def test_poses_beside_a_bag(new_bag: Callable[..., Recorder], tmp_path: Path) -> None:
    bag, poses = recorded(new_bag()), tmp_path / "poses.csv"
    options = InputOptions(kind="bag", path=bag, poses=poses)
    with pytest.raises(TrajectoryError, match="there is no trajectory file"):
        open_input(options)  # before the run
    poses.write_text(tum([1.0, 2.0, 3.0]))
    given = open_input(options)
    with pytest.raises(TrajectoryError, match=r"poses.csv: 0 of the 4 images"):
        given.ground_truth.trajectory(STAMPS)
    rows = [f"{at},0,0,{i},1,0,0,0\n" for i, at in enumerate(STAMPS.tolist())]
    poses.write_text("".join(rows))
    with pytest.raises(TrajectoryError, match="--columns"):
        open_input(options)
    columns = InputOptions(kind="bag", path=bag, poses=poses, columns="t,x,y,z,qw,qx,qy,qz")
    found = open_input(columns).ground_truth.trajectory(STAMPS)
    assert isinstance(found.trajectory, Trajectory)
    np.testing.assert_allclose(found.trajectory.positions[:, 2], range(FRAMES))
    assert "nanoseconds" in found.remarks[0]


def test_contradicting_options_are_refused(
    new_bag: Callable[..., Recorder], images: InputOptions, tmp_path: Path
) -> None:
    bag = recorded(new_bag())
    with pytest.raises(SourceError, match="both --poses and poses in the bag are named"):
        open_input(InputOptions(kind="bag", path=bag, poses=bag, pose_topic="/gt/pose"))
    with pytest.raises(SourceError, match="--columns is stated without --poses"):
        open_input(InputOptions(kind="bag", path=bag, columns="t,x,y,z,qw,qx,qy,qz"))
    with pytest.raises(SourceError, match="stated without a file of poses"):
        open_input(
            InputOptions(kind="images", path=images.path, calib=images.calib, columns="t,x")
        )


@pytest.mark.parametrize("kind", ["ros1", "mcap"])
@pytest.mark.parametrize(("stored", "named"), [("/", ""), ("", "/"), ("", "")])
def test_topics_with_and_without_leading_slash(
    kind: str, stored: str, named: str, new_bag: Callable[..., Recorder]
) -> None:
    bag = recorded(new_bag(kind), slash=stored)
    options = InputOptions(
        kind="bag",
        path=bag,
        image_topic=f"{named}cam/image_raw",
        camera_info_topic=f"{named}cam/camera_info",
        pose_topic=f"{named}gt/pose",
    )
    given = open_input(options)
    assert len(list(given.source)) == FRAMES
    found = given.ground_truth.trajectory(STAMPS)
    assert found.trajectory is not None and len(found.trajectory) == FRAMES
    playable = inspect_bag(bag, options.image_topic)
    assert playable.camera_info_topic == f"{stored}cam/camera_info"
    assert len(BagSource(bag, speed_topic=f"{named}gt/pose")) == FRAMES
    assert len(open_trajectory(f"{bag}:{named}gt/pose").trajectory) == FRAMES
    (camera,) = read_bag(bag, options.image_topic).cameras
    assert camera.infos is not None and len(camera.infos.samples) == FRAMES


def kitti(count: int) -> str:
    return "".join(f"1 0 0 0 0 1 0 0 0 0 1 {index}\n" for index in range(count))


def test_poses_by_line_belong_to_the_images_that_the_bag_lists(
    new_bag: Callable[..., Recorder], tmp_path: Path
) -> None:
    """An image that cannot be decoded shifts no line, and a run may end early."""
    recorder, poses = new_bag(), tmp_path / "poses.txt"
    for index, at in enumerate(STAMPS.tolist()):
        recorder.info("/cam/camera_info", at, k=[10, 0, 3.5, 0, 11, 2.5, 0, 0, 1])
        data = cv2.imencode(".png", np.full((6, 8), index, np.uint8))[1].tobytes()
        half = data[: len(data) // 2] if index == 1 else data
        recorder.compressed("/cam/image_raw/compressed", half, at)
    bag = recorder.done()
    poses.write_text(kitti(FRAMES))
    given = open_input(InputOptions(kind="bag", path=bag, poses=poses))
    images = [item.frame.stamp_ns for item in given.source]
    assert len(images) == FRAMES - 1 and given.unreadable == 1
    found = given.ground_truth.trajectory(np.array(images)).trajectory
    assert found is not None and found.stamps_ns.tolist() == STAMPS.tolist()
    np.testing.assert_allclose(found.positions[:, 2], range(FRAMES))
    early = open_input(InputOptions(kind="bag", path=bag, poses=poses))
    part = [item.frame.stamp_ns for item, _ in zip(early.source, range(2), strict=False)]
    kept = early.ground_truth.trajectory(np.array(part)).trajectory
    assert kept is not None and len(kept) in (3, 4)
    for count in (FRAMES - 1, FRAMES + 1):
        poses.write_text(kitti(count))
        with pytest.raises(TrajectoryError, match="poses"):  # before the run
            open_input(InputOptions(kind="bag", path=bag, poses=poses))
