"""From a recording and what is known of the truth to the figures of a summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from sfm_ros.datatypes import DepthMap, FloatArray
from sfm_ros.errors import TrajectoryError
from sfm_ros.evaluation.alignment import align
from sfm_ros.evaluation.bag_writer import Truth
from sfm_ros.evaluation.depth_metrics import depth_errors, evaluate_depth
from sfm_ros.evaluation.odometry_metrics import (
    evaluate_odometry,
    path_length,
    snippet_ate,
    straight_line,
)
from sfm_ros.evaluation.recording import DepthRecord, Recording
from sfm_ros.evaluation.report import SUMMARY_KEYS
from sfm_ros.trajectory import Trajectory, associate

SNIPPET_FRAMES = 5
MIN_POSES = SNIPPET_FRAMES


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AlignedPath:
    """Positions for the picture: (N, 3), optical axes of the first frame that has an estimate.

    ``truth`` is None where it is unknown; else the estimate is laid over it by a similarity.
    """

    estimate: FloatArray
    truth: FloatArray | None


def delivery_figures(recording: Recording, played: int, frames_to_start: int) -> dict[str, Any]:
    """What was played, what came back, how fast and how late.

    Args:
        recording: of the run.
        played: pictures that went in.
        frames_to_start: pictures at the start for which no odometry can come, because the window
            of the pose network is not full: its length - 1.
    """
    received = len(np.unique(recording.stamps_ns))
    latencies = recording.latencies_ms()
    seconds = float(np.ptp(recording.received_ns)) * 1e-9 if received > 1 else 0.0
    return {
        "frames": played,
        "frames_lost": max(played - min(frames_to_start, played) - received, 0),
        "frames_per_second": (received - 1) / seconds if seconds > 0 else None,
        "latency_p50_ms": float(np.percentile(latencies, 50)) if latencies.size else None,
        "latency_p99_ms": float(np.percentile(latencies, 99)) if latencies.size else None,
    }


def trajectory_of(recording: Recording) -> Trajectory | None:
    """The estimated poses in order of time, or None where no odometry came."""
    if not len(recording.stamps_ns):
        return None
    stamps, first = np.unique(recording.stamps_ns, return_index=True)
    return Trajectory(stamps, recording.T_odom_camera[first])


def odometry_figures(estimate: Trajectory | None, truth: Truth | None) -> dict[str, Any]:
    """Trajectory errors; empty where there is no truth or too little to compare."""
    pairs = _pairs(estimate, truth)
    if pairs is None:
        return {}
    mine, true = pairs
    whole = evaluate_odometry(mine, true, alignment="sim3")
    snippets = snippet_ate(mine.poses, true.poses, SNIPPET_FRAMES)
    floor = snippet_ate(straight_line(len(true)), true.poses, SNIPPET_FRAMES)
    length = whole.path_length_m
    return {
        "path_length_m": length,
        "ate_m": whole.ate_rmse_m,
        "ate_percent_of_path": 100 * whole.ate_rmse_m / length if length > 0 else None,
        "sim3_scale": whole.scale,
        "relative_pose_error_deg": whole.rpe_rot_deg,
        "snippet_ate_mean": snippets.mean,
        "snippet_ate_std": snippets.std,
        "straight_line_ate_mean": floor.mean,
        "straight_line_ate_std": floor.std,
    }


def aligned_path(estimate: Trajectory | None, truth: Truth | None) -> AlignedPath:
    """The path for the picture."""
    if estimate is None:
        return AlignedPath(estimate=np.zeros((0, 3)), truth=None)
    pairs = _pairs(estimate, truth)
    if pairs is None:
        return AlignedPath(estimate=estimate.positions, truth=None)
    mine, true = pairs[0].rebased(), pairs[1].rebased()
    poses, _ = align(mine.poses, true.poses, "sim3")
    return AlignedPath(estimate=poses[:, :3, 3], truth=true.positions)


def _pairs(
    estimate: Trajectory | None, truth: Truth | None
) -> tuple[Trajectory, Trajectory] | None:
    if estimate is None or truth is None or truth.trajectory is None:
        return None
    true = truth.trajectory
    try:
        in_estimate, in_truth = associate(estimate, true)
    except TrajectoryError:
        return None
    if len(in_estimate) < MIN_POSES:
        return None
    return estimate.select(in_estimate), true.select(in_truth)


def estimated_path_length(estimate: Trajectory | None) -> float | None:
    """Length of the estimated path in published units."""
    return None if estimate is None else path_length(estimate.poses)


def depth_figures(recording: Recording, truth: Truth | None) -> dict[str, Any]:
    """Depth errors over the frames that were kept; empty where there is no truth."""
    if truth is None:
        return {}
    predictions, truths = [], []
    for stamp_ns in recording.depth_stamps_ns():
        true = truth.depth(stamp_ns)
        if true is not None:
            predictions.append(on_grid(recording.depth(stamp_ns), truth.K, true.shape))
            truths.append(true)
    scaled = evaluate_depth(predictions, truths, scaling="median")
    raw = evaluate_depth(predictions, truths, scaling="none")
    if scaled is None or raw is None:
        return {}
    return {
        "depth_abs_rel": scaled.mean.abs_rel,
        "depth_abs_rel_unscaled": raw.mean.abs_rel,
        "depth_a1": scaled.mean.a1,
        "depth_frames": scaled.images,
        "depth_scale_median": scaled.scale_median,
        "depth_scale_spread": scaled.scale_spread,
    }


def scale_to_truth(depth: DepthMap, truth: DepthMap) -> float:
    """Ratio of the medians of truth and depth where both are known; 1 where nowhere."""
    errors = depth_errors(depth, truth, "median")
    return 1.0 if errors is None else errors.scale


def on_grid(record: DepthRecord, K: FloatArray, shape: tuple[int, ...]) -> DepthMap:
    """A depth map on the grid of another picture of the same camera, NaN outside of its view.

    Args:
        record: depth with its camera matrix.
        K: (3, 3) camera matrix of the wanted grid; both without distortion.
        shape: rows and columns of the wanted grid.
    """
    if record.K is None:
        return np.full(shape[:2], np.nan, dtype=np.float32)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    to_record = record.K @ np.linalg.inv(K)
    x = to_record[0, 0] * columns + to_record[0, 2]
    y = to_record[1, 1] * rows + to_record[1, 2]
    resampled = cv2.remap(
        np.asarray(record.depth, dtype=np.float32),
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float("nan"),
    )
    return np.asarray(resampled, dtype=np.float32)


def empty_summary() -> dict[str, Any]:
    """Every key of a summary, nothing known yet."""
    return dict.fromkeys(SUMMARY_KEYS)
