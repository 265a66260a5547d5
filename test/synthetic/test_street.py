"""The synthetic street against geometry computed here by other means."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from sfm_ros.errors import ConfigError
from sfm_ros.source import SourceItem
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet

HEIGHT_M = 1.5


def forward_poses(count: int, step_m: float) -> np.ndarray:
    """Cameras that look along +z and advance along it."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = step_m * np.arange(count)
    return poses


def yaw_left(degrees: float) -> np.ndarray:
    """Rotation that turns +z towards -x."""
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])


def warp(
    source: np.ndarray, depth: np.ndarray, K: np.ndarray, T_source_target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The source image seen from the target, and where that is defined."""
    rows, cols = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float64)
    rays = np.stack([(cols - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones_like(rows)])
    points = (rays * depth).reshape(3, -1)
    moved = T_source_target[:3, :3] @ points + T_source_target[:3, 3:]
    seen = K @ moved
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = (seen[:2] / seen[2]).reshape(2, *depth.shape)
    inside = (xy[0] > 0) & (xy[1] > 0) & (xy[0] < depth.shape[1] - 1)
    inside &= (xy[1] < depth.shape[0] - 1) & (depth > 0)
    maps = np.nan_to_num(xy).astype(np.float32)
    return cv2.remap(source.astype(np.float32), maps[0], maps[1], cv2.INTER_LINEAR), inside


def ground_truth(item: SourceItem) -> tuple[np.ndarray, np.ndarray]:
    """Depth and pose of a rendered frame."""
    assert item.depth_m is not None and item.T_world_camera is not None
    return item.depth_m, item.T_world_camera


def photometric_error(
    target: SourceItem, source: SourceItem, T_source_target: np.ndarray
) -> float:
    K = target.frame.intrinsics.K
    image, inside = warp(source.frame.rgb, ground_truth(target)[0], K, T_source_target)
    return float(np.abs(image - target.frame.rgb.astype(np.float32))[inside].mean())


@pytest.fixture(scope="module")
def city() -> SyntheticStreet:
    return SyntheticStreet(SyntheticConfig(seed=3, kind="city", frames=40))


@pytest.fixture(scope="module")
def motorway() -> SyntheticStreet:
    return SyntheticStreet(SyntheticConfig(seed=4, kind="motorway", frames=40))


@pytest.fixture(scope="module")
def straight() -> SyntheticStreet:
    """Level cameras at 1.5 m, one meter apart, with a KITTI-like focal length."""
    config = SyntheticConfig(seed=5, fx=241.0, camera_height_m=HEIGHT_M, kind="city")
    return SyntheticStreet(config, T_world_camera=forward_poses(6, 1.0))


def ground_mask(street: SyntheticStreet, index: int) -> np.ndarray:
    """Pixels whose back-projected point lies on the ground plane of the world."""
    item = street.render(index)
    depth, pose = ground_truth(item)
    K = street.intrinsics.K
    rows, cols = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rays = np.stack([(cols - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(rows.shape)])
    y = np.tensordot(pose[1, :3], rays, 1) * depth + pose[1, 3]
    return (depth > 0) & (np.abs(y - street.camera_height_m) < 1e-3)


def test_a_image_of_a_level_camera_shows_the_ground_at_height_over_slope(
    straight: SyntheticStreet,
) -> None:
    depth, _ = ground_truth(straight.render(0))
    K = straight.intrinsics.K
    slope = (np.arange(straight.intrinsics.height) - K[1, 2]) / K[1, 1]
    bottom = slope > 0.15
    expected = HEIGHT_M / slope[bottom]
    middle = depth[bottom, depth.shape[1] // 2]
    np.testing.assert_allclose(middle, expected, rtol=1e-4)


def test_ground_covers_a_good_part_and_obstacles_stand_before_it(
    straight: SyntheticStreet,
) -> None:
    depth, _ = ground_truth(straight.render(0))
    K = straight.intrinsics.K
    slope = (np.arange(depth.shape[0]) - K[1, 2]) / K[1, 1]
    below = slope > 0.02
    plane = HEIGHT_M / slope[below][:, None]
    assert np.all(depth[below] <= plane * 1.0001)
    share = np.mean(np.isclose(depth[below], plane, rtol=1e-3))
    assert 0.3 < share < 0.99


def test_one_meter_forward_takes_one_meter_from_the_depth_of_the_road(
    straight: SyntheticStreet,
) -> None:
    K = straight.intrinsics.K
    before, after = straight.render(0), straight.render(1)
    assert np.linalg.inv(ground_truth(before)[1]) @ ground_truth(after)[1] == pytest.approx(
        forward_poses(2, 1.0)[1]
    )
    point = np.array([0.0, HEIGHT_M, 9.0])
    for item, expected in ((before, 9.0), (after, 8.0)):
        depth, pose = ground_truth(item)
        seen = K @ (point - pose[:3, 3])
        col, row = np.round(seen[:2] / seen[2]).astype(int)
        exact = HEIGHT_M / ((row - K[1, 2]) / K[1, 1])
        assert depth[row, col] == pytest.approx(exact, rel=1e-4)
        assert depth[row, col] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("name", ["city", "motorway", "straight"])
def test_the_next_frame_warped_by_true_depth_and_motion_is_this_frame(
    name: str, request: pytest.FixtureRequest
) -> None:
    street = request.getfixturevalue(name)
    index = len(street) // 2
    T = np.linalg.inv(street.poses[index + 1]) @ street.poses[index]
    target, source = street.render(index), street.render(index + 1)
    true = photometric_error(target, source, T)
    assert true < 0.6 * photometric_error(target, source, np.eye(4))
    assert true < 0.6 * photometric_error(target, source, np.linalg.inv(T))


def test_turning_left_shows_what_was_on_the_left() -> None:
    poses = forward_poses(2, 0.0)
    poses[1, :3, :3] = yaw_left(5.0)
    config = SyntheticConfig(seed=6, fx=241.0, camera_height_m=HEIGHT_M, kind="city")
    street = SyntheticStreet(config, T_world_camera=poses)
    first, second = (street.render(i).frame.rgb.astype(float) for i in (0, 1))
    shift = int(round(241.0 * np.tan(np.deg2rad(5.0))))
    rows, strip = slice(56, 72), slice(190, 230)
    moved = np.abs(first[rows, strip] - np.roll(second, -shift, axis=1)[rows, strip]).mean()
    opposite = np.abs(first[rows, strip] - np.roll(second, shift, axis=1)[rows, strip]).mean()
    assert moved < 0.6 * opposite


def test_the_same_seed_gives_the_same_images_in_any_order(city: SyntheticStreet) -> None:
    again = SyntheticStreet(SyntheticConfig(seed=3, kind="city", frames=40))
    late = again.render(3)
    again.render(1)
    in_sequence = [item for item, _ in zip(city, range(4), strict=False)][3]
    for item in (late, again.render(3)):
        np.testing.assert_array_equal(item.frame.rgb, in_sequence.frame.rgb)
        for mine, other in zip(ground_truth(item), ground_truth(in_sequence), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_another_seed_gives_another_world(city: SyntheticStreet) -> None:
    other = SyntheticStreet(SyntheticConfig(seed=8, kind="city", frames=40))
    a, b = city.render(0), other.render(0)
    assert np.abs(a.frame.rgb.astype(float) - b.frame.rgb).mean() > 10.0
    assert other.intrinsics.fx != city.intrinsics.fx
    assert not np.allclose(other.poses, city.poses)


@pytest.mark.parametrize("name", ["city", "motorway"])
def test_frames_are_whole(name: str, request: pytest.FixtureRequest) -> None:
    street = request.getfixturevalue(name)
    item = street.render(11)
    assert item.frame.rgb.shape == (128, 416, 3)
    depth, _ = ground_truth(item)
    assert depth.shape == (128, 416) and depth.dtype == np.float32
    assert np.all(np.isfinite(depth)) and depth.min() >= 0.0
    assert 0.02 < np.mean(depth == 0.0) < 0.7
    assert item.frame.rgb.std() > 15.0
    assert ground_mask(street, 11).mean() > 0.15
    stamps = [street.render(i).frame.stamp_ns for i in (0, 1, 11)]
    assert stamps[0] > 0
    assert np.diff(stamps).tolist() == [100_000_000, 1_000_000_000]


@pytest.mark.parametrize(("name", "low", "high"), [("city", 0.5, 15.5), ("motorway", 19.0, 34.0)])
def test_the_drive_is_rigid_goes_forward_and_keeps_a_vehicles_pace(
    name: str, low: float, high: float, request: pytest.FixtureRequest
) -> None:
    street = request.getfixturevalue(name)
    poses = street.poses
    R = poses[:, :3, :3]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (len(R), 1, 1)),
                               atol=1e-12)  # fmt: skip
    np.testing.assert_allclose(np.linalg.det(R), 1.0, atol=1e-12)
    steps = np.einsum("nij,nj->ni", R[:-1].transpose(0, 2, 1), np.diff(poses[:, :3, 3], axis=0))
    speed = np.linalg.norm(steps, axis=1) * street.fps
    assert low < speed.min() and speed.max() < high
    assert np.all(steps[:, 2] > 0.97 * np.linalg.norm(steps, axis=1))
    assert np.abs(np.diff(speed)).max() * street.fps < 8.0


def test_traffic_stands_in_the_lanes_but_never_in_the_cameras_way() -> None:
    covered = []
    for seed in (1, 6, 14):
        busy, empty = (
            SyntheticStreet(SyntheticConfig(seed=seed, kind=kind, frames=28))
            for kind in ("traffic", "city")
        )
        assert busy.name == f"synthetic-traffic-{seed}"
        np.testing.assert_array_equal(busy.poses, empty.poses)
        shares = [ground_mask(street, 27).mean() for street in (busy, empty)]
        covered.append(shares[1] - shares[0])
        for index in (0, 14, 27):
            depth, _ = ground_truth(busy.render(index))
            assert depth[depth > 0].min() > 0.5
    # Vehicles hide the road; how many there are is drawn from the seed.
    assert min(covered) > 0 and sum(covered) > 0.1


def test_a_lorry_ahead_comes_nearer_as_it_should() -> None:
    street = SyntheticStreet(SyntheticConfig(seed=6, kind="traffic", frames=28))
    target, source = street.render(20), street.render(21)
    T = np.linalg.inv(street.poses[21]) @ street.poses[20]
    unmoved = photometric_error(target, source, np.eye(4))
    assert photometric_error(target, source, T) < 0.6 * unmoved


def test_a_given_focal_length_and_height_are_kept(straight: SyntheticStreet) -> None:
    camera = straight.intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (241.0, 241.0, 207.5, 63.5)
    assert straight.camera_height_m == HEIGHT_M


def test_a_circle_of_cameras_can_be_rendered() -> None:
    turn = np.linspace(0.0, 2 * np.pi, 60, endpoint=False)
    poses = np.tile(np.eye(4), (60, 1, 1))
    for i, angle in enumerate(turn):
        poses[i, :3, :3] = yaw_left(np.rad2deg(angle))
        poses[i, :3, 3] = 20.0 * np.array([np.cos(angle) - 1.0, 0.0, np.sin(angle)])
    street = SyntheticStreet(SyntheticConfig(seed=9, fx=241.0, kind="city"), T_world_camera=poses)
    for index in (0, 40):
        target, source = street.render(index), street.render(index + 1)
        above = ground_truth(target)[0][:64]
        assert above[above > 0].min() > 0.8
        T = np.linalg.inv(street.poses[index + 1]) @ street.poses[index]
        unmoved = photometric_error(target, source, np.eye(4))
        assert photometric_error(target, source, T) < unmoved


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"kind": "village"}, "village"),
        ({"width": 4}, "4x128"),
        ({"frames": 0}, "frames=0"),
        ({"fx": -1.0}, "-1.0"),
        ({"camera_height_m": 0.0}, "camera_height_m"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        SyntheticConfig(**fields)


def test_poses_that_are_not_rigid_or_below_the_road_are_refused() -> None:
    scaled = forward_poses(2, 1.0)
    scaled[1, :3, :3] *= 1.1
    with pytest.raises(ConfigError, match="not rigid"):
        SyntheticStreet(SyntheticConfig(), T_world_camera=scaled)
    sunk = forward_poses(2, 1.0)
    sunk[:, 1, 3] = 3.0
    with pytest.raises(ConfigError, match="above the road"):
        SyntheticStreet(SyntheticConfig(camera_height_m=HEIGHT_M), T_world_camera=sunk)


def test_a_frame_that_does_not_exist_is_an_index_error(city: SyntheticStreet) -> None:
    with pytest.raises(IndexError, match="40 of 40"):
        city.render(40)
