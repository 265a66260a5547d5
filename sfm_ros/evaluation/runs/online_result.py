"""Reads the recording of an online run as a result."""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.bags.camera import DepthFolder
from sfm_ros.datatypes import CameraIntrinsics, RgbImage, ScaleSource
from sfm_ros.evaluation.runs.depth_samples import DepthComparison
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth
from sfm_ros.evaluation.runs.recording import Recording
from sfm_ros.evaluation.runs.result import (
    ONLINE,
    DepthSnapshot,
    Percentiles,
    RunResult,
    StatusInterval,
    StatusTimeline,
)
from sfm_ros.formats.trajectory import Trajectory

_SHOWN_WIDTH = 480


def result_of(
    recording: Recording,
    frames: int,
    frames_to_start: int,
    depth: DepthFolder | None = None,
    interrupted: bool = False,
    has_latency: bool = True,
) -> RunResult:
    """Read a recording, with the ground-truth depth of its images; see `RunResult`.

    It has no latency if the images were played as fast as they were acknowledged: they waited in
    the queue of the node.
    """
    diagnostics = recording.diagnostics
    received = len(np.unique(recording.stamps_ns))
    seconds = float(np.ptp(recording.received_ns)) * 1e-9 if received > 1 else 0.0
    return RunResult(
        mode=ONLINE,
        frames=frames,
        frames_to_start=frames_to_start,
        rejected=int(diagnostics.get("rejected", 0)),
        estimate=_estimate(recording),
        intervals=_intervals(recording),
        snapshots=_snapshots(recording, depth),
        image_stamps_ns=recording.image_stamps_ns,
        latency=Percentiles.of(recording.latencies_ms()) if has_latency else None,
        stages=_stages(diagnostics),
        frames_per_second=(received - 1) / seconds if seconds > 0 else None,
        engine=_engine(diagnostics),
        scale_source=ScaleSource(diagnostics.get("scale_source", "unknown")),
        trouble=diagnostics.get("last_trouble") or None,
        interrupted=interrupted,
    )


def _engine(diagnostics: dict[str, str]) -> str | None:
    words = [diagnostics.get(key, "") for key in ("engine", "engine_precision")]
    return " ".join(filter(None, words)) or None


def _estimate(recording: Recording) -> Trajectory | None:
    """The estimated poses in order of time, or None without odometry."""
    if not len(recording.stamps_ns):
        return None
    stamps, first = np.unique(recording.stamps_ns, return_index=True)
    return Trajectory(stamps, recording.T_odom_camera[first])


def _intervals(recording: Recording) -> tuple[StatusInterval, ...]:
    """Whether each image was answered with odometry; a recording holds no other status of it."""
    answered = set(recording.stamps_ns.tolist())
    timeline, unanswered = StatusTimeline(), "initializing"
    for stamp_ns in recording.image_stamps_ns.tolist():
        timeline.add(stamp_ns, "tracking" if stamp_ns in answered else unanswered)
        unanswered = "no odometry" if stamp_ns in answered else unanswered
    return timeline.intervals


def _stages(diagnostics: dict[str, str]) -> dict[str, Percentiles]:
    """Latency of each stage in the node's diagnostics."""
    found = {}
    for key, p50 in diagnostics.items():
        name = key.removeprefix("latency_").removesuffix("_p50_ms")
        if key.endswith("_p50_ms") and name not in ("total", "outside_engine"):
            stage = "inference" if name == "engine" else name
            p99 = diagnostics[f"latency_{name}_p99_ms"]
            found[stage] = Percentiles(p50=float(p50), p99=float(p99))
    return found


def _snapshots(recording: Recording, depth: DepthFolder | None) -> tuple[DepthSnapshot, ...]:
    comparison, stamps = DepthComparison(), recording.depth_stamps_ns()
    return tuple(_snapshot(recording, stamp_ns, depth, comparison) for stamp_ns in stamps)


def _snapshot(
    recording: Recording, stamp_ns: int, depth: DepthFolder | None, comparison: DepthComparison
) -> DepthSnapshot:
    record, rgb = recording.depth(stamp_ns), _small(recording.image(stamp_ns))
    known = None if depth is None else depth.at(stamp_ns)
    height, width = record.depth.shape
    network = CameraIntrinsics.from_matrix(width, height, record.K)
    ground_truth = None
    if depth is not None and known is not None:
        ground_truth = GroundTruthDepth(depth=known, camera=depth.camera)
    return comparison.snapshot(
        stamp_ns, record.depth, network, rgb, ground_truth, record.uncertainty
    )


def _small(rgb: RgbImage | None) -> RgbImage | None:
    """An image no wider than it is shown."""
    if rgb is None or rgb.shape[1] <= _SHOWN_WIDTH:
        return rgb
    height = round(rgb.shape[0] * _SHOWN_WIDTH / rgb.shape[1])
    small = cv2.resize(rgb, (_SHOWN_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)
