"""Ground truth in a bag: on a topic of poses, in /tf, from a depth camera, from a lidar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from small_bags import CAMERA, HEIGHT, OPTICAL_FRAME, WIDTH, pose, stamp, write

from sfm_ros.bags.messages import (
    ground_truth_message,
    header,
    scan_message,
    transforms_message,
)
from sfm_ros.bags.reader import BagFile
from sfm_ros.bags.transforms import read_transforms
from sfm_ros.datatypes import FloatArray, Frame
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.evaluation.runs.bag_ground_truth import (
    BagDepth,
    find_depth,
    find_lidar,
    read_ground_truth_trajectory,
)
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform, optical_to_body, so3_exp

TYPES = get_typestore(Stores.ROS2_JAZZY).types
T_BASE_OPTICAL = make_transform(R_BODY_OPTICAL @ so3_exp([0.05, 0, 0]), [1.0, 0.2, 1.5])
FRAMES = 12


def increments(trajectory: Trajectory) -> FloatArray:
    return np.linalg.inv(trajectory.poses[:-1]) @ trajectory.poses[1:]


def gt_increments(count: int = FRAMES) -> FloatArray:
    return np.tile(pose(1), (count - 1, 1, 1))


def odometry(index: int, T: FloatArray, child: str) -> tuple[str, Any, int]:
    """An Odometry with the pose T of its child, in whatever axes T is."""
    message = ground_truth_message(np.eye(4), stamp(index), OPTICAL_FRAME)
    return "/ground_truth/odometry", filled(message, T, child), stamp(index)


def filled(message: Any, T: FloatArray, child: str) -> Any:
    like = transforms_message({("a", "b"): T}, 0).transforms[0].transform
    message.child_frame_id = child
    p, q = message.pose.pose.position, message.pose.pose.orientation
    p.x, p.y, p.z = like.translation.x, like.translation.y, like.translation.z
    q.x, q.y, q.z, q.w = like.rotation.x, like.rotation.y, like.rotation.z, like.rotation.w
    return message


def static(transforms: dict[tuple[str, str], FloatArray]) -> tuple[str, Any, int]:
    return "/tf_static", transforms_message(transforms, stamp(0)), stamp(0)


def test_marked_topic_is_found(tmp_path: Path) -> None:
    bag = BagFile(write(tmp_path / "bag", [], with_poses=True))
    found = read_ground_truth_trajectory(bag, OPTICAL_FRAME, None, None)
    assert found.name == "/ground_truth/odometry" and found.trajectory is not None
    assert found.trajectory.stamps_ns.tolist() == [stamp(i) for i in range(FRAMES)]
    assert increments(found.trajectory) == pytest.approx(gt_increments(), abs=1e-12)


def test_pose_of_the_vehicle_is_moved_to_the_camera(tmp_path: Path) -> None:
    """A base link 1.5 m from the camera moves differently in a bend; /tf_static relates them."""
    T_base_from_world = np.linalg.inv(T_BASE_OPTICAL)
    messages = [
        odometry(i, T_BASE_OPTICAL @ pose(i) @ T_base_from_world, "base_link")
        for i in range(FRAMES)
    ]
    extrinsics = {("base_link", "mast"): np.eye(4), ("mast", OPTICAL_FRAME): T_BASE_OPTICAL}
    bag = BagFile(write(tmp_path / "bag", [*messages, static(extrinsics)]))
    found = read_ground_truth_trajectory(bag, OPTICAL_FRAME, None, None).trajectory
    assert found is not None
    assert increments(found) == pytest.approx(gt_increments(), abs=1e-9)


def test_transforms_are_chained_and_interpolated(tmp_path: Path) -> None:
    """world -> odom moves slowly and is sampled rarely, odom -> base_link with every frame."""
    drift = [make_transform(so3_exp([0, 0, 0.02 * i]), [0.1 * i, 0, 0]) for i in range(FRAMES)]
    messages = [static({("base_link", OPTICAL_FRAME): T_BASE_OPTICAL})]
    for i in range(FRAMES):
        T_world_base = T_BASE_OPTICAL @ pose(i) @ np.linalg.inv(T_BASE_OPTICAL)
        T_odom_base = np.linalg.inv(drift[i]) @ T_world_base
        entry = transforms_message({("odom", "base_link"): T_odom_base}, stamp(i))
        messages.append(("/tf", entry, stamp(i)))
        if i % 2 == 0:
            entry = transforms_message({("world", "odom"): drift[i]}, stamp(i))
            messages.append(("/tf", entry, stamp(i)))
    bag = BagFile(write(tmp_path / "bag", messages))
    found = read_ground_truth_trajectory(bag, OPTICAL_FRAME, None, "world").trajectory
    assert found is not None and len(found) == FRAMES - 1, "nothing is known after the last sample"
    at_samples = increments(found.select(np.arange(0, FRAMES - 1, 2)))
    assert at_samples == pytest.approx(np.tile(pose(2), (5, 1, 1)), abs=1e-9)
    assert increments(found) == pytest.approx(gt_increments(FRAMES - 1), abs=2e-3)
    with pytest.raises(SourceError, match="not to 'mars'.*base_link, camera_optical, odom, world"):
        read_ground_truth_trajectory(bag, OPTICAL_FRAME, None, "mars")


def test_unmarked_odometry_is_not_the_ground_truth(tmp_path: Path) -> None:
    wheels = [("/wheels", odometry(i, pose(i), "b")[1], stamp(i)) for i in range(3)]
    bag = BagFile(write(tmp_path / "bag", wheels))
    found = read_ground_truth_trajectory(bag, OPTICAL_FRAME, None, None)
    assert found.trajectory is None
    assert (
        found.problem is not None and "it has /wheels; choose with --pose-topic" in found.problem
    )
    assert read_ground_truth_trajectory(bag, OPTICAL_FRAME, "/wheels", None).trajectory is not None


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_pose_that_is_not_finite_is_refused(tmp_path: Path, broken: float) -> None:
    messages = [odometry(i, pose(i), "base_link") for i in range(4)]
    messages[2][1].pose.pose.position.x = broken
    bag = BagFile(write(tmp_path / "bag", messages))
    found = read_ground_truth_trajectory(bag, OPTICAL_FRAME, None, None)
    assert found.trajectory is None and found.problem is not None
    assert "finite" in found.problem and "/ground_truth/odometry" in found.problem
    with pytest.raises(SourceError, match="finite"):
        read_ground_truth_trajectory(bag, OPTICAL_FRAME, "/ground_truth/odometry", None)


@pytest.mark.parametrize("topic", ["/nowhere", "/camera/image_raw"])
def test_named_topic_must_exist(tmp_path: Path, topic: str) -> None:
    bag = BagFile(write(tmp_path / "bag", [], frames=2))
    with pytest.raises(SourceError, match=f"on {topic}.*/camera/camera_info"):
        read_ground_truth_trajectory(bag, OPTICAL_FRAME, topic, None)


def test_static_transform_is_no_trajectory(tmp_path: Path) -> None:
    still = static({("world", OPTICAL_FRAME): np.eye(4)})
    bag = BagFile(write(tmp_path / "bag", [still], frames=2))
    with pytest.raises(SourceError, match="nothing on /tf moves"):
        read_ground_truth_trajectory(bag, OPTICAL_FRAME, None, "world")
    with pytest.raises((SourceError, TrajectoryError)):
        read_ground_truth_trajectory(bag, "elsewhere", None, "world")


def test_cycle_of_transforms_ends(tmp_path: Path) -> None:
    ring = static({("a", "b"): np.eye(4), ("b", "a"): np.eye(4)})
    tree = read_transforms(BagFile(write(tmp_path / "bag", [ring], frames=2)), with_moving=True)
    assert tree.static_transform("c", "a") is None
    with pytest.raises(SourceError):
        tree.path_of("a", "c")


def test_invalid_transform_is_skipped(tmp_path: Path) -> None:
    topic, message, time_ns = static(
        {("world", OPTICAL_FRAME): np.eye(4), ("world", "b"): np.eye(4)}
    )
    rotation = message.transforms[1].transform.rotation
    rotation.x = rotation.y = rotation.z = rotation.w = 0.0
    bag = BagFile(write(tmp_path / "bag", [(topic, message, time_ns)], frames=2))
    assert read_transforms(bag, with_moving=False).frames == [OPTICAL_FRAME, "world"]


# ---- depth -------------------------------------------------------------------------------------


def frame(index: int) -> Frame:
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return Frame(stamp_ns=stamp(index), rgb=rgb, intrinsics=CAMERA, frame_id=OPTICAL_FRAME)


def depth_image(index: int, encoding: str, frame_id: str = OPTICAL_FRAME, pad: int = 3) -> Any:
    """2.5 m plus a centimeter per column and a meter per image, rows padded."""
    meters = np.tile(2.5 + 0.01 * np.arange(WIDTH) + index, (HEIGHT, 1))
    values = (meters * 1000).round().astype("<u2") if encoding == "16UC1" else meters.astype("<f4")
    values[0, 0] = 0 if encoding == "16UC1" else np.nan
    row = values.view(np.uint8).reshape(HEIGHT, -1)
    data = np.hstack([row, np.full((HEIGHT, pad), 255, np.uint8)])
    return TYPES["sensor_msgs/msg/Image"](
        header=header(stamp(index), frame_id), height=HEIGHT, width=WIDTH, encoding=encoding,
        is_bigendian=0, step=data.shape[1], data=data.reshape(-1),
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depth_image_is_in_meters(tmp_path: Path, encoding: str) -> None:
    messages = [("/depth", depth_image(i, encoding), stamp(i) + 3_000_000) for i in (0, 2, 3, 7)]
    depth = BagDepth(BagFile(write(tmp_path / "bag", messages)), "/depth", OPTICAL_FRAME)
    seen = [depth.at(frame(i)) for i in (0, 1, 3, 7, 9)]
    assert [found is not None for found in seen] == [True, False, True, True, False]
    for found, index in ((seen[0], 0), (seen[2], 3), (seen[3], 7)):
        assert found is not None
        assert found.depth[5, 10] == pytest.approx(2.6 + index, abs=1e-3)
        assert not found.depth[0, 0] > 0


def test_depth_outlives_the_kept_open_bag(tmp_path: Path) -> None:
    # Larger than what the reader has in memory.
    messages = [("/depth", depth_image(i, "16UC1", pad=40_000), stamp(i)) for i in range(4)]
    bag = BagFile(write(tmp_path / "bag", messages))
    with bag.kept_open():
        depth = BagDepth(bag, "/depth", OPTICAL_FRAME)
    assert [depth.at(frame(i)) is not None for i in range(4)] == [True] * 4


def test_depth_of_another_camera_or_kind_is_refused(tmp_path: Path) -> None:
    messages = [
        ("/left", depth_image(0, "16UC1", "left_camera"), stamp(0)),
        ("/gray", depth_image(0, "16UC1"), stamp(0)),
    ]
    messages[1][1].encoding = "mono8"
    bag = BagFile(write(tmp_path / "bag", messages, frames=2))
    with pytest.raises(SourceError, match="frame 'left_camera'.*registered"):
        BagDepth(bag, "/left", OPTICAL_FRAME)
    with pytest.raises(SourceError, match="'mono8', expected 16UC1"):
        BagDepth(bag, "/gray", OPTICAL_FRAME)
    with pytest.raises(SourceError, match="no such topic"):
        BagDepth(bag, "/nowhere", OPTICAL_FRAME)


def test_scan_is_projected_into_the_image(tmp_path: Path) -> None:
    """A lidar half a meter above and behind the camera, in body axes; the nearer point wins."""
    T_body_lidar = make_transform(np.eye(3), [-0.5, 0.0, 0.5])
    T_optical_body = make_transform(R_BODY_OPTICAL.T, np.zeros(3))
    seen = np.array([[0.0, 0.0, 10.0], [0.0, 0.0, 30.0], [2.0, 1.0, 20.0], [0.0, 0.0, -5.0]])
    to_lidar = np.linalg.inv(T_optical_body @ T_body_lidar)
    points = seen @ to_lidar[:3, :3].T + to_lidar[:3, 3]
    rows = np.hstack([points, np.ones((4, 1))]).astype("<f4")
    tree = {("body", OPTICAL_FRAME): np.linalg.inv(T_optical_body)}
    tree["body", "lidar"] = T_body_lidar
    scans = [("/scan", scan_message(rows.tobytes(), stamp(1), "lidar"), stamp(1))]
    bag = BagFile(write(tmp_path / "bag", [*scans, static(tree)], frames=3))
    transforms = read_transforms(bag, with_moving=False)
    assert find_lidar(bag, OPTICAL_FRAME, transforms) == "/scan"
    found = BagDepth(bag, "/scan", OPTICAL_FRAME, transforms).at(frame(1))
    assert found is not None
    assert np.count_nonzero(found.depth) == 2
    # The optical axis passes between the four middle pixels; 31.5 rounds to the even 32.
    assert found.depth[16, 32] == pytest.approx(10.0, abs=1e-5)
    assert found.depth[round(15.5 + 40 / 20), round(31.5 + 80 / 20)] == pytest.approx(20, abs=1e-5)


def test_lidar_without_extrinsics_is_not_used(tmp_path: Path) -> None:
    scan = scan_message(np.ones(4, "<f4").tobytes(), stamp(0), "lidar")
    bag = BagFile(write(tmp_path / "bag", [("/scan", scan, stamp(0))], frames=2))
    assert find_lidar(bag, OPTICAL_FRAME, read_transforms(bag, with_moving=False)) is None
    with pytest.raises(SourceError, match="/tf_static does not connect .*'lidar'"):
        BagDepth(bag, "/scan", OPTICAL_FRAME)
    depth, problem = find_depth(bag, OPTICAL_FRAME, None)
    assert depth is None and problem is not None and "holds no lidar" in problem
    with pytest.raises(SourceError, match="/tf_static does not connect"):
        find_depth(bag, OPTICAL_FRAME, "/scan")


def test_forward_is_z_of_the_camera_and_x_of_the_body() -> None:
    """The bags above rely on this convention."""
    assert optical_to_body(pose(1))[:3, 3] == pytest.approx([1.4, 0.0, 0.0])
