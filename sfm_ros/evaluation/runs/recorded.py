"""What came of a run over the middleware, from the recording it left."""

from __future__ import annotations

import cv2
import numpy as np

from sfm_ros.bags.writer import GroundTruth
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, RgbImage
from sfm_ros.evaluation.depth.grid import ImageGrid
from sfm_ros.evaluation.depth.metrics import depth_errors
from sfm_ros.evaluation.runs.depth_samples import on_network_grid
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth
from sfm_ros.evaluation.runs.recording import DepthRecord, Recording
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
    played: int,
    frames_to_start: int,
    ground_truth: GroundTruth | None,
    interrupted: bool = False,
) -> RunResult:
    """Read a recording.

    Args:
        recording: of the run.
        played: images that went in.
        frames_to_start: images at the start for which no odometry can come, because the window
            of the networks is not full: its length - 1.
        ground_truth: what is known of the depth of the images.
        interrupted: the run was cut short.
    """
    diagnostics = recording.diagnostics
    received = len(np.unique(recording.stamps_ns))
    seconds = float(np.ptp(recording.received_ns)) * 1e-9 if received > 1 else 0.0
    rejected = diagnostics.get("rejected")
    return RunResult(
        mode=ONLINE,
        frames=played,
        frames_to_start=frames_to_start,
        rejected=0 if rejected is None else int(rejected),
        estimate=trajectory_of(recording),
        intervals=_intervals(recording),
        snapshots=_snapshots(recording, ground_truth),
        image_stamps_ns=recording.image_stamps_ns,
        latency=Percentiles.of(recording.latencies_ms()),
        stages=_stages(diagnostics),
        frames_per_second=(received - 1) / seconds if seconds > 0 else None,
        engine=diagnostics.get("engine"),
        trouble=diagnostics.get("last_trouble") or None,
        interrupted=interrupted,
    )


def trajectory_of(recording: Recording) -> Trajectory | None:
    """The estimated poses in order of time, or None where no odometry came."""
    if not len(recording.stamps_ns):
        return None
    stamps, first = np.unique(recording.stamps_ns, return_index=True)
    return Trajectory(stamps, recording.T_odom_camera[first])


def _intervals(recording: Recording) -> tuple[StatusInterval, ...]:
    """Of each image that went in, whether odometry came back; the node says no more of each."""
    answered = set(recording.stamps_ns.tolist())
    log, silence = StatusTimeline(), "initializing"
    for stamp_ns in recording.image_stamps_ns.tolist():
        log.add(stamp_ns, "tracking" if stamp_ns in answered else silence)
        silence = "no odometry" if stamp_ns in answered else silence
    return log.intervals


def _stages(diagnostics: dict[str, str]) -> dict[str, Percentiles]:
    """Of each stage the node reports on."""
    start, end = "latency_", "_p50_ms"
    sums = ("total", "outside_engine")
    names = [key[len(start) : -len(end)] for key in diagnostics if key.endswith(end)]
    return {
        "inference" if name == "engine" else name: Percentiles(
            p50=float(diagnostics[f"{start}{name}_p50_ms"]),
            p99=float(diagnostics[f"{start}{name}_p99_ms"]),
        )
        for name in names
        if name not in sums
    }


def _snapshots(
    recording: Recording, ground_truth: GroundTruth | None
) -> tuple[DepthSnapshot, ...]:
    grids: dict[tuple[int, ...], ImageGrid] = {}
    return tuple(_snapshot(recording, ground_truth, s, grids) for s in recording.depth_stamps_ns())


def _snapshot(
    recording: Recording,
    ground_truth: GroundTruth | None,
    stamp_ns: int,
    grids: dict[tuple[int, ...], ImageGrid],
) -> DepthSnapshot:
    record, rgb = recording.depth(stamp_ns), _small(recording.image(stamp_ns))
    true = None if ground_truth is None else ground_truth.depth(stamp_ns)
    if ground_truth is None or true is None or record.K is None:
        return DepthSnapshot(stamp_ns=stamp_ns, depth=record.depth, rgb=rgb)
    known = GroundTruthDepth(
        depth=true, camera=_pinhole(ground_truth.K, true.shape), is_rectified=True
    )
    network = _network_camera(record)
    key = (*true.shape, *record.depth.shape)
    if key not in grids:
        grids[key] = ImageGrid(known.camera, network, "rectified")
    predicted: DepthMap = grids[key].enlarge(record.depth)
    return DepthSnapshot(
        stamp_ns=stamp_ns,
        depth=record.depth,
        rgb=rgb,
        ground_truth=on_network_grid(known, network),
        scaled=depth_errors(predicted, true, "median"),
        unscaled=depth_errors(predicted, true, "none"),
    )


def _network_camera(record: DepthRecord) -> CameraIntrinsics:
    assert record.K is not None
    return _pinhole(record.K, record.depth.shape)


def _pinhole(K: FloatArray, shape: tuple[int, ...]) -> CameraIntrinsics:
    return CameraIntrinsics(
        width=shape[1],
        height=shape[0],
        fx=float(K[0, 0]),
        fy=float(K[1, 1]),
        cx=float(K[0, 2]),
        cy=float(K[1, 2]),
    )


def _small(rgb: RgbImage | None) -> RgbImage | None:
    """An image no wider than it will be shown."""
    if rgb is None or rgb.shape[1] <= _SHOWN_WIDTH:
        return rgb
    height = round(rgb.shape[0] * _SHOWN_WIDTH / rgb.shape[1])
    small = cv2.resize(rgb, (_SHOWN_WIDTH, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)
