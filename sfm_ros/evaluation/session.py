"""An evaluation from end to end: run the odometry over an input, score it, write the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from sfm_ros.bags.camera import PlayableBag
from sfm_ros.config import ENGINES, SfmConfig
from sfm_ros.depth.stage import compile_ahead
from sfm_ros.engines.factory import create_engine, resolve_bundle
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.figures import draw_images
from sfm_ros.evaluation.report.results import (
    DEPTH_FOLDER,
    SUMMARY_FILE,
    Results,
    RunContext,
    planned_files,
    write_depth,
    write_results,
)
from sfm_ros.evaluation.report.video import DepthVideo
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth
from sfm_ros.evaluation.runs.inputs import EvaluationInput
from sfm_ros.evaluation.runs.offline import OfflineRun
from sfm_ros.evaluation.runs.online import RECORDING, RunPlan, run_online
from sfm_ros.evaluation.runs.online_result import result_of
from sfm_ros.evaluation.runs.recording import Recording
from sfm_ros.evaluation.runs.result import OFFLINE, ONLINE, RunResult
from sfm_ros.model_spec import ModelSpec
from sfm_ros.outputs.folder import OutputFolder, require_room
from sfm_ros.source import SourceItem

_DepthOf = Callable[[SourceItem], GroundTruthDepth | None]
PROGRAM = "sfm_evaluate bag"
"""Name of an evaluation in the marker of its folder; the demo is one."""
BAG_FOLDER = "bag"
TIMINGS_FILE = "timings.csv"
_KEPT_FRAMES = 40
"""Frames of an online run whose depth is kept."""
_RESULT_BYTES, _FRAME_BYTES = 32 * 2**20, 1000
"""Upper estimates of the size of the results: of depth maps and figures, and more per frame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How an input is run.

    Attributes:
        frames: at most this many images; None runs all.
        rate: of the online run: 1 plays as fast as recorded, 0 as fast as the node takes images.
        recording: of a run that has been played already, at that rate, which is then the online
            run.
        compared: other modes of the odometry, run offline and scored beside the configured one.
        keep_bag: keep the bag that is written for the online run, in the folder of the results.
        figures: also draw them as image files.
        video: also write a video of the offline run to this file, see `DepthVideo`.
        command: how to repeat the run, for the report.
        paths: files and folders of the input, which are never replaced.
    """

    frames: int | None = None
    rate: float = 0.0
    recording: Path | None = None
    compared: tuple[str, ...] = ()
    keep_bag: bool = False
    figures: bool = False
    video: Path | None = None
    command: str = ""
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        results: what was written.
        failure: why the online run is missing although the offline run succeeded; or None.
    """

    results: Results
    failure: SfmRosError | None = None

    @property
    def unreadable(self) -> int:
        """Frames that the input lists and that could not be read."""
        return int(self.results.summary["frames_unreadable"])

    @property
    def interrupted(self) -> bool:
        """Whether a run was interrupted; it is scored until then."""
        return any(run.result.interrupted for run in self.results.runs)


def evaluate(
    input: EvaluationInput,
    config: SfmConfig,
    out: Path,
    modes: Sequence[str] = (OFFLINE, ONLINE),
    options: RunOptions | None = None,
) -> Evaluation:
    """Run an input, score the runs and write the results, see `write_results`.

    ``modes`` are `OFFLINE`, `ONLINE` or both; the summary is of the first. The height of the
    camera is that of the configuration, else that of the input. The results of an earlier run are
    in ``out`` until the new ones are complete.

    Raises:
        OutputError: ``out`` cannot be used, see `OutputFolder`.
        SfmRosError: the input, the model or the configuration cannot be used, or the only run
            failed. Nothing is written then.
    """
    options = options or RunOptions()
    bundle = resolve_bundle(config.model.bundle)
    config = with_height(config, input.camera_height_m)
    planned = (*planned_files(modes), TIMINGS_FILE, f"{DEPTH_FOLDER}/", f"{BAG_FOLDER}/")
    with OutputFolder(out, PROGRAM, (*options.paths, Path(bundle)), planned) as folder:
        spec = ModelSpec.load(bundle)
        staging = folder.stage()
        frames = _at_most(len(input.source), options.frames)
        require_room(staging, _RESULT_BYTES + frames * _FRAME_BYTES)
        runs, failure, input = _run(input, config, spec, modes, options, staging)
        interrupted = any(run.interrupted for run in runs)
        compared = {} if interrupted else _run_compared(input, config, options)
        results = _write(runs, compared, input, spec, config, staging, options)
        folder.publish(SUMMARY_FILE)
    return Evaluation(results=results, failure=failure)


