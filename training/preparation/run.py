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
    Recording,
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
    recordings = [
        Recording(
            job.name if phase == 0 else f"{job.name}+{phase}",
            job,
            phase,
            f"{options.provenance or job.provenance}; {_settings(options)}, phase {phase}",
        )
        for job in jobs
        for phase in range(phases)
    ]
    _check_names(recordings)
    missing = [recording for recording in recordings if not _is_done(writer, recording)]
    if len(missing) < len(recordings):
        tqdm.write(
            f"{len(recordings) - len(missing)} of {len(recordings)} sources are prepared already"
        )
    usable, failures = _looked_at(missing, options)
    total = sum(recording.expected for recording in usable)
    add = _add_in_turn if min(options.jobs, len(usable)) < 2 else _add_side_by_side
    with tqdm(total=total, unit="frame", disable=None) as progress:
        add(writer, usable, options, progress, failures)
    return failures


def _check_names(recordings: Sequence[Recording]) -> None:
    names = [recording.name for recording in recordings]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(
                f"two sources would be called '{name}'; prepare them in calls of their own, from "
                "folders whose last two parts differ"
            )


def _is_done(writer: PreparedWriter, recording: Recording) -> bool:
    found = writer.provenance_of(recording.name)
    if found is not None and found != recording.provenance:
        raise SourceError(
            f"'{recording.name}' is in {writer.path} already, but made otherwise ({found}; asked for "
            f"{recording.provenance}); choose another output folder"
        )
    return found is not None


def _settings(options: argparse.Namespace) -> str:
    names = ("every", "limit", "min_change", "max_gap", "input")
    told = ", ".join(f"{name} {getattr(options, name)}" for name in names)
    return told if options.fit == "crop" else f"{told}, fit {options.fit}"


def _looked_at(
    recordings: Sequence[Recording], options: argparse.Namespace
) -> tuple[list[Recording], Failures]:
    """The rides whose sources open, with the number of frames to expect, and the others.

    A missing calibration is thus told in the first seconds, not after hours.
    """
    usable: list[Recording] = []
    failures: Failures = {}
    for recording in tqdm(recordings, desc="looking", unit="source", leave=False, disable=None):
        try:
            expected = recording.job.frames
            if expected is None:
                expected = expected_frames(recording.job.open(), options, recording.phase)
            usable.append(replace(recording, expected=expected))
        except SfmRosError as error:
            _note(failures, recording, error)
    return usable, failures


def _note(failures: Failures, recording: Recording, error: SfmRosError) -> None:
    failures[recording.name] = error
    tqdm.write(f"{recording.name}: left out: {error}")


def _add_in_turn(
    writer: PreparedWriter,
    recordings: Sequence[Recording],
    options: argparse.Namespace,
    progress: tqdm,
    failures: Failures,
) -> None:
    for recording in recordings:
        progress.set_description(recording.name)
        began = progress.n
        try:
            begun = writer.begun(recording.name, recording.provenance)
            frames = prepared_frames(
                recording.job.open(), options, recording.phase, options.jobs, begun
            )
            if begun is not None:
                progress.update(begun.next_place)
            counted = _counted(frames, progress)
            gap_ns = max_gap_ns(options)
            count = writer.add(recording.name, counted, recording.provenance, gap_ns, begun)
            tqdm.write(f"{recording.name}: {count} frames")
        except SfmRosError as error:
            _note(failures, recording, error)
        progress.update(began + recording.expected - progress.n)


def _counted(frames: Iterator[PreparedFrame], progress: tqdm) -> Iterator[PreparedFrame]:
    for frame in frames:
        yield frame
        progress.update()


def _add_side_by_side(
    writer: PreparedWriter,
    recordings: Sequence[Recording],
    options: argparse.Namespace,
    progress: tqdm,
    failures: Failures,
) -> None:
    """Processes make rides as parts on disk, which are taken over in the order of the rides."""
    workers = min(options.jobs, len(recordings))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(
        workers,
        multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
    )
    try:
        made = [
            pool.submit(make_part, recording, options, options.jobs // workers)
            for recording in recordings
        ]
        for index, (recording, future) in enumerate(zip(recordings, made, strict=True)):
            before = sum(r.expected for r in recordings[:index])
            _wait_for(future, recordings[index:], before, options, progress)
            try:
                future.result()
                count = writer.adopt(open_part(recording, options))
                tqdm.write(f"{recording.name}: {count} frames")
            except BrokenProcessPool as error:
                raise SourceError(
                    "a process ended by itself, most likely for want of memory; give the same "
                    "command with a smaller --jobs"
                ) from error
            except SfmRosError as error:
                _note(failures, recording, error)
            shutil.rmtree(part_folder(options.out, recording), ignore_errors=True)
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
    unfinished: Sequence[Recording],
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
