"""Motion of a model over a sequence: engines with known motion, baselines of KITTI."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from corridor import SMALL_CAMERA, draw

from sfm_ros.datatypes import CameraIntrinsics, Frame
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.evaluation.trajectory.network_motion import (
    HYBRID,
    MEAN,
    NETWORKS,
    STRAIGHT,
    MotionRun,
    correlation,
    run_motion,
    score_motion,
)
from sfm_ros.formats.trajectory_files import read_trajectory
from sfm_ros.geometry import make_transform, so3_exp
from sfm_ros.source import SourceItem
from sfm_ros.sources.kitti.source import open_kitti

CAMERA = CameraIntrinsics(width=128, height=64, fx=74.0, fy=74.0, cx=63.5, cy=31.5)
FRAMES = 12


def increment(index: int) -> np.ndarray:
    """T_{index-1}_{index}: forward at a varying speed, swaying."""
    turn = so3_exp(np.array([0.0, 0.02 * np.sin(0.9 * index), 0.0]))
    return make_transform(turn, np.array([0.0, 0.0, 0.8 + 0.3 * np.cos(index)]))


def frames(period_ns: int = 100_000_000) -> list[SourceItem]:
    # Images without features: nothing is tracked.
    rgb = np.zeros((64, 128, 3), dtype=np.uint8)
    items, pose = [], np.eye(4)
    for index in range(FRAMES):
        pose = pose @ increment(index) if index else pose
        frame = Frame(stamp_ns=index * period_ns, rgb=rgb, intrinsics=CAMERA)
        items.append(SourceItem(frame=frame, T_world_camera=pose))
    return items


def ground_truth_engine(length: int, factor: float = 1.0) -> FakeEngine:
    """Predicts the ground-truth motion, in its own unit."""

    def motion(window) -> np.ndarray:
        indices = [stamp // 100_000_000 for stamp in window.stamps_ns]
        motions = np.stack([increment(index) for index in indices[1:]])
        motions[:, :3, 3] *= factor
        return motions

    return FakeEngine(fake_spec(width=128, height=64, sequence_length=length), motion=motion)


@cache
def street() -> list[SourceItem]:
    """The same motion between walls that can be tracked."""
    poses = [item.T_world_camera for item in frames()]
    camera = SMALL_CAMERA
    return [
        SourceItem(
            frame=Frame(
                stamp_ns=index * 100_000_000, rgb=draw(pose, camera, seed=index), intrinsics=camera
            ),
            T_world_camera=pose,
        )
        for index, pose in enumerate(poses)
        if pose is not None
    ]


@pytest.mark.parametrize("length", [2, 3, 5])
def test_perfect_model_has_no_error(length: int) -> None:
    run = run_motion(ground_truth_engine(length, factor=0.2), street())
    assert len(run.networks) == len(run.hybrid) == FRAMES and run.held == 0
    # The frames before the first full window have poses as well.
    first = make_transform(increment(1)[:3, :3], 0.2 * increment(1)[:3, 3])
    assert np.allclose(run.networks.poses[1], first)
    scores = score_motion(run, "7dof")
    metrics = scores[NETWORKS].metrics
    assert metrics.snippet_ates[5].mean < 1e-6 and metrics.snippet_res[3].mean < 1e-6
    assert metrics.ate_rmse_m is not None and metrics.ate_rmse_m < 1e-6
    assert scores[NETWORKS].yaw_correlation == pytest.approx(1.0)
    assert scores[NETWORKS].length_correlation == pytest.approx(1.0)
    # The tracks give the same path, up to their noise.
    hybrid = scores[HYBRID]
    assert hybrid.metrics.ate_rmse_m is not None and hybrid.metrics.ate_rmse_m < 0.4
    # Within the first window its motion is taken to be even.
    assert hybrid.metrics.snippet_res[3].mean < (0.005 if length == 5 else 0.002)
    assert hybrid.yaw_correlation is not None and hybrid.yaw_correlation > (
        0.8 if length == 5 else 0.98
    )
    # Less than 100 m: KITTI drift is not applicable.
    assert scores[NETWORKS].metrics.t_err_percent is None
    assert scores[STRAIGHT].metrics.snippet_ates[5].mean > 0.01
    assert scores[MEAN].metrics.snippet_res[5].mean > 0.001


def test_constant_motion_has_no_correlation() -> None:
    constant = FakeEngine(fake_spec(width=128, height=64), motion=increment(3))
    score = score_motion(run_motion(constant, frames()), "7dof")[NETWORKS]
    assert score.yaw_correlation is None and score.length_correlation is None


def test_held_poses_are_counted() -> None:
    wild = make_transform(np.eye(3), np.array([0.0, 0.0, 1e4]))
    run = run_motion(FakeEngine(fake_spec(width=128, height=64), motion=wild), frames())
    assert run.held == FRAMES - 2
    assert np.array_equal(run.hybrid.positions, np.zeros((FRAMES, 3)))


def test_unusable_inputs_are_refused() -> None:
    engine = ground_truth_engine(3)
    without_poses = [SourceItem(frame=item.frame) for item in frames()]
    with pytest.raises(SourceError, match="frame 0 has no ground-truth pose"):
        run_motion(engine, without_poses)
    with pytest.raises(SourceError, match="2 frames are fewer than the 3 of a window"):
        run_motion(engine, frames()[:2])
    with pytest.raises(SourceError, match=r"frame 6 does not follow .* \(gap"):
        run_motion(engine, frames()[:6] + frames(period_ns=200_000_000)[6:])
    with pytest.raises(TrajectoryError, match="3 values cannot be paired with 2"):
        correlation(np.zeros(3), np.zeros(2))
    assert correlation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None


def test_baselines_of_kitti_03_frames_300_to_400(shared_data: Path) -> None:
    ground_truth = read_trajectory(shared_data / "kitti_odom03_head" / "poses.txt").select(
        np.arange(300, 401)
    )
    scores = score_motion(
        MotionRun(networks=ground_truth, hybrid=ground_truth, ground_truth=ground_truth, held=0),
        "7dof",
    )
    line = scores[STRAIGHT].metrics.snippet_ates
    assert (str(line[5]), str(line[3])) == ("0.0214 ± 0.0125", "0.0124 ± 0.0073")
    assert scores[NETWORKS].metrics.snippet_ates[5].mean < 1e-6


def test_part_of_a_sequence(shared_data: Path) -> None:
    whole = open_kitti(shared_data / "kitti_odom03_head")
    part = whole.between(300, 302)
    poses = read_trajectory(shared_data / "kitti_odom03_head" / "poses.txt").poses
    items = list(part)
    assert len(whole) == 401 and len(part) == len(items) == 3
    assert np.array_equal(items[1].T_world_camera, poses[301])
    assert items[0].frame.stamp_ns == 30_000_000_000 and "frames 300 to 302" in part.name
    for first, last in ((-1, 3), (5, 4), (399, 401)):
        with pytest.raises(SourceError, match="has 0 to 400"):
            whole.between(first, last)
