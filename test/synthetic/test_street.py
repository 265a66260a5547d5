"""The synthetic street against geometry that is computed here by other means."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from streets import (
    FRAMES,
    FX,
    HEIGHT_M,
    SharedStreet,
    braking_street,
    ground_truth,
    ground_truth_motion,
    shared_street,
    street_config,
    yaw_left,
)

from sfm_ros.errors import ConfigError
from sfm_ros.source import SourceItem
from sfm_ros.synthetic.street import SyntheticConfig, SyntheticStreet


def warp(
    source: np.ndarray, depth: np.ndarray, K: np.ndarray, T_source_target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The source image warped to the target (H, W, 3), and the (H, W) mask of valid pixels."""
    rows, cols = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float64)
    rays = np.stack([(cols - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones_like(rows)])
    points = (rays * depth).reshape(3, -1)
    projected = K @ (T_source_target[:3, :3] @ points + T_source_target[:3, 3:])
    with np.errstate(divide="ignore", invalid="ignore"):
        xy = (projected[:2] / projected[2]).reshape(2, *depth.shape)
    inside = (xy[0] > 0) & (xy[1] > 0) & (xy[0] < depth.shape[1] - 1)
    inside &= (xy[1] < depth.shape[0] - 1) & (depth > 0)
    maps = np.nan_to_num(xy).astype(np.float32)
    return cv2.remap(source.astype(np.float32), maps[0], maps[1], cv2.INTER_LINEAR), inside


def photometric_error(
    target: SourceItem, source: SourceItem, T_source_target: np.ndarray
) -> float:
    """Mean absolute difference of the target and the warped source, gray levels."""
    K = target.frame.intrinsics.K
    image, inside = warp(source.frame.rgb, ground_truth(target)[0], K, T_source_target)
    return float(np.abs(image - target.frame.rgb.astype(np.float32))[inside].mean())


def row_slopes(street: SyntheticStreet) -> np.ndarray:
    """(H,) y / z of the rays of each image row."""
    camera = street.intrinsics
    return (np.arange(camera.height) - camera.cy) / camera.fy


def ground_mask(street: SyntheticStreet, index: int) -> np.ndarray:
    """Pixels whose back-projected point lies on the ground plane of the world."""
    depth, pose = ground_truth(street.render(index))
    K = street.intrinsics.K
    rows, cols = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rays = np.stack([(cols - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(rows.shape)])
    y = np.tensordot(pose[1, :3], rays, 1) * depth + pose[1, 3]
    return (depth > 0) & (np.abs(y - street.camera_height_m) < 1e-3)


def test_level_camera_depth_is_height_over_slope() -> None:
    depth, _ = ground_truth(braking_street().render(0))
    slope = row_slopes(braking_street())
    bottom = slope > 0.15
    expected = HEIGHT_M / slope[bottom]
    middle = depth[bottom, depth.shape[1] // 2]
    np.testing.assert_allclose(middle, expected, rtol=1e-4)


def test_obstacles_are_in_front_of_the_ground() -> None:
    depth, _ = ground_truth(braking_street().render(0))
    slope = row_slopes(braking_street())
    below = slope > 0.02
    plane = HEIGHT_M / slope[below][:, None]
    assert np.all(depth[below] <= plane * 1.0001)
    ground_ratio = np.mean(np.isclose(depth[below], plane, rtol=1e-3))
    assert 0.3 < ground_ratio < 0.99


def test_one_meter_forward_is_one_meter_less_depth() -> None:
    street = braking_street()
    K = street.intrinsics.K
    before, after = street.render(0), street.render(1)
    one_meter = np.eye(4)
    one_meter[2, 3] = 1.0
    assert ground_truth_motion(before, after) == pytest.approx(one_meter)
    point = np.array([0.0, HEIGHT_M, 9.0])
    for item, expected in ((before, 9.0), (after, 8.0)):
        depth, pose = ground_truth(item)
        projected = K @ (point - pose[:3, 3])
        col, row = np.round(projected[:2] / projected[2]).astype(int)
        exact = HEIGHT_M / row_slopes(street)[row]
        assert depth[row, col] == pytest.approx(exact, rel=1e-4)
        assert depth[row, col] == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("name", ["city", "motorway", "straight"])
def test_next_frame_warps_to_this_frame(name: str) -> None:
    street = braking_street() if name == "straight" else shared_street(name)
    index = 0 if name == "straight" else 10
    target, source = street.render(index), street.render(index + 1)
    T = ground_truth_motion(source, target)
    exact = photometric_error(target, source, T)
    assert exact < 0.6 * photometric_error(target, source, np.eye(4))
    assert exact < 0.6 * photometric_error(target, source, np.linalg.inv(T))


def test_left_turn_shows_what_was_on_the_left() -> None:
    """The last two frames of the braking camera differ by a turn of 5 degrees only."""
    street = braking_street()
    first, second = (street.render(len(street) - i).frame.rgb.astype(float) for i in (2, 1))
    shift = int(round(FX * np.tan(np.deg2rad(5.0))))
    rows, strip = slice(56, 72), slice(190, 230)
    moved = np.abs(first[rows, strip] - np.roll(second, -shift, axis=1)[rows, strip]).mean()
    opposite = np.abs(first[rows, strip] - np.roll(second, shift, axis=1)[rows, strip]).mean()
    assert moved < 0.6 * opposite


def test_same_seed_renders_same_frames_in_any_order() -> None:
    again = SyntheticStreet(street_config("city", 1))
    late = again.render(3)
    again.render(1)
    in_sequence = [item for item, _ in zip(shared_street(), range(4), strict=False)][3]
    for item in (late, again.render(3)):
        np.testing.assert_array_equal(item.frame.rgb, in_sequence.frame.rgb)
        for mine, other in zip(ground_truth(item), ground_truth(in_sequence), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_other_seed_gives_other_world() -> None:
    one, other = shared_street(seed=1), shared_street(seed=6)
    a, b = one.render(10), other.render(10)
    assert np.abs(a.frame.rgb.astype(float) - b.frame.rgb).mean() > 10.0
    assert other.intrinsics.fx != one.intrinsics.fx
    assert not np.allclose(other.poses, one.poses)


@pytest.mark.parametrize("kind", ["city", "motorway"])
def test_frames_are_complete(kind: str) -> None:
    street = shared_street(kind)
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


@pytest.mark.parametrize(("kind", "low", "high"), [("city", 0.5, 15.5), ("motorway", 19.0, 34.0)])
def test_motion_is_that_of_a_vehicle(kind: str, low: float, high: float) -> None:
    """Rigid, forward, with limited speed and acceleration."""
    street = shared_street(kind)
    R = street.poses[:, :3, :3]
    np.testing.assert_allclose(R @ R.transpose(0, 2, 1), np.tile(np.eye(3), (len(R), 1, 1)),
                               atol=1e-12)  # fmt: skip
    np.testing.assert_allclose(np.linalg.det(R), 1.0, atol=1e-12)
    world_steps = np.diff(street.poses[:, :3, 3], axis=0)
    steps = np.einsum("nij,nj->ni", R[:-1].transpose(0, 2, 1), world_steps)
    speed = np.linalg.norm(steps, axis=1) * street.fps
    assert low < speed.min() and speed.max() < high
    assert np.all(steps[:, 2] > 0.97 * np.linalg.norm(steps, axis=1))
    assert np.abs(np.diff(speed)).max() * street.fps < 8.0


def test_traffic_fills_lanes_but_not_the_camera_path() -> None:
    covered = []
    for seed in (1, 6, 14):
        busy, empty = (shared_street(kind, seed) for kind in ("traffic", "city"))
        assert busy.name == f"synthetic-traffic-{seed}"
        np.testing.assert_array_equal(busy.poses, empty.poses)
        road_ratios = [ground_mask(street, 27).mean() for street in (busy, empty)]
        covered.append(road_ratios[1] - road_ratios[0])
        for index in (0, 14, 27):
            depth, _ = ground_truth(busy.render(index))
            assert depth[depth > 0].min() > 0.5
    # Vehicles hide the road; how many there are is drawn from the seed.
    assert min(covered) > 0 and sum(covered) > 0.1


def test_truck_ahead_comes_nearer() -> None:
    street = shared_street("traffic", seed=6)
    target, source = street.render(20), street.render(21)
    unmoved = photometric_error(target, source, np.eye(4))
    T = ground_truth_motion(source, target)
    assert photometric_error(target, source, T) < 0.6 * unmoved


def test_given_focal_length_and_height_are_kept() -> None:
    camera = braking_street().intrinsics
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (FX, FX, 207.5, 63.5)
    assert braking_street().camera_height_m == HEIGHT_M


@pytest.mark.parametrize("pitch_deg", [-7.0, 3.0])
def test_given_pitch_is_that_of_the_camera_and_moves_the_horizon(pitch_deg: float) -> None:
    street = SharedStreet(
        SyntheticConfig(seed=3, frames=3, fx=FX, camera_height_m=HEIGHT_M, pitch_deg=pitch_deg)
    )
    forward = street.poses[:, 1, 2]  # y of the optical axis; y points down
    np.testing.assert_allclose(np.rad2deg(np.arcsin(-forward)), pitch_deg, atol=0.6)
    depth = ground_truth(street.render(1))[0]
    rows = np.arange(128)[:, None] - street.intrinsics.cy
    below = rows - FX * np.tan(np.deg2rad(pitch_deg))  # the horizon
    on_road = (below > 30) & (depth > 0)
    assert np.median((depth * below / FX)[on_road]) == pytest.approx(HEIGHT_M, rel=0.1)


def test_cameras_on_a_circle() -> None:
    turn = np.linspace(0.0, 2 * np.pi, 60, endpoint=False)
    poses = np.tile(np.eye(4), (60, 1, 1))
    for i, angle in enumerate(turn):
        poses[i, :3, :3] = yaw_left(np.rad2deg(angle))
        poses[i, :3, 3] = 20.0 * np.array([np.cos(angle) - 1.0, 0.0, np.sin(angle)])
    config = SyntheticConfig(seed=9, fx=FX, kind="city")
    street = SharedStreet(config, T_world_camera=poses)
    for index in (0, 40):
        target, source = street.render(index), street.render(index + 1)
        above = ground_truth(target)[0][:64]
        assert above[above > 0].min() > 0.8
        unmoved = photometric_error(target, source, np.eye(4))
        T = ground_truth_motion(source, target)
        assert photometric_error(target, source, T) < unmoved


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"kind": "village"}, "village"),
        ({"width": 4}, "4x128"),
        ({"frames": 0}, "frames=0"),
        ({"fx": -1.0}, "-1.0"),
        ({"camera_height_m": 0.0}, "camera_height_m"),
        ({"pitch_deg": 31.0}, "pitch_deg"),
    ],
)
def test_wrong_config_names_the_field(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        SyntheticConfig(**fields)


def test_bad_poses_are_refused() -> None:
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, 2, 3] = 1.0
    scaled, sunk = poses.copy(), poses.copy()
    scaled[1, :3, :3] *= 1.1
    sunk[:, 1, 3] = 3.0
    with pytest.raises(ConfigError, match="not rigid"):
        SyntheticStreet(SyntheticConfig(), T_world_camera=scaled)
    with pytest.raises(ConfigError, match="above the road"):
        SyntheticStreet(SyntheticConfig(camera_height_m=HEIGHT_M), T_world_camera=sunk)


def test_missing_frame_is_an_index_error() -> None:
    with pytest.raises(IndexError, match=f"{FRAMES} of {FRAMES}"):
        shared_street().render(FRAMES)
