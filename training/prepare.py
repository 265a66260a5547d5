"""Turn recordings, image folders or synthetic streets into a prepared set for training.

    python training/prepare.py synthetic prepared/street --seeds 0-23 --frames 150 --jobs 2
    python training/prepare.py folder prepared/drive --images DIR --calib camera_info.yaml
    python training/prepare.py kitti prepared/kitti --root DIR
    python training/prepare.py video prepared/ride --file FILE --calib camera_info.yaml
    python training/prepare.py bag prepared/bag --file BAG --topic /camera/image_raw

Each picture is rectified, cropped to the aspect of the networks and resized. Several calls with
one output folder add to it; a call that was interrupted goes on where it was when given again.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from sfm_ros.errors import SfmRosError, SourceError
from sfm_ros.preprocess import ImagePreparer, needs_undistortion, undistort_map
from sfm_ros.sources.base import Source, SourceItem
from training.data.prepare_sources import Job, add_commands
from training.data.sequence import PreparedFrame, PreparedSet
from training.data.writer import PreparedWriter

STATIC_CHANGE = 2.0
"""Mean grey difference (of 255) of two frames below which the camera is said to stand still."""


@dataclass(frozen=True, slots=True)
class Task:
    """One ride to be added: a source, or with ``--interleave`` one of its phases."""

    name: str
    job: Job
    phase: int
    provenance: str


Ride: TypeAlias = "tuple[Task, Iterable[PreparedFrame]]"


def prepare(writer: PreparedWriter, jobs: Sequence[Job], options: argparse.Namespace) -> None:
    """Add every source of every job that is not in the set yet."""
    phases = options.every if options.interleave else 1
    tasks = [
        Task(
            job.name if phase == 0 else f"{job.name}+{phase}",
            job,
            phase,
            f"{options.provenance or job.provenance}; {_settings(options)}, phase {phase}",
        )
        for job in jobs
        for phase in range(phases)
    ]
    missing = [task for task in tasks if not _is_done(writer, task)]
    if len(missing) < len(tasks):
        tqdm.write(f"{len(tasks) - len(missing)} of {len(tasks)} sources are prepared already")
    rides = _one_by_one if options.jobs == 1 else _side_by_side
    for task, frames in rides(missing, options):
        max_gap_ns = round(options.max_gap * 1e9)
        count = writer.add(task.name, frames, task.provenance, max_gap_ns)
        tqdm.write(f"{task.name}: {count} frames")


def _is_done(writer: PreparedWriter, task: Task) -> bool:
    found = writer.provenance_of(task.name)
    if found is not None and found != task.provenance:
        raise SourceError(
            f"'{task.name}' is in {writer.path} already, but made otherwise ({found}; asked for "
            f"{task.provenance}); choose another output folder"
        )
    return found is not None


def _settings(options: argparse.Namespace) -> str:
    names = ("every", "limit", "min_change", "max_gap", "input")
    return ", ".join(f"{name} {getattr(options, name)}" for name in names)


def _one_by_one(tasks: Sequence[Task], options: argparse.Namespace) -> Iterator[Ride]:
    for task in tasks:
        source = task.job.open()
        total = -(-max(0, len(source) - task.phase) // options.every)
        total = min(options.limit or total, total)
        frames = prepared_frames(source, options, task.phase)
        yield task, tqdm(frames, total=total, desc=task.name, unit="frame", disable=None)


def _side_by_side(tasks: Sequence[Task], options: argparse.Namespace) -> Iterator[Ride]:
    """Whole rides made in other processes, a few ahead of the writer, in their order."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(options.jobs, context, initializer=_leave_interrupts_to_parent)
    waiting: deque[tuple[Task, Future[list[PreparedFrame]]]] = deque()
    try:
        with tqdm(total=len(tasks), unit="sequence", disable=None) as progress:
            for task in tasks:
                waiting.append((task, pool.submit(_whole_ride, task, options)))
                if len(waiting) > 2 * options.jobs:
                    yield _finished(waiting, progress)
            while waiting:
                yield _finished(waiting, progress)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(
    waiting: deque[tuple[Task, Future[list[PreparedFrame]]]], progress: tqdm
) -> tuple[Task, list[PreparedFrame]]:
    task, future = waiting.popleft()
    frames = future.result()
    progress.update()
    return task, frames


