"""Scores of a run against the ground truth, with values known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_bags import pose, stamp

from sfm_ros.datatypes import FloatArray
from sfm_ros.evaluation.depth.metrics import depth_errors
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.result import OFFLINE, DepthSnapshot, RunResult, StatusTimeline
from sfm_ros.evaluation.runs.scoring import (
    compare_runs,
    depth_figures,
    metrics_as_json,
    path_figures,
    score_depth,
    score_path,
)
from sfm_ros.formats.trajectory import Trajectory

FRAMES = 12
GROUND_TRUTH_STEP_M, STEP = 1.4, 0.7


def poses(step_m: float, frames: int = FRAMES) -> FloatArray:
    return np.stack([pose(index, step_m) for index in range(frames)])


def trajectory(step_m: float, frames: int = FRAMES) -> Trajectory:
    return Trajectory(np.array([stamp(i) for i in range(frames)]), poses(step_m, frames))


GROUND_TRUTH = GroundTruthTrajectory(trajectory=trajectory(GROUND_TRUTH_STEP_M), name="poses")


def test_path_of_half_the_size_has_scale_two_and_no_error() -> None:
    scored = score_path(trajectory(STEP), GROUND_TRUTH)
    assert scored.score is not None and scored.problem is None
    figures = path_figures(trajectory(STEP), scored)
    assert figures["ate_m"] == pytest.approx(0.0, abs=1e-9)
    assert figures["sim3_scale"] == pytest.approx(2.0)
    assert figures["path_length_m"] == pytest.approx(GROUND_TRUTH_STEP_M * (FRAMES - 1))
    assert figures["estimated_path_length"] == pytest.approx(STEP * (FRAMES - 1))
    assert figures["ate_without_scale_m"] > 1.0
    assert figures["t_err_percent"] is None, "the path is shorter than 100 m"
    assert scored.distance_m[[0, -1]] == pytest.approx([0.0, figures["path_length_m"]])
    assert scored.aligned_errors_m == pytest.approx(np.zeros(FRAMES), abs=1e-9)
    # As published the path has half of the length, and its errors grow to half of it.
    half = np.linalg.norm(poses(STEP)[-1, :3, 3] - poses(STEP)[0, :3, 3])
    assert scored.errors_m[-1] == pytest.approx(half)
    assert figures["scale_error_percent"] == pytest.approx(-50)
    assert scored.errors_deg == pytest.approx(np.zeros(FRAMES), abs=1e-5)
    assert scored.ground_truth_trajectory == pytest.approx(scored.aligned, abs=1e-9)
    assert scored.ground_truth_trajectory == pytest.approx(2 * scored.path, abs=1e-9)


@pytest.mark.parametrize(
    ("estimate", "ground_truth", "problem"),
    [
        (None, GROUND_TRUTH, "no odometry"),
        (trajectory(STEP), GroundTruthTrajectory(trajectory=None, problem="not given"), "not gi"),
        (trajectory(STEP), GroundTruthTrajectory(trajectory=None), "no ground-truth trajectory"),
        (trajectory(STEP, 4), GROUND_TRUTH, "only 4 poses can be compared, expected at least 5"),
        (trajectory(STEP, 1), GROUND_TRUTH, "1 pose, expected at least 2"),
    ],
)
def test_problem_is_reported(
    estimate: Trajectory | None, ground_truth: GroundTruthTrajectory, problem: str
) -> None:
    scored = score_path(estimate, ground_truth)
    assert scored.score is None and scored.others == {}
    assert scored.problem is not None and problem in scored.problem
    assert len(scored.path) == (0 if estimate is None else len(estimate))
    assert list(path_figures(estimate, scored)) == ["estimated_path_length"]


def snapshot(factor: float) -> DepthSnapshot:
    """Depth whose ground truth is ``factor`` times as large."""
    depth = np.full((4, 6), 10.0, np.float32)
    ground_truth = depth * np.float32(factor)
    return DepthSnapshot(
        stamp_ns=0,
        depth=depth,
        scaled=depth_errors(depth, ground_truth, "median"),
        unscaled=depth_errors(depth, ground_truth, "none"),
    )


def test_depth_is_scored_scaled_and_unscaled() -> None:
    unknown = DepthSnapshot(stamp_ns=0, depth=np.ones((4, 6), np.float32))
    snapshots = (snapshot(1.0), unknown, snapshot(2.0))
    figures = depth_figures(snapshots)
    assert figures["depth_frames"] == 2
    assert figures["depth_abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert figures["depth_abs_rel_unscaled"] == pytest.approx((0.0 + 0.5) / 2)
    assert figures["depth_scale_median"] == pytest.approx(1.5)
    assert score_depth((unknown,)) is None and depth_figures((unknown,)) == {}


def result() -> RunResult:
    timeline = StatusTimeline()
    for index, status in enumerate(["initializing"] * 2 + ["tracking"] * 9 + ["lost"]):
        timeline.add(stamp(index), status)
    timeline.add(stamp(FRAMES), "tracking")
    return RunResult(
        mode=OFFLINE,
        frames=FRAMES + 1,
        frames_to_start=2,
        estimate=trajectory(STEP),
        intervals=timeline.intervals,
        image_stamps_ns=np.array([stamp(i) for i in range(FRAMES + 1)]),
        frames_per_second=10.0,
    )


def test_metrics_do_not_depend_on_time() -> None:
    scored = score_path(trajectory(STEP), GROUND_TRUTH)
    metrics = metrics_as_json(result(), scored, GROUND_TRUTH)
    assert metrics["health_frames"] == {"initializing": 2, "tracking": 10, "lost": 1}
    assert metrics["odometry_ground_truth"] == "poses"
    assert metrics["odometry"]["ate_m"] == pytest.approx(0.0, abs=1e-9)
    assert set(metrics["odometry_other_alignments"]) == {"6dof", "origin_scale", "origin"}
    assert (metrics["depth_frames"], metrics["depth_unscaled"]) == (0, None)
    slower = replace(result(), frames_per_second=1.0)
    assert metrics_as_json(slower, scored, GROUND_TRUTH) == metrics


def test_runs_are_compared_at_common_stamps() -> None:
    first, moved = trajectory(STEP), poses(STEP, FRAMES - 2)
    moved[3, 1, 3] += 0.25
    found = compare_runs(first, Trajectory(first.stamps_ns[:-2], moved))
    assert found is not None and (found["poses"], found["poses_of_only_one"]) == (FRAMES - 2, 2)
    assert found["largest_difference"] == pytest.approx(0.25)
    assert found["largest_difference_deg"] == pytest.approx(0.0, abs=1e-5)
    later = Trajectory(first.stamps_ns + 1, first.poses)
    assert compare_runs(first, later) is None and compare_runs(first, None) is None
