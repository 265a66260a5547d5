"""From a recording to the files a person looks at: summary, path, pictures, page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sfm_ros.datatypes import DepthMap
from sfm_ros.evaluation import scoring
from sfm_ros.evaluation.bag_writer import Truth
from sfm_ros.evaluation.machine import machine_facts, package_versions
from sfm_ros.evaluation.pictures import DepthSample, draw_depth, draw_overview, draw_trajectory
from sfm_ros.evaluation.recording import Recording
from sfm_ros.evaluation.report import write_report, write_summary
from sfm_ros.trajectory import Trajectory, write_tum

_DEPTH_SAMPLES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class RunContext:
    """What was run.

    Attributes:
        title: heading of the report.
        input_name: what was played.
        command: how to do it again.
        model: name of the model.
        metric: whether the model's units are metres.
        frames: pictures that were to be played.
        frames_to_start: pictures at the start that get no odometry.
        rate: how fast it was played.
        interrupted: the run was cut short.
    """

    title: str
    input_name: str
    command: str
    model: str
    metric: bool
    frames: int
    frames_to_start: int
    rate: float
    interrupted: bool = False

    @property
    def unit(self) -> str:
        """What a length of the estimate counts."""
        return "m" if self.metric else "network units"


def write_results(
    recording: Recording, truth: Truth | None, context: RunContext, out: Path
) -> dict[str, Any]:
    """Score a recording and write everything into ``out``; returns the summary.

    Writes ``summary.json`` and ``report.html``, and where there is something to show
    ``trajectory.png``, ``trajectory.tum``, ``depth.png`` and ``overview.png``.
    """
    estimate = scoring.trajectory_of(recording)
    summary = summarize(recording, truth, estimate, context)
    write_summary(out / "summary.json", summary)
    if estimate is not None:
        write_tum(out / "trajectory.tum", estimate)
        _draw_path(out / "trajectory.png", estimate, truth, context, summary)
    samples = _depth_samples(recording, truth)
    depth_unit = "m" if _truth_is_shown(samples) else context.unit
    if samples:
        draw_depth(out / "depth.png", samples, depth_unit)
    if samples and estimate is not None:
        path = scoring.aligned_path(estimate, truth)
        units = (depth_unit, context.unit if path.truth is None else "m")
        shown = samples[len(samples) // 2]
        draw_overview(out / "overview.png", shown, path.estimate, path.truth, units)
    pictures = [
        ("The path from above; the first camera looks up the page.", out / "trajectory.png"),
        ("Pictures that went in, and the depth that came out.", out / "depth.png"),
    ]
    write_report(out / "report.html", summary, context.title, pictures)
    return summary


def summarize(
    recording: Recording, truth: Truth | None, estimate: Trajectory | None, context: RunContext
) -> dict[str, Any]:
    """All figures of a run; None for what is unknown."""
    diagnostics = recording.diagnostics
    # Of a run that was cut short only what the recorder heard is known to have been played.
    played = len(recording.image_stamps_ns) if context.interrupted else context.frames
    return {
        **scoring.empty_summary(),
        **scoring.delivery_figures(recording, played, context.frames_to_start),
        **scoring.odometry_figures(estimate, truth),
        **scoring.depth_figures(recording, truth),
        "estimated_path_length": scoring.estimated_path_length(estimate),
        "estimated_path_unit": context.unit,
        "input": context.input_name,
        "rate": context.rate,
        "interrupted": context.interrupted,
        "model": context.model,
        "engine": diagnostics.get("engine"),
        "engine_p50_ms": _number(diagnostics.get("latency_engine_p50_ms")),
        "outside_engine_p50_ms": _number(diagnostics.get("latency_outside_engine_p50_ms")),
        "frames_rejected": _number(diagnostics.get("rejected")),
        "last_trouble": diagnostics.get("last_trouble") or None,
        "command": context.command,
        "machine": machine_facts(),
        "versions": package_versions(),
    }


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _draw_path(
    path: Path,
    estimate: Trajectory,
    truth: Truth | None,
    context: RunContext,
    summary: dict[str, Any],
) -> None:
    aligned = scoring.aligned_path(estimate, truth)
    if aligned.truth is None:
        draw_trajectory(path, aligned.estimate, None, context.unit, "Path seen from above")
        return
    title = (
        f"Path seen from above: {summary['path_length_m']:.0f} m, "
        f"error {summary['ate_m']:.2f} m after alignment"
    )
    draw_trajectory(path, aligned.estimate, aligned.truth, "m", title)


def _depth_samples(recording: Recording, truth: Truth | None) -> list[DepthSample]:
    """A few frames spread over the run."""
    stamps = recording.depth_stamps_ns()
    if not stamps:
        return []
    wanted = np.linspace(0, len(stamps) - 1, min(_DEPTH_SAMPLES, len(stamps))).round()
    return [_depth_sample(recording, truth, stamps[int(index)]) for index in wanted]


def _depth_sample(recording: Recording, truth: Truth | None, stamp_ns: int) -> DepthSample:
    record, rgb = recording.depth(stamp_ns), recording.picture(stamp_ns)
    true = None if truth is None else truth.depth(stamp_ns)
    if truth is None or true is None:
        # Without the camera of the picture, the two are shown each on its own grid.
        return DepthSample(stamp_ns=stamp_ns, rgb=rgb, depth=record.depth, truth=None)
    depth = scoring.on_grid(record, truth.K, true.shape)
    known = np.where(np.isfinite(true) & (true > 0), true, np.nan).astype(np.float32)
    scaled: DepthMap = depth * scoring.scale_to_truth(depth, known)
    return DepthSample(stamp_ns=stamp_ns, rgb=rgb, depth=scaled, truth=known)


def _truth_is_shown(samples: list[DepthSample]) -> bool:
    """Whether any of these frames has true depth, to which the others are scaled."""
    return any(sample.truth is not None for sample in samples)