def with_height(config: SfmConfig, height_m: float | None) -> SfmConfig:
    """The configuration with the height of an input's camera, unless it has one itself."""
    if height_m is None or config.scale.camera_height:
        return config
    return replace(config, scale=replace(config.scale, camera_height=height_m))


def _run_compared(
    input: EvaluationInput, config: SfmConfig, options: RunOptions
) -> dict[str, RunResult]:
    """Offline runs with other modes of the odometry, without depth."""
    results = {}
    for mode in options.compared:
        other = replace(config, odometry=replace(config.odometry, mode=mode))
        results[mode] = _run_offline(input, other, options.frames, lambda _: None)
    return results


def _run(
    input: EvaluationInput,
    config: SfmConfig,
    spec: ModelSpec,
    modes: Sequence[str],
    options: RunOptions,
    out: Path,
) -> tuple[list[RunResult], SfmRosError | None, EvaluationInput]:
    """The runs, why the online run failed although the offline run succeeded, what was run."""
    runs: list[RunResult] = []
    failure: SfmRosError | None = None
    with TemporaryDirectory(prefix="sfm_evaluation_", ignore_cleanup_errors=True) as temporary:
        work = Path(temporary)
        if ONLINE in modes and options.recording is None:
            bag_folder = (out if options.keep_bag else work) / BAG_FOLDER
            input = input.playable() or _converted(input, bag_folder, work, options.frames)
        if OFFLINE in modes:
            depth_of = input.ground_truth.depth
            runs.append(_run_offline(input, config, options.frames, depth_of, options.video))
            config = _with_engine_of(runs[-1], config)  # so that both can be compared
        if options.recording is not None:
            frames = _at_most(_found(input, modes, options), options.frames)
            runs.append(_recorded(options.recording, frames, spec, options.rate > 0))
        elif input.bag is not None and not any(run.interrupted for run in runs):
            try:
                bag = replace(input.bag, frames=_found(input, modes, options))
                runs.append(_run_online(bag, spec, config, options, work))
            except SfmRosError as error:
                if not runs:
                    raise
                failure = error  # the offline run is kept
    return sorted(runs, key=lambda run: modes.index(run.mode)), failure, input


def _found(input: EvaluationInput, modes: Sequence[str], options: RunOptions) -> int:
    """Images that are found in the input; a bag may list more, which are never played."""
    count = len(input.source)
    if OFFLINE in modes or not input.may_miss_images:
        return count - input.missing(options.frames, is_read=True)
    with progress("counting", _at_most(count, options.frames)) as bar:
        return count - input.missing(options.frames, is_read=False, on_frame=bar.update)


def _with_engine_of(run: RunResult, config: SfmConfig) -> SfmConfig:
    """The configuration with the engine and precision that a run used."""
    name, _, precision = (run.engine or "").partition(" ")
    if name not in ENGINES:
        return config
    return replace(config, model=replace(config.model, engine=name, precision=precision))


def _converted(
    input: EvaluationInput, bag_folder: Path, work: Path, frames: int | None
) -> EvaluationInput:
    count, first = _at_most(len(input.source), frames), next(iter(input.source), None)
    if first is not None:
        require_room(bag_folder.parent, count * first.frame.rgb.nbytes)
    with progress("converting", count) as bar:
        return input.converted(bag_folder, work / "ground_truth", frames, bar.update)


