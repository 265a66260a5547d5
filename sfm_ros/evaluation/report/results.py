"""Writes the results of a run: scores, trajectories, summary and report.

`RESULT_FILES` depend only on input, model and configuration: two offline runs write the same
bytes. Times, machine, versions and the command are in the other files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.config import SfmConfig, config_to_dict, iter_fields
from sfm_ros.datatypes import ScaleSource
from sfm_ros.evaluation.report.machine import machine_facts, package_versions
from sfm_ros.evaluation.report.page import Page, ScoredRun, write_page
from sfm_ros.evaluation.report.summary import SUMMARY_KEYS, write_json, write_summary
from sfm_ros.evaluation.runs import scoring
from sfm_ros.evaluation.runs.depth_samples import png_of
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.result import OFFLINE, ONLINE, DepthSnapshot, RunResult
from sfm_ros.formats.trajectory import write_kitti, write_tum
from sfm_ros.model_spec import ModelSpec
from sfm_ros.scale import scale_source

TRAJECTORY_FILE = "trajectory.tum"
RESULT_FILES = (TRAJECTORY_FILE, "trajectory_kitti.txt", "metrics.json", "health.json")
GROUND_TRUTH_FILE = "ground_truth.tum"
DEPTH_FOLDER = "depth"
_MODES = {
    OFFLINE: "offline (every frame in order)",
    ONLINE: "online (through two processes)",
}
_FACTS = ("command", "input", "ground_truth", "rate", "last_trouble", "model", "model_sha256",
          "engine", "machine", "versions")  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """What was run.

    Attributes:
        title: heading of the report.
        input_name: what was played.
        command: how to repeat the run.
        spec: of the model.
        config: of the odometry.
        rate: playback rate of the online run; None without one.
        depth_problem: why there is no ground-truth depth; None if there is.
    """

    title: str
    input_name: str
    command: str
    spec: ModelSpec
    config: SfmConfig
    rate: float | None = None
    depth_problem: str | None = None

    @property
    def unit(self) -> str:
        """Unit of the lengths of the estimate."""
        is_unknown = scale_source(self.config.scale, self.spec) is ScaleSource.UNKNOWN
        return "network units" if is_unknown else "m"


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
) -> Results:
    """Score one run, or two over the same frames, and write everything into ``out``.

    `RESULT_FILES` of the first run, whose metrics are those of the summary; of the second the same
    with its mode as prefix. Of both ``summary.json``, ``report.html`` and, if there is a
    ground-truth trajectory, ``ground_truth.tum``.
    """
    out.mkdir(parents=True, exist_ok=True)
    runs = tuple(_scored(result, ground_truth) for result in results)
    for index, run in enumerate(runs):
        _write_result_files(run, ground_truth, out, "" if index == 0 else f"{run.result.mode}_")
    (out / GROUND_TRUTH_FILE).unlink(missing_ok=True)  # of an earlier run
    if ground_truth.trajectory is not None:
        write_tum(out / GROUND_TRUTH_FILE, ground_truth.trajectory)
    agreement = None
    if len(runs) > 1:
        agreement = scoring.compare_runs(runs[0].result.estimate, runs[1].result.estimate)
    summary = _summary(runs, agreement, ground_truth, context)
    write_summary(out / "summary.json", summary)
    write_page(out / "report.html", _page(runs, agreement, ground_truth, context, summary), runs)
    return Results(summary=summary, runs=runs)


def write_depth(snapshots: Sequence[DepthSnapshot], out: Path) -> None:
    """Write depth maps as ``depth/<stamp>.npy`` (float32) and ``.png`` (16 bit, units of 1/256).

    Those of an earlier run are removed.
    """
    folder = out / DEPTH_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.npy"), *folder.glob("*.png")):
        old.unlink()
    for snapshot in snapshots:
        np.save(folder / f"{snapshot.stamp_ns}.npy", snapshot.depth)
        (folder / f"{snapshot.stamp_ns}.png").write_bytes(png_of(snapshot.depth))


def _scored(result: RunResult, ground_truth: GroundTruthTrajectory) -> ScoredRun:
    path = scoring.score_path(result.estimate, ground_truth)
    latency = result.latency
    metrics = {
        **dict.fromkeys(SUMMARY_KEYS),
        "frames": result.frames,
        "frames_lost": result.frames_lost,
        "frames_per_second": result.frames_per_second,
        "latency_p50_ms": None if latency is None else latency.p50,
        "latency_p99_ms": None if latency is None else latency.p99,
        **scoring.path_figures(result.estimate, path),
        **scoring.depth_figures(result.snapshots),
    }
    return ScoredRun(result=result, path=path, metrics=metrics)


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
    else:
        tum.unlink(missing_ok=True)  # of an earlier run
        kitti.unlink(missing_ok=True)
    write_json(metrics, scoring.metrics_as_json(result, run.path, ground_truth))
    write_json(health, {"intervals": [interval.as_json() for interval in result.intervals]})


def _summary(
    runs: Sequence[ScoredRun],
    agreement: scoring.Agreement | None,
    ground_truth: GroundTruthTrajectory,
    context: RunContext,
) -> dict[str, Any]:
    """The metrics of the first run, and what they depend on."""
    first = runs[0]
    summary = {
        **first.metrics,
        "estimated_path_unit": context.unit,
        "mode": first.result.mode,
        "input": context.input_name,
        "ground_truth": ground_truth.name,
        "rate": context.rate,
        "interrupted": any(run.result.interrupted for run in runs),
        "frames_rejected": first.result.rejected,
        "last_trouble": first.result.trouble,
        "model": context.spec.name,
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
    if agreement is not None:
        summary["agreement"] = {
            "poses": agreement.poses,
            "poses_of_only_one": agreement.only_one,
            "largest_difference": agreement.position,
            "largest_difference_deg": agreement.rotation_deg,
        }
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


def _page(
    runs: Sequence[ScoredRun],
    agreement: scoring.Agreement | None,
    ground_truth: GroundTruthTrajectory,
    context: RunContext,
    summary: dict[str, Any],
) -> Page:
    depth_known = runs[0].metrics.get("depth_abs_rel") is not None
    problem = context.depth_problem or "no ground-truth depth is known"
    modes = " and ".join(_MODES[run.result.mode] for run in runs)
    return Page(
        title=context.title,
        lead=f"{runs[0].result.frames} frames, {modes}; model {context.spec.name}",
        unit=context.unit,
        ground_truth=ground_truth.name,
        depth_problem=None if depth_known else problem,
        agreement=agreement,
        card=context.spec.card,
        metrics=context.spec.metrics,
        facts=[
            (name.replace("_", " "), _fact(summary[name]))
            for name in _FACTS
            if summary[name] is not None
        ],
        configuration=_configuration(context.config),
    )


def _configuration(config: SfmConfig) -> list[tuple[str, str, bool]]:
    """Option, value, and whether it is not the default."""
    defaults = {name: value for name, _, value in iter_fields()}
    return [
        (
            name,
            str(value).lower() if isinstance(value, bool) else str(value),
            value != defaults[name],
        )
        for name, _, value in iter_fields(config)
    ]


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(_fact(entry) for entry in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