def _whole_ride(task: Task, options: argparse.Namespace) -> list[PreparedFrame]:
    cv2.setNumThreads(1)
    return list(prepared_frames(task.job.open(), options, task.phase))


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def prepared_frames(
    source: Source, options: argparse.Namespace, phase: int = 0
) -> Iterator[PreparedFrame]:
    """The frames of a source on the grid of the set, thinned out as the options say."""
    preparer = ImagePreparer(options.width, options.height, options.input)
    kept_grey: npt.NDArray[np.float32] | None = None
    chosen = islice(iter(source), phase, None, options.every)
    for item in islice(chosen, options.limit or None):
        frame = _prepared_frame(preparer, item, options.input)
        grey = np.asarray(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), dtype=np.float32)
        if kept_grey is not None and np.abs(grey - kept_grey).mean() < options.min_change:
            continue
        kept_grey = grey
        yield frame


def describe(prepared: PreparedSet, samples: int = 300) -> str:
    """One line: where the set lies, its size, how much of it stands still, how fast it moves."""
    pairs = [r.start + i for r in prepared.sequences for i in range(r.count - 1)]
    places = np.linspace(0, len(pairs) - 1, min(samples, len(pairs))).astype(int)
    changes = [_grey_change(prepared, pairs[i]) for i in places]
    static = np.mean(np.array(changes) < STATIC_CHANGE) if changes else 0.0
    steps = [
        np.linalg.norm(np.diff(r.poses[:, :3, 3], axis=0), axis=1)
        for r in prepared.sequences
        if r.poses is not None
    ]
    motion = f"mean motion {np.concatenate(steps).mean():.2f} m a frame" if steps else "no poses"
    depth = sum(r.count for r in prepared.sequences if r.has_depth)
    return (
        f"{prepared.path}: {len(prepared.frames)} frames {prepared.width}x{prepared.height} in "
        f"{len(prepared.sequences)} sequences, {depth} with depth, {static:.0%} static, {motion}"
    )


def _prepared_frame(preparer: ImagePreparer, item: SourceItem, input: str) -> PreparedFrame:
    result = preparer.prepare(item.frame)
    camera, raw = result.intrinsics, item.frame.intrinsics
    depth = item.depth_m
    if depth is not None:
        undistort = input == "raw" or (input == "auto" and needs_undistortion(raw))
        map_x, map_y = (m.astype(np.float32) for m in undistort_map(raw, camera, undistort))
        # Nearest: a mean of foreground and background would be a depth nothing in the scene has.
        nearest = cv2.remap(np.asarray(depth), map_x, map_y, cv2.INTER_NEAREST)
        depth = np.asarray(nearest, dtype=np.float32)
    return PreparedFrame(
        rgb=result.rgb,
        K=(camera.fx, camera.fy, camera.cx, camera.cy),
        stamp_ns=item.frame.stamp_ns,
        T_world_camera=item.T_world_camera,
        depth_m=depth,
    )


def _grey_change(prepared: PreparedSet, index: int) -> float:
    first, second = (prepared.frames[index + i].mean(axis=2) for i in (0, 1))
    return float(np.abs(first - second).mean())


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("out", type=Path, help="folder of the prepared set")
    common.add_argument("--width", type=int, default=416)
    common.add_argument("--height", type=int, default=128)
    common.add_argument(
        "--input",
        choices=("auto", "rectified", "raw"),
        default="auto",
        help="whether the pictures are rectified already",
    )
    common.add_argument("--every", type=_positive, default=1, help="take each K-th frame only")
    common.add_argument(
        "--interleave", action="store_true", help="with --every K: also the K - 1 rides in between"
    )
    common.add_argument("--limit", type=_positive, help="at most so many frames of each source")
    common.add_argument(
        "--min-change",
        type=float,
        default=0.0,
        help="drop frames whose mean grey difference (of 255) to the last kept one is smaller",
    )
    common.add_argument("--provenance", help="where it comes from and under which licence")
    common.add_argument("--jobs", type=_positive, default=1, help="processes that make frames")
    common.add_argument(
        "--max-gap", type=float, default=2.0, help="seconds without a frame that end a sequence"
    )
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_commands(parser.add_subparsers(dest="command", required=True), common)
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not 1 or more")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = parse(arguments)
    try:
        writer = PreparedWriter(options.out, options.width, options.height)
        prepare(writer, options.jobs_of(options), options)
        print(describe(writer.finish()))
    except KeyboardInterrupt:
        print(f"stopped; give the same command again to go on with {options.out}", file=sys.stderr)
        return 130
    except (SfmRosError, OSError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
