"""Depth and odometry over the real middleware, scored against the ground truth where it is known.

Without arguments an unseen synthetic street drive is rendered; with them your own images, bag,
video or KITTI folder is played. The player and the node run as two processes, a third records.
Results: summary.json, report.html, trajectory.png, trajectory.tum and depth.png.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from sfm_ros.bags.writer import GroundTruth
from sfm_ros.cli.demo_inputs import BagInput, Input, add_input_options, choose_input, convert
from sfm_ros.cli.progress import progress
from sfm_ros.config import ModelConfig, SfmConfig
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.errors import SfmRosError
from sfm_ros.evaluation.report.figures import draw_images
from sfm_ros.evaluation.report.results import RunContext, write_results
from sfm_ros.evaluation.report.summary import text_table
from sfm_ros.evaluation.runs.ground_truth import GroundTruthTrajectory
from sfm_ros.evaluation.runs.online import RunPlan, run_over_middleware
from sfm_ros.evaluation.runs.recorded import result_of
from sfm_ros.evaluation.runs.recording import Recording
from sfm_ros.model_spec import ModelSpec

_KEPT_FRAMES = 40


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_input_options(parser, "your own data (default: an unseen synthetic drive)")
    run = parser.add_argument_group("the run")
    run.add_argument("--out", type=Path, default=Path("out/demo"), help="folder of the results")
    run.add_argument("--model", default="default", help="model bundle: its folder or its name")
    run.add_argument("--rate", type=float, default=1.0, help="2: twice as fast; 0: as it is taken")
    run.add_argument("--frames", type=int, help="play only the first so many frames")
    run.add_argument("--keep-bag", action="store_true", help="keep the bag that was played")
    options = parser.parse_args(arguments)
    if not 0 <= options.rate < float("inf"):
        parser.error(f"--rate is {options.rate}, expected a number from 0 up")
    if options.frames is not None and options.frames < 1:
        parser.error(f"--frames is {options.frames}, expected at least 1")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; 0 on success, 1 on failure, 130 when it was interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill cleans up like Ctrl-C
    options = parse(arguments)
    command = shlex.join(["scripts/demo.sh", *(sys.argv[1:] if arguments is None else arguments)])
    work = Path(tempfile.mkdtemp(prefix="sfm_demo_"))
    try:
        return run(options, command, work)
    except SfmRosError as error:
        print(f"\nERROR: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; nothing has been played yet", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)


def run(options: argparse.Namespace, command: str, work: Path) -> int:
    """Prepare the bag, play it, score it, say where the results are."""
    bundle = resolve_bundle(options.model).resolve()
    spec = ModelSpec.load(bundle)
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = choose_input(options)
    plan, ground_truth = _prepare(chosen, options, bundle, spec.sequence_length - 1, work)
    interrupted = _play(plan, work)
    recording = Recording.load(work / "recording")
    # Of a run that was cut short only what the recorder heard is known to have been played.
    played = len(recording.image_stamps_ns) if interrupted else plan.frames
    result = result_of(recording, played, plan.frames_to_start, ground_truth, interrupted)
    context = RunContext(
        title=f"sfm_ros: {chosen.name}",
        input_name=chosen.name,
        command=command,
        spec=spec,
        config=_config(Path(options.model)),
        rate=plan.rate,
    )
    results = write_results(
        [result], _ground_truth_trajectory(ground_truth, chosen), context, options.out
    )
    draw_images(results.runs[0], context.unit, options.out)
    print(f"\n{chosen.name}, model {spec.name}\n{text_table(results.summary)}")
    beside = ", ".join(f.name for f in sorted(options.out.glob("*.*")) if f.suffix != ".html")
    print(f"\nresults: {options.out.resolve() / 'report.html'}\n         beside it: {beside}")
    return 130 if interrupted else 0


def _prepare(
    chosen: Input, options: argparse.Namespace, bundle: Path, frames_to_start: int, work: Path
) -> tuple[RunPlan, GroundTruth | None]:
    """The bag to play, with the ground truth about it where there is any."""
    if isinstance(chosen, BagInput):
        bag, ground_truth = chosen, None
    else:
        folder = (options.out if options.keep_bag else work) / "bag"
        bag, ground_truth = convert(chosen, folder, work / "ground_truth", options.frames)
    frames = bag.frames if options.frames is None else min(bag.frames, options.frames)
    plan = RunPlan(
        bag=bag.path,
        image_topic=bag.image_topic,
        camera_info_topic=bag.camera_info_topic,
        compressed=bag.compressed,
        frames=frames,
        frames_to_start=min(frames_to_start, frames),
        rate=options.rate,
        config=_config(bundle),
        keep_every=max(frames // _KEPT_FRAMES, 1),
    )
    return plan, ground_truth


def _config(bundle: Path) -> SfmConfig:
    return SfmConfig(model=ModelConfig(bundle=str(bundle)))


def _ground_truth_trajectory(
    ground_truth: GroundTruth | None, chosen: Input
) -> GroundTruthTrajectory:
    if ground_truth is None or ground_truth.trajectory is None:
        return GroundTruthTrajectory(trajectory=None, problem="no ground-truth poses were given")
    return GroundTruthTrajectory(
        trajectory=ground_truth.trajectory, name=f"poses of {chosen.name}"
    )


def _play(plan: RunPlan, work: Path) -> bool:
    """Play the bag through the node; whether it was interrupted."""
    with progress("playing", plan.frames - plan.frames_to_start) as bar:
        try:
            run_over_middleware(plan, work, lambda count: bar.update(count - bar.n) and None)
        except KeyboardInterrupt:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