def _run_offline(
    input: EvaluationInput,
    config: SfmConfig,
    frames: int | None,
    depth_of: _DepthOf,
    video: Path | None = None,
) -> RunResult:
    count = _at_most(len(input.source), frames)
    with ExitStack() as stack:
        engine = stack.enter_context(closing(create_engine(config.model)))
        bar = stack.enter_context(progress("scoring", count))
        run = OfflineRun(engine, config)
        if video is None:
            return run.run(input.source, frames, depth_of, bar.update)
        film = stack.enter_context(DepthVideo(video))
        return run.run(input.source, frames, depth_of, bar.update, film.add)


def _run_online(
    bag: PlayableBag, spec: ModelSpec, config: SfmConfig, options: RunOptions, work: Path
) -> RunResult:
    frames = _at_most(bag.frames, options.frames)
    frames_to_start = min(spec.sequence_length - 1, frames)
    plan = RunPlan(
        bag=bag,
        frames=frames,
        frames_to_start=frames_to_start,
        rate=options.rate,
        config=config,
        keep_every=max(frames // _KEPT_FRAMES, 1),
    )
    # Otherwise the recording would play while the node still compiles.
    compile_ahead(config, partial(print, file=sys.stderr, flush=True))
    interrupted = False
    with progress("playing", frames) as bar:
        try:
            # The first frames are done with the odometry of the one after them.
            recording = run_online(
                plan, work, lambda count: bar.update(count + frames_to_start - bar.n)
            )
        except KeyboardInterrupt:
            recording, interrupted = Recording.load(work / RECORDING), True
    # Of an interrupted run only the images that were recorded are known to have been played.
    played = len(recording.image_stamps_ns) if interrupted else frames
    has_latency = options.rate > 0
    return result_of(recording, played, frames_to_start, bag.depth, interrupted, has_latency)


def _recorded(folder: Path, frames: int, spec: ModelSpec, has_latency: bool) -> RunResult:
    """What a node has published for the input, of which these first images were played."""
    recording = Recording.load(folder)
    frames_to_start = min(spec.sequence_length - 1, frames)
    result = result_of(recording, frames, frames_to_start, has_latency=has_latency)
    # An answer to an image that only the recorder has missed counts.
    stamps_ns = np.union1d(recording.image_stamps_ns, recording.stamps_ns)
    return replace(result, image_stamps_ns=stamps_ns)


def _write(
    runs: Sequence[RunResult],
    compared: Mapping[str, RunResult],
    input: EvaluationInput,
    spec: ModelSpec,
    config: SfmConfig,
    out: Path,
    options: RunOptions,
) -> Results:
    ground_truth = input.ground_truth.trajectory(runs[0].image_stamps_ns)
    context = RunContext(
        title=f"sfm_ros: {'/'.join(Path(input.name).parts[-2:])}",
        input_name=input.name,
        command=options.command,
        spec=spec,
        config=config,
        rate=options.rate if _is_played(runs, options) else None,
        depth_problem=input.ground_truth.depth_problem,
        calibration=input.calibration,
        remarks=(*input.remarks, *ground_truth.remarks),
        unreadable=input.unreadable,
    )
    results = write_results(runs, ground_truth, context, out, compared)
    for run in runs:
        if run.timings is not None:
            run.timings.write(out / TIMINGS_FILE)
            write_depth(run.snapshots, out)
    if options.figures:
        draw_images(results.runs[0], results.summary["estimated_path_unit"], out)
    return results


def _is_played(runs: Sequence[RunResult], options: RunOptions) -> bool:
    """Whether one of the runs was played at the rate of the options."""
    return options.recording is None and any(run.mode == ONLINE for run in runs)


def _at_most(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)


def progress(what: str, total: int) -> tqdm:
    """A bar on a terminal, one line in a log."""
    if not sys.stderr.isatty():
        print(f"{what} {total} frames", file=sys.stderr, flush=True)
    return tqdm(total=total, desc=what, unit="frame", disable=None)
