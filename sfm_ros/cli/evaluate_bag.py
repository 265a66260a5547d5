"""Score a bag, or anything else the demo plays, offline: every frame, in order.

The bag is read itself, without middleware, through the object that the node runs; nothing is
dropped and nothing depends on time, so that a second run gives the same files. With --online the
same frames are played through the node's own process over the middleware as well.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfm_ros.cli.demo_inputs import (
    BagInput,
    add_input_options,
    choose_input,
    convert,
    given_kind,
    inspect_bag,
)
from sfm_ros.cli.progress import progress
from sfm_ros.config import SfmConfig, load_config
from sfm_ros.errors import ConfigError, SfmRosError, SourceError

if TYPE_CHECKING:
    from sfm_ros.bags.writer import GroundTruth
    from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
    from sfm_ros.evaluation.runs.offline import OfflineRun
    from sfm_ros.evaluation.runs.result import RunResult
    from sfm_ros.evaluation.runs.sequence import Sequence
    from sfm_ros.model_spec import ModelSpec

_KEPT_FRAMES = 32


def add_command(subparsers: Any) -> None:
    """Add ``bag`` to the commands of sfm_evaluate."""
    parser = subparsers.add_parser(
        "bag",
        help="run the odometry over a bag, images, a video or a KITTI drive, and score it",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    group = add_input_options(parser)
    group.add_argument(
        "--synthetic", action="store_true", help="render and score the demo's unseen drive"
    )
    ground_truth = parser.add_argument_group(
        "the ground truth in a bag (what is marked as such is found)"
    )
    ground_truth.add_argument(
        "--ground-truth-frame",
        metavar="FRAME",
        help="frame of /tf in which the camera's path is true",
    )
    ground_truth.add_argument(
        "--depth-topic",
        metavar="TOPIC",
        help="ground-truth depth: Image 16UC1 or 32FC1, or PointCloud2",
    )
    run = parser.add_argument_group("the run")
    run.add_argument("--out", type=Path, required=True, help="folder of the results")
    run.add_argument("--config", type=Path, help="YAML as config/sfm.yaml")
    run.add_argument("--model", help="model bundle: its folder or its name")
    run.add_argument("--threads", type=int, help="CPU threads of one inference")
    run.add_argument("--frames", type=int, help="score only the first so many frames")
    run.add_argument(
        "--online", action="store_true", help="also over the middleware, as fast as it is taken"
    )
    parser.set_defaults(run=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """Score what the options name; 0, or 130 where it was interrupted and is scored until then.

    Raises:
        SfmRosError: an input, the model or the configuration cannot be used; or the run over the
            middleware failed, and the results are those offline.
    """
    from concurrent.futures import ThreadPoolExecutor
    from importlib import import_module

    from sfm_ros.engines.factory import create_engine

    config = _configuration(options)
    if options.out.exists() and not options.out.is_dir():
        raise SourceError(f"{options.out} is a file, expected a folder for the results")
    with ThreadPoolExecutor(1) as loader:
        # The model is loaded while the rest is imported and the input is opened, what writes the
        # results while it runs.
        loading = loader.submit(create_engine, config.model)
        loader.submit(import_module, "sfm_ros.evaluation.report.results")
        from sfm_ros.evaluation.runs.offline import OfflineRun
        from sfm_ros.odometry import VisualOdometry

        with _prepared(options) as (sequence, bag, kept_ground_truth):
            engine = loading.result()
            odometry = VisualOdometry(engine, config)
            run = OfflineRun(odometry, engine.name, engine.spec.sequence_length - 1)
            results = [_in_offline(run, sequence, options)]
            failure: SfmRosError | None = None
            if options.online and not results[0].interrupted:
                try:
                    results.append(_online(bag, kept_ground_truth, config, results[0]))
                except SfmRosError as error:  # what was done offline is kept all the same
                    failure = error
            ground_truth = sequence.path_of(
                results[0].image_stamps_ns, lambda: run.ground_truth_trajectory
            )
    engine.close()
    _write(results, ground_truth, sequence, engine.spec, config, options.out)
    run.timings.write(options.out / "timings.csv")
    if failure is not None:
        raise failure
    return 130 if any(result.interrupted for result in results) else 0


def _write(
    results: list[RunResult],
    ground_truth: GroundTruthTrajectory,
    sequence: Sequence,
    spec: ModelSpec,
    config: SfmConfig,
    out: Path,
) -> None:
    """Score the runs, write the results and say where they are."""
    from concurrent.futures import ThreadPoolExecutor

    from sfm_ros.evaluation.report.results import RunContext, write_depth, write_results
    from sfm_ros.evaluation.report.summary import text_table

    context = RunContext(
        title=f"sfm_ros: {'/'.join(Path(sequence.name).parts[-2:])}",
        input_name=sequence.name,
        command=shlex.join(["sfm_evaluate", *sys.argv[1:]]),
        spec=spec,
        config=config,
        rate=0.0 if len(results) > 1 else None,
        depth_problem=sequence.depth_problem,
    )
    with ThreadPoolExecutor(1) as writer:  # encoding and the disk beside the scoring
        writing = writer.submit(write_depth, results[0].snapshots, out)
        written = write_results(results, ground_truth, context, out)
        writing.result()
    print(f"\n{sequence.name}, model {spec.name}\n{text_table(written.summary)}")
    if written.runs[0].path.problem:
        print(f"  errors of the path: not available, {written.runs[0].path.problem}")
    print(f"\nresults: {out.resolve() / 'report.html'}")


def _configuration(options: argparse.Namespace) -> SfmConfig:
    config = SfmConfig() if options.config is None else load_config(options.config)
    model = config.model
    if options.model is not None:
        model = replace(model, bundle=options.model)
    if options.threads is not None:
        if not 1 <= options.threads <= 64:
            raise ConfigError(f"--threads is {options.threads}, expected 1 to 64")
        model = replace(model, threads=options.threads)
    if options.frames is not None and options.frames < 1:
        raise ConfigError(f"--frames is {options.frames}, expected at least 1")
    return replace(config, model=model)


@contextmanager
def _prepared(
    options: argparse.Namespace,
) -> Iterator[tuple[Sequence, BagInput | None, GroundTruth | None]]:
    """The frames with their ground truth; with --online also the bag to play, and its ground-truth depth."""
    given = given_kind(options)
    if (given is None) == (not options.synthetic):
        raise SourceError("expected one input: a bag, images, a video, KITTI, or --synthetic")
    is_bag = given is not None and given[0] == "bag"
    named = [o for o in ("ground_truth_frame", "depth_topic") if getattr(options, o) is not None]
    if named and not is_bag:
        raise SourceError(f"--{named[0].replace('_', '-')} is of a bag, and the input is none")
    if given is not None and is_bag and not (options.online and options.calib is not None):
        sequence = _open_bag(given[1], options)
        topics = (options.image_topic, options.camera_info_topic)
        yield sequence, inspect_bag(given[1], *topics) if options.online else None, None
        return
    chosen = choose_input(options)
    if not options.online:
        assert not isinstance(chosen, BagInput)
        from sfm_ros.evaluation.runs.sequence import source_sequence

        yield source_sequence(chosen.source), None, None
        return
    assert not isinstance(chosen, BagInput)
    from sfm_ros.evaluation.runs.converted_sequence import converted_sequence

    with _temporary_folder() as work:
        bag, ground_truth = convert(chosen, work / "bag", work / "ground_truth", options.frames)
        yield converted_sequence(bag.path, ground_truth, chosen.name), bag, ground_truth


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sfm_evaluate_"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _open_bag(path: Path, options: argparse.Namespace) -> Sequence:
    from sfm_ros.evaluation.runs.bag_sequence import BagTopics, bag_sequence

    topics = BagTopics(
        image=options.image_topic,
        camera_info=options.camera_info_topic,
        poses=options.pose_topic,
        fixed_frame=options.ground_truth_frame,
        depth=options.depth_topic,
    )
    return bag_sequence(path, topics, options.calib, options.poses)


def _in_offline(offline: OfflineRun, sequence: Sequence, options: argparse.Namespace) -> RunResult:
    total = len(sequence.source)
    if options.frames is not None:
        total = min(total, options.frames)
    with progress("scoring", total) as bar:
        return offline.run(sequence.source, options.frames, sequence.depth_of, bar.update)


def _online(
    bag: BagInput | None,
    ground_truth: GroundTruth | None,
    config: SfmConfig,
    offline: RunResult,
) -> RunResult:
    """The same frames through the two processes."""
    from sfm_ros.evaluation.runs.online import RunPlan, run_over_middleware
    from sfm_ros.evaluation.runs.recorded import result_of
    from sfm_ros.evaluation.runs.recording import Recording

    assert bag is not None
    plan = RunPlan(
        bag=bag.path,
        image_topic=bag.image_topic,
        camera_info_topic=bag.camera_info_topic,
        compressed=bag.compressed,
        frames=offline.frames,
        frames_to_start=min(offline.frames_to_start, offline.frames),
        rate=0.0,
        config=config,
        keep_every=max(offline.frames // _KEPT_FRAMES, 1),
    )
    with _temporary_folder() as work, progress("playing", plan.frames) as bar:
        interrupted = False
        try:
            run_over_middleware(plan, work, lambda count: bar.update(count - bar.n) and None)
        except KeyboardInterrupt:
            interrupted = True
        recording = Recording.load(work / "recording")
        played = len(recording.image_stamps_ns) if interrupted else plan.frames
        return result_of(recording, played, plan.frames_to_start, ground_truth, interrupted)
