"""Adds rides to a prepared set: in turn, or side by side in processes of their own."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace

from tqdm import tqdm

from sfm_ros.errors import SfmRosError, SourceError
from training.data.sequence import PreparedFrame
from training.preparation.recordings import (
    PARTS,
    Ride,
    expected_frames,
    frames_in_part,
    make_part,
    max_gap_ns,
    open_part,
    part_folder,
    prepared_frames,
)
from training.preparation.sources import Job
from training.preparation.writer import PreparedWriter

POLL_S = 0.5
"""How often the progress of other processes is looked at."""
Failures = dict[str, SfmRosError]


def prepare(writer: PreparedWriter, jobs: Sequence[Job], options: argparse.Namespace) -> Failures:
    """Add every source of every job that is not in the set yet.

    Returns:
        The sources that could not be used, and why.
    """
    phases = options.every if options.interleave else 1
    rides = [
        Ride(
            job.name if phase == 0 else f"{job.name}+{phase}",
            job,
            phase,
            f"{options.provenance or job.provenance}; {_settings(options)}, phase {phase}",
        )
        for job in jobs
        for phase in range(phases)
    ]
    _check_names(rides)
    missing = [ride for ride in rides if not _is_done(writer, ride)]
    if len(missing) < len(rides):
        tqdm.write(f"{len(rides) - len(missing)} of {len(rides)} sources are prepared already")
    usable, failures = _looked_at(missing, options)
    total = sum(ride.expected for ride in usable)
    add = _add_in_turn if min(options.jobs, len(usable)) < 2 else _add_side_by_side
    with tqdm(total=total, unit="frame", disable=None) as progress:
        add(writer, usable, options, progress, failures)
    return failures


def _check_names(rides: Sequence[Ride]) -> None:
    names = [ride.name for ride in rides]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(
                f"two sources would be called '{name}'; prepare them in calls of their own, from "
                "folders whose last two parts differ"
            )


def _is_done(writer: PreparedWriter, ride: Ride) -> bool:
    found = writer.provenance_of(ride.name)
    if found is not None and found != ride.provenance:
        raise SourceError(
            f"'{ride.name}' is in {writer.path} already, but made otherwise ({found}; asked for "
            f"{ride.provenance}); choose another output folder"
        )
    return found is not None


def _settings(options: argparse.Namespace) -> str:
    names = ("every", "limit", "min_change", "max_gap", "input")
    told = ", ".join(f"{name} {getattr(options, name)}" for name in names)
    return told if options.fit == "crop" else f"{told}, fit {options.fit}"


def _looked_at(rides: Sequence[Ride], options: argparse.Namespace) -> tuple[list[Ride], Failures]:
    """The rides whose sources open, with the number of frames to expect, and the others.

    A missing calibration is thus told in the first seconds, not after hours.
    """
    usable: list[Ride] = []
    failures: Failures = {}
    for ride in tqdm(rides, desc="looking", unit="source", leave=False, disable=None):
        try:
            expected = ride.job.frames
            if expected is None:
                expected = expected_frames(ride.job.open(), options, ride.phase)
            usable.append(replace(ride, expected=expected))
        except SfmRosError as error:
            _note(failures, ride, error)
    return usable, failures


def _note(failures: Failures, ride: Ride, error: SfmRosError) -> None:
    failures[ride.name] = error
    tqdm.write(f"{ride.name}: left out: {error}")


def _add_in_turn(
    writer: PreparedWriter,
    rides: Sequence[Ride],
    options: argparse.Namespace,
    progress: tqdm,
    failures: Failures,
) -> None:
    for ride in rides:
        progress.set_description(ride.name)
        began = progress.n
        try:
            begun = writer.begun(ride.name, ride.provenance)
            frames = prepared_frames(ride.job.open(), options, ride.phase, options.jobs, begun)
            if begun is not None:
                progress.update(begun.next_place)
            counted = _counted(frames, progress)
            gap_ns = max_gap_ns(options)
            count = writer.add(ride.name, counted, ride.provenance, gap_ns, begun)
            tqdm.write(f"{ride.name}: {count} frames")
        except SfmRosError as error:
            _note(failures, ride, error)
        progress.update(began + ride.expected - progress.n)


def _counted(frames: Iterator[PreparedFrame], progress: tqdm) -> Iterator[PreparedFrame]:
    for frame in frames:
        yield frame
        progress.update()


def _add_side_by_side(
    writer: PreparedWriter,
    rides: Sequence[Ride],
    options: argparse.Namespace,
    progress: tqdm,
    failures: Failures,
) -> None:
    """Processes make rides as parts on disk, which are taken over in the order of the rides."""
    workers = min(options.jobs, len(rides))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
    )
    try:
        made = [pool.submit(make_part, ride, options, options.jobs // workers) for ride in rides]
        for index, (ride, future) in enumerate(zip(rides, made, strict=True)):
            before = sum(r.expected for r in rides[:index])
            _wait_for(future, rides[index:], before, options, progress)
            try:
                future.result()
                count = writer.adopt(open_part(ride, options))
                tqdm.write(f"{ride.name}: {count} frames")
            except BrokenProcessPool as error:
                raise SourceError(
                    "a process ended by itself, most likely for want of memory; give the same "
                    "command with a smaller --jobs"
                ) from error
            except SfmRosError as error:
                _note(failures, ride, error)
            shutil.rmtree(part_folder(options.out, ride), ignore_errors=True)
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    progress.update(progress.total - progress.n)
    shutil.rmtree(options.out / PARTS, ignore_errors=True)


def _wait_for(
    future: Future,
    unfinished: Sequence[Ride],
    before: int,
    options: argparse.Namespace,
    progress: tqdm,
) -> None:
    """Until a ride is made; meanwhile the progress of all of them is shown."""
    while not wait([future], timeout=POLL_S).done:
        written = sum(min(r.expected, frames_in_part(r, options)) for r in unfinished)
        progress.update(before + written - progress.n)


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even if it is killed.

    An orphan would go on writing while the same command, given again, writes the same part.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
