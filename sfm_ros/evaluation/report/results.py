"""Writes the results of a run: scores, trajectories, summary and report.

`RESULT_FILES` depend only on input, model and configuration: two offline runs write the same
bytes. Times, machine, versions and the command are in the other files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.config import config_to_dict
from sfm_ros.evaluation.report.figures import FIGURE_FILES
from sfm_ros.evaluation.report.machine import machine_facts, package_versions
from sfm_ros.evaluation.report.page import RunContext, ScoredRun, write_page
from sfm_ros.evaluation.report.summary import SUMMARY_KEYS, write_json, write_summary
from sfm_ros.evaluation.runs import scoring
from sfm_ros.evaluation.runs.depth_methods import compare_methods
from sfm_ros.evaluation.runs.depth_samples import png_of
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.mode_comparison import compare_modes
from sfm_ros.evaluation.runs.result import DepthSnapshot, Percentiles, RunResult
from sfm_ros.formats.trajectory_files import write_kitti, write_tum

TRAJECTORY_FILE = "trajectory.tum"
RESULT_FILES = (TRAJECTORY_FILE, "trajectory_kitti.txt", "metrics.json", "health.json")
GROUND_TRUTH_FILE = "ground_truth.tum"
SUMMARY_FILE, REPORT_FILE = "summary.json", "report.html"
DEPTH_FOLDER = "depth"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Results:
    """What was written.

    Attributes:
        summary: content of ``summary.json``.
        runs: the scored runs, in the given order.
    """

    summary: dict[str, Any]
    runs: tuple[ScoredRun, ...]


def write_results(
    results: Sequence[RunResult],
    ground_truth: GroundTruthTrajectory,
    context: RunContext,
    out: Path,
    compared: Mapping[str, RunResult] | None = None,
) -> Results:
    """Score one run, or two over the same frames, and write everything into a new folder.

    `RESULT_FILES` of the first run, whose metrics are those of the summary; of the second the same
    with its mode as prefix. Of both ``summary.json``, ``report.html`` and, if there is a
    ground-truth trajectory, ``ground_truth.tum``. The trajectories of ``compared`` runs, with
    other modes of the odometry by their names, are scored beside that of the first.
    """
    out.mkdir(parents=True, exist_ok=True)
    runs = tuple(_scored(result, ground_truth, context.unreadable) for result in results)
    for index, run in enumerate(runs):
        _write_result_files(run, ground_truth, out, "" if index == 0 else f"{run.result.mode}_")
    if ground_truth.trajectory is not None:
        write_tum(out / GROUND_TRUTH_FILE, ground_truth.trajectory)
    summary = _summary(runs, ground_truth, context)
    summary["depth_methods"] = compare_methods(runs[0].result)
    if compared:
        paths = {context.config.odometry.mode: runs[0].path}
        paths |= {mode: score_run(result, ground_truth) for mode, result in compared.items()}
        summary["odometry_modes"] = compare_modes(paths)
    write_summary(out / SUMMARY_FILE, summary)
    write_page(out / REPORT_FILE, runs, context, summary)
    return Results(summary=summary, runs=runs)


def planned_files(modes: Sequence[str]) -> list[str]:
    """The files of runs in these modes, as far as their names do not depend on the data."""
    prefixes = ["", *(f"{mode}_" for mode in modes[1:])]
    results = [f"{prefix}{name}" for prefix in prefixes for name in RESULT_FILES]
    return [*results, GROUND_TRUTH_FILE, SUMMARY_FILE, REPORT_FILE, *FIGURE_FILES]


def write_depth(snapshots: Sequence[DepthSnapshot], out: Path) -> None:
    """Write depth maps: ``depth/<stamp>.npy`` (float32), ``.png`` (16 bit, units of 1/256)."""
    folder = out / DEPTH_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for snapshot in snapshots:
        np.save(folder / f"{snapshot.stamp_ns}.npy", snapshot.depth)
        (folder / f"{snapshot.stamp_ns}.png").write_bytes(png_of(snapshot.depth))


def score_run(result: RunResult, ground_truth: GroundTruthTrajectory) -> scoring.PathScore:
    """Score the trajectory of a run, and its covariance if that has the ground truth's unit."""
    covariances = result.covariances if result.is_metric else None
    return scoring.score_path(result.estimate, ground_truth, covariances)


def _scored(result: RunResult, ground_truth: GroundTruthTrajectory, unreadable: int) -> ScoredRun:
    path = score_run(result, ground_truth)
    metrics = {
        **dict.fromkeys(SUMMARY_KEYS),
        "frames": result.frames,
        "frames_lost": result.frames_lost,
        "frames_unreadable": unreadable,
        "frames_per_second": result.frames_per_second,
        **_percentiles("step_time", result.step_time),
        **_percentiles("latency", result.latency),
        "depth_flicker": result.depth_flicker,
        **scoring.path_figures(result.estimate, path, result.is_metric),
        **scoring.depth_figures(result.snapshots, result.is_metric),
    }
    return ScoredRun(result=result, path=path, metrics=metrics)


def _percentiles(name: str, found: Percentiles | None) -> dict[str, float | None]:
    p50, p99 = (None, None) if found is None else (found.p50, found.p99)
    return {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}


def _write_result_files(
    run: ScoredRun, ground_truth: GroundTruthTrajectory, out: Path, prefix: str
) -> None:
    tum, kitti, metrics, health = (out / f"{prefix}{name}" for name in RESULT_FILES)
    result = run.result
    if result.estimate is not None:
        write_tum(tum, result.estimate)
        frame_of = {int(stamp): index for index, stamp in enumerate(result.image_stamps_ns)}
        frames = [frame_of[int(stamp)] for stamp in result.estimate.stamps_ns]
        write_kitti(kitti, result.estimate, frames)
    write_json(metrics, scoring.metrics_as_json(result, run.path, ground_truth))
    write_json(health, {"intervals": [interval.as_json() for interval in result.intervals]})


def _summary(
    runs: Sequence[ScoredRun], ground_truth: GroundTruthTrajectory, context: RunContext
) -> dict[str, Any]:
    """The metrics of the first run, and what they depend on."""
    first = runs[0]
    summary = {
        **first.metrics,
        "scale_source": first.result.scale_source.value,
        "estimated_path_unit": first.result.unit,
        "mode": first.result.mode,
        "input": context.input_name,
        "calibration": context.calibration,
        "input_remarks": list(context.remarks),
        "ground_truth": ground_truth.name,
        "rate": context.rate,
        "interrupted": any(run.result.interrupted for run in runs),
        "frames_rejected": first.result.rejected,
        "last_trouble": first.result.trouble,
        "model": context.spec.name,
        "model_terms": context.spec.terms,
        "model_sha256": [context.spec.depth_sha256, context.spec.pose_sha256],
        "engine": first.result.engine,
        **_stage_figures(first.result),
        "inference_s": first.result.inference_s,
        "configuration": config_to_dict(context.config),
        "command": context.command,
        "machine": machine_facts(),
        "versions": package_versions(),
    }
    for other in runs[1:]:
        summary[other.result.mode] = dict(other.metrics)
        agreement = scoring.compare_runs(first.result.estimate, other.result.estimate)
        summary |= {"agreement": agreement} if agreement else {}
    return summary


def _stage_figures(result: RunResult) -> dict[str, float | None]:
    """Medians of the inference and of the other stages of a step."""
    stages = dict(result.stages)
    engine = stages.pop("inference", None)
    rest = sum(p.p50 for p in stages.values())
    return {
        "engine_p50_ms": None if engine is None else engine.p50,
        "outside_engine_p50_ms": None if engine is None else rest,
    }
