"""The metrics against published figures of published trajectories, and against hand-made ones."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.trajectory.alignment import align, align_trajectories, umeyama
from sfm_ros.evaluation.trajectory.association import pair_by_index, pair_by_stamp
from sfm_ros.evaluation.trajectory.metrics import (
    baseline_pairs,
    evaluate_odometry,
    evaluate_pairs,
    path_length,
)
from sfm_ros.evaluation.trajectory.segments import segment_errors
from sfm_ros.evaluation.trajectory.snippets import (
    mean_motion,
    snippet_ate,
    snippet_re,
    straight_line,
)
from sfm_ros.formats.trajectory import Trajectory, associate
from sfm_ros.formats.trajectory_files import read_trajectory
from sfm_ros.geometry import make_transform, se3_exp, so3_exp


def _trajectory(poses):
    return Trajectory(np.arange(len(poses)) * 100_000_000, poses)


def _curve(count=40, seed=0):
    random = np.random.default_rng(seed)
    poses = [np.eye(4)]
    for _ in range(count - 1):
        poses.append(poses[-1] @ se3_exp([*random.normal([0, 0, 1], 0.2), 0, random.normal(), 0]))
    return np.stack(poses)


def _sequence_09(shared_data, name):
    folder = shared_data / "oracle_odometry"
    estimate, ground_truth = (read_trajectory(folder / f"{n}.txt") for n in (name, "gt_09"))
    in_estimate, in_ground_truth = associate(estimate, ground_truth)
    return estimate.poses[in_estimate], ground_truth.poses[in_ground_truth]


def _assert_rounds_to(result, mean, std):
    assert (round(result.mean, 4), round(result.std, 4)) == (mean, std)


def test_snippets_of_sequence_09(shared_data):
    _assert_rounds_to(snippet_ate(*_sequence_09(shared_data, "example_0_09")), 0.1087, 0.1240)
    example_1, ground_truth = _sequence_09(shared_data, "example_1_09")
    _assert_rounds_to(snippet_ate(example_1, ground_truth), 0.0142, 0.0077)
    baseline = snippet_ate(straight_line(len(ground_truth)), ground_truth)
    _assert_rounds_to(baseline, 0.0419, 0.0223)
    assert baseline.count == len(ground_truth) - 4 and str(baseline) == "0.0419 ± 0.0223"
    _assert_rounds_to(snippet_ate(mean_motion(ground_truth), ground_truth), 0.0324, 0.0258)


@pytest.mark.parametrize(
    ("frames", "first", "mean", "std"),
    [(5, 300, 0.0214, 0.0125), (3, 300, 0.0124, 0.0073)],
)
def test_straight_line_on_the_end_of_sequence_03(shared_data, frames, first, mean, std):
    sequence = shared_data / "kitti_odom03_head"
    ground_truth = read_trajectory(sequence / "poses.txt").poses[first:401]
    _assert_rounds_to(
        snippet_ate(straight_line(len(ground_truth)), ground_truth, frames), mean, std
    )


def test_snippets_equal_sfmlearner(shared_data):
    """All 1587 files: positions of five frames in the first camera, to 1e-4 m."""
    ground_truth = read_trajectory(shared_data / "oracle_odometry" / "gt_09.txt").poses
    with zipfile.ZipFile(
        shared_data / "oracle_odometry" / "sfmlearner_snippets_09.zip"
    ) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".txt"))
        words = [archive.read(name).split() for name in names]
    theirs = np.array(words, dtype=np.float64).reshape(len(names), 5, 8)
    assert len(theirs) == len(ground_truth) - 4
    inverse = np.linalg.inv(ground_truth[: len(theirs)])
    for frame in range(5):
        ours = inverse @ ground_truth[frame : frame + len(theirs)]
        np.testing.assert_allclose(ours[:, :3, 3], theirs[:, frame, 1:4], atol=1e-4)


def test_snippet_ate_by_hand():
    """Ground truth one meter ahead, then one to the right; the scale of the line is 3/5."""
    ground_truth = np.tile(np.eye(4), (3, 1, 1))
    ground_truth[1, :3, 3] = [0, 0, 1]
    ground_truth[2, :3, 3] = [1, 0, 1]
    scale = (1 * 1 + 1 * 2) / (1 + 4)
    residual = (1 - scale) ** 2 + 1 + (1 - 2 * scale) ** 2
    result = snippet_ate(straight_line(3), ground_truth, frames=3)
    assert result.mean == pytest.approx(np.sqrt(residual) / 3) and result.std == 0


def test_snippets_of_a_static_camera_are_finite():
    still = np.tile(np.eye(4), (6, 1, 1))
    assert snippet_ate(still, still).mean == 0
    assert snippet_ate(still, straight_line(6)).mean == pytest.approx(np.sqrt(30) / 5)
    with pytest.raises(TrajectoryError, match="4 poses.*5 frames"):
        snippet_ate(still[:4], still[:4])


def test_perfect_estimate_has_no_error():
    ground_truth = _trajectory(_curve(300))
    metrics = evaluate_odometry(ground_truth, ground_truth, "none")
    assert metrics.ate_rmse_m == 0 and metrics.t_err_percent == pytest.approx(0, abs=1e-9)
    assert metrics.rpe_trans_m == pytest.approx(0, abs=1e-9)
    assert metrics.scale == 1.0 and metrics.pair_count == 300


def test_straight_path_with_scale_error():
    """Every metric by hand: 200 m in steps of one meter, the estimate 10 % too long."""
    ground_truth = straight_line(201)
    estimate = np.array(ground_truth)
    estimate[:, 2, 3] *= 1.1
    metrics = evaluate_odometry(_trajectory(estimate), _trajectory(ground_truth), "none")
    assert metrics.path_length_m == pytest.approx(200)
    # A segment ends at the first pose *beyond* its length: 101 m for 100 m.
    assert metrics.segments[100][0] == pytest.approx(10.1)
    assert metrics.segments.keys() == {100}
    assert metrics.r_err_deg_per_100m == pytest.approx(0)
    assert metrics.rpe_trans_m == pytest.approx(0.1)
    assert metrics.ate_rmse_m == pytest.approx(np.sqrt(np.mean((0.1 * np.arange(201)) ** 2)))
    scaled = evaluate_odometry(_trajectory(estimate), _trajectory(ground_truth), "scale")
    assert scaled.scale == pytest.approx(1 / 1.1) and scaled.ate_rmse_m < 1e-9


def test_constant_rotation_error():
    ground_truth = straight_line(150)
    step = make_transform(so3_exp([0, np.deg2rad(0.1), 0]), [0, 0, 1.0])
    poses = [np.eye(4)]
    for _ in range(149):
        poses.append(poses[-1] @ step)
    metrics = evaluate_odometry(_trajectory(np.stack(poses)), _trajectory(ground_truth), "none")
    assert metrics.rpe_rot_deg == pytest.approx(0.1, rel=1e-4)
    assert metrics.r_err_deg_per_100m == pytest.approx(10.1, rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=6, max_size=6), st.floats(0.01, 100))
def test_umeyama_finds_any_similarity(twist, scale):
    T = se3_exp(twist)
    points = np.random.default_rng(0).normal(size=(20, 3))
    found_scale, R, t = umeyama(points, scale * points @ T[:3, :3].T + T[:3, 3], True)
    assert found_scale == pytest.approx(scale)
    np.testing.assert_allclose(R, T[:3, :3], atol=1e-8)
    np.testing.assert_allclose(t, T[:3, 3], atol=1e-6)


def test_umeyama_never_mirrors():
    points = np.random.default_rng(0).normal(size=(20, 3))
    _, R, _ = umeyama(points, points * [1, 1, -1], True)
    assert np.linalg.det(R) == pytest.approx(1)


@pytest.mark.parametrize(
    ("alignment", "removes_scale"),
    [("se3", False), ("6dof", False), ("sim3", True), ("7dof", True)],
)
def test_alignment_removes_its_degrees_of_freedom(alignment, removes_scale):
    ground_truth = _curve()
    moved = np.array(ground_truth)
    moved[:, :3, 3] *= 0.5
    moved = se3_exp([5, -3, 2, 0.4, 1.0, -0.2]) @ moved
    aligned, scale = align(moved, ground_truth, alignment)
    matches = np.allclose(aligned, ground_truth, atol=1e-8)
    assert matches == removes_scale
    assert scale == pytest.approx(2.0 if removes_scale else 1.0)


def test_one_and_two_poses():
    one = _trajectory(np.eye(4)[None])
    with pytest.raises(TrajectoryError, match="1 pose, expected at least 2"):
        evaluate_odometry(one, one, "sim3")
    two = _trajectory(_curve(2))
    metrics = evaluate_odometry(two, two, "7dof")
    assert metrics.ate_rmse_m is None  # a similarity aligns any two points with any other two
    assert metrics.snippet_ates == {} and metrics.t_err_percent is None
    assert evaluate_odometry(two, two, "none").ate_rmse_m == 0


def test_static_estimate_is_wrong_by_the_whole_path():
    still = np.tile(np.eye(4), (150, 1, 1))
    lost = evaluate_odometry(_trajectory(still), _trajectory(straight_line(150)), "sim3")
    assert np.isfinite(lost.ate_rmse_m) and lost.t_err_percent == pytest.approx(101)


def test_segments_start_at_every_tenth_frame_despite_missing_ones():
    ground_truth = straight_line(121)
    estimate = np.array(ground_truth)
    estimate[11:, 2, 3] += 5.0  # affects only segments that start before frame 11
    incomplete = Trajectory(np.arange(3, 121) * 100_000_000, estimate[3:])
    metrics = evaluate_odometry(incomplete, _trajectory(ground_truth), "none")
    # Starts at frames 10 (5 m off) only: 0 is missing and 20 has no 100 m ahead.
    assert metrics.t_err_percent == pytest.approx(5.0)


def test_unknown_alignment_is_refused():
    with pytest.raises(TrajectoryError, match="'sim4'.*sim3"):
        align(_curve(), _curve(), "sim4")


def test_path_length_and_segments_of_a_short_path():
    assert path_length(straight_line(5)) == 4
    assert segment_errors(straight_line(100), straight_line(100)) == []


def test_snippet_re_by_hand():
    """A yaw error that grows by 0.1 rad per frame: angles 0, 0.1, 0.2 in each snippet of three."""
    ground_truth = straight_line(6)
    poses = np.array(ground_truth)
    poses[:, :3, :3] = [so3_exp([0, 0.1 * index, 0]) for index in range(6)]
    result = snippet_re(poses, ground_truth, frames=3)
    assert (result.mean, result.count) == (pytest.approx(0.1), 4)
    assert result.std == pytest.approx(0, abs=1e-12)
    assert snippet_re(ground_truth, ground_truth, frames=5).mean == 0


def test_world_frames_of_none_and_se3():
    """The same motion in another world frame: an error only if the frames are kept."""
    ground_truth = _curve()
    moved = se3_exp([5, -3, 2, 0.4, 1.0, -0.2]) @ ground_truth
    errors = {
        name: np.abs(aligned.poses - aligned.ground_truth).max()
        for name in ("none", "scale", "se3", "origin", "origin_scale", "6dof")
        for aligned in [align_trajectories(moved, ground_truth, name)]
    }
    assert min(errors["none"], errors["scale"]) > 1
    assert max(errors[name] for name in ("se3", "origin", "origin_scale", "6dof")) < 1e-9


def test_origin_scale_minimizes_the_error_without_moving_the_start():
    ground_truth, poses = _curve(seed=1), _curve(seed=2)
    best = align_trajectories(poses, ground_truth, "origin_scale")
    assert not best.poses[0, :3, 3].any()

    def error(scale: float) -> float:
        return float(np.sum((ground_truth[:, :3, 3] - scale * poses[:, :3, 3]) ** 2))

    assert error(best.scale) < min(error(best.scale * 1.01), error(best.scale * 0.99))
    assert (
        align_trajectories(poses, ground_truth, "scale").scale
        == align_trajectories(poses, ground_truth, "sim3").scale
    )


def test_baselines_start_at_the_first_ground_truth_pose():
    ground_truth = _curve(60)
    world = se3_exp([5, -3, 2, 0.4, 1.0, -0.2])
    pairs = pair_by_index(_trajectory(ground_truth), _trajectory(world @ ground_truth))
    baselines = baseline_pairs(pairs)
    np.testing.assert_allclose(
        baselines["straight_line"].estimate[0], world @ ground_truth[0], atol=1e-12
    )
    assert path_length(baselines["straight_line"].estimate) == pytest.approx(
        path_length(ground_truth)
    )
    ahead = np.linalg.inv(baselines["mean_motion"].estimate[0]) @ baselines["mean_motion"].estimate
    np.testing.assert_allclose(ahead[:, :3, :3], np.tile(np.eye(3), (60, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.diff(ahead[:, :3, 3], n=2, axis=0), 0, atol=1e-12)
    sideways = baseline_pairs(pairs, forward=(1.0, 0.0, 0.0))["straight_line"].estimate
    assert (np.linalg.inv(sideways[0]) @ sideways[1])[0, 3] > 0.5


def test_baseline_moves_on_during_missing_frames():
    ground_truth = _trajectory(straight_line(30))
    kept = np.array([0, 1, 2, 10, 11, 12, *range(15, 30)])
    pairs = pair_by_index(ground_truth.select(kept), ground_truth, estimate_frames=kept)
    baseline = evaluate_pairs(baseline_pairs(pairs)["straight_line"], "none")
    assert baseline.ate_rmse_m == pytest.approx(0, abs=1e-12)
    assert pairs.snippet_starts(3).tolist() == [0, 3, *range(6, 19)]


def test_snippets_of_sparse_keyframes():
    """If the ground truth has a much higher rate than the estimate, no frame counts as missing."""
    ground_truth = _trajectory(_curve(200))
    pairs = pair_by_stamp(ground_truth.select(np.arange(0, 200, 17)), ground_truth)
    assert not pairs.is_frame_by_frame and len(pairs.snippet_starts(5)) == 12 - 4
    assert pairs.segment_starts() is None
